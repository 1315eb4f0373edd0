"""http.request: one request on one connection to a checked address, and its bounded answer.

1. the URL is parsed, once, in its canonical spelling;
2. its name is resolved, once, and *every* address must be allowed: one private answer among public ones is an attack
   or a mistake, and connecting to the others would hide it;
3. the connection goes to those addresses and nowhere else; TLS is verified for the name;
4. the request is sent with the effect's key; body and fields of the answer are read up to their limits.

There is no proxy, no cookie jar, no redirect (a 3xx is an outcome; the guest asks for a new effect, decided anew),
no decompression. Connections are not kept: the next request to this host may be another mission's, and a decision
about an address is not carried over. What fails after the first byte was sent is in doubt unless the method is
idempotent (RFC 9110, 9.2.2).
"""

import asyncio
import logging
import ssl
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

import httpcore

from engine.values import JsonObject
from gateway.addresses import Address, AddressPolicy
from gateway.effects.arguments import bytes_fields, integer, invalid, only_fields, payload, text
from gateway.effects.blobs import INLINE_BYTES_MAX, BlobReference, content_fields, given_content
from gateway.effects.dialer import AnswerTooLargeError, CheckedDialer
from gateway.effects.headers import TRACEPARENT, Fields, has_field, request_fields, response_fields
from gateway.effects.limits import EffectLimits
from gateway.effects.performer import SECONDS_MAX, EffectRequest, EffectScope
from gateway.effects.resolver import Resolver
from gateway.effects.target import HttpTarget
from gateway.errors import EffectError
from gateway.vault.opened import OpenedSecrets
from gateway.vault.placement import body_form
from gateway.watch import Outgoing, nothing_outgoing

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
REPEATABLE_METHODS: Final = frozenset({"GET", "HEAD", "PUT", "DELETE"})
TIMEOUT_MS_MAX: Final = 600_000
_WITHOUT_BODY: Final = frozenset({"GET", "HEAD"})  # a body there has no meaning (RFC 9110, 9.3.1) and smuggles
_FIELDS: Final = frozenset({"method", "url", "host", "port", "headers", "body", "body_base64", "timeout_ms"})

_LARGE_BYTES: Final = 256 * 1024
_PLAIN: Final = "identity"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """What one request may take. Every field is a maximum."""

    request_body_bytes_max: int = 1024 * 1024
    response_body_bytes_max: int = 64 * 1024 * 1024  # policy's data has less (blob_bytes_max)
    response_bytes_max: int = 66 * 1024 * 1024  # all that is received: framing and interim answers (1xx) as well
    large_max: int = 8  # blobs that are sent at once, and bodies over 256 KiB that are received
    connect_seconds_max: float = 10.0  # all addresses of the name together
    resolve_seconds_max: float = 5.0
    concurrent_max: int = 256  # requests of the whole gateway; the others wait within their time


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """The checked arguments of one request."""

    method: str
    target: HttpTarget
    fields: Fields
    body: bytes
    seconds: float


class HttpRequest:
    """Performs http.request. `tls` decides which certificates are believed; see `tls_context`."""

    seconds_max = SECONDS_MAX

    def __init__(
        self,
        addresses: AddressPolicy,
        resolver: Resolver,
        tls: ssl.SSLContext,
        limits: HttpLimits,
        outgoing: Outgoing = nothing_outgoing,
    ) -> None:
        self._addresses = addresses
        self._resolver = resolver
        self._tls = tls
        self._limits = limits
        self._outgoing = outgoing
        self._places = asyncio.Semaphore(limits.concurrent_max)
        self._sending = asyncio.Semaphore(limits.large_max)
        self._receiving = asyncio.Semaphore(limits.large_max)

    def adopt(self, addresses: AddressPolicy) -> None:
        """From now on connect to these addresses, and to no others."""
        self._addresses = addresses

    def repeatable(self, args: JsonObject) -> bool:
        """Return whether the method is one that may be sent again."""
        return args.get("method", "GET") in REPEATABLE_METHODS

    async def perform(self, request: EffectRequest, scope: EffectScope) -> JsonObject:
        """Send the request; return `{status, headers, body}`, with `body_base64` where it is not UTF-8.

        A body over `INLINE_BYTES_MAX` is a blob, in both directions.
        """
        target = HttpTarget.parse(text(request.args, "url"))  # (1)
        async with AsyncExitStack() as held:
            secrets = await held.enter_async_context(scope.secrets.opened(request.op, target.host))
            try:
                blob = await self._blob_body(request, scope, held)
                return await self._perform(self._parse(request, target, secrets, blob), scope, secrets)
            except EffectError as err:
                if secrets:  # nobody has to look whether what an error was raised from repeats a part of the request
                    raise err from None
                raise
            except Exception as err:
                if not secrets:
                    raise
                _log.error("an http.request with secrets failed unexpectedly: %s", type(err).__name__)
                message = "the effect failed inside the gateway"
                raise EffectError(message, code="effect.internal", in_doubt=True) from None

    async def _blob_body(self, request: EffectRequest, scope: EffectScope, held: AsyncExitStack) -> bytes | None:
        """Return the body that is given as a blob, or None; few are in memory at once, and their places are `held`."""
        body = given_content(request.args, "body")
        if not isinstance(body, BlobReference):
            return None
        try:
            async with asyncio.timeout(request.timeout_seconds):
                await held.enter_async_context(self._sending)
        except TimeoutError as err:
            raise EffectError("too many large bodies are being sent", code="effect.timeout") from err
        return await asyncio.to_thread(scope.workspace.blobs.get, body)

    async def _perform(self, call: _Call, scope: EffectScope, secrets: OpenedSecrets) -> JsonObject:
        dialer: CheckedDialer | None = None
        try:
            async with asyncio.timeout(call.seconds), self._places:
                addresses = await self._checked_addresses(call.target)  # (2)
                if secrets and call.target.scheme == "http" and not all(each.is_loopback for each in addresses):
                    message = "a secret goes over TLS only, unless the service is on this machine"
                    raise EffectError(message, code="effect.secret_plaintext")
                dialer = CheckedDialer(
                    call.target,
                    addresses,
                    connect_seconds_max=self._limits.connect_seconds_max,
                    received_bytes_max=self._limits.response_bytes_max,
                )
                return await self._exchange(call, dialer, scope, secrets)  # (3), (4)
        except TimeoutError as err:
            raise _failed("effect.timeout", "the answer did not come in time", call, dialer) from err
        except AnswerTooLargeError as err:
            message = f"the answer takes more than {self._limits.response_bytes_max} bytes to receive"
            raise _failed("effect.response_too_large", message, call, dialer) from err
        except (httpcore.NetworkError, httpcore.TimeoutException) as err:
            raise _failed("effect.connection_lost", "the connection was lost", call, dialer) from err
        except httpcore.RemoteProtocolError as err:
            raise _failed("effect.protocol", "the answer is not valid HTTP, or ended early", call, dialer) from err
        except httpcore.LocalProtocolError as err:
            raise _failed("effect.arguments", "the request is not valid HTTP", call, dialer) from err
        finally:
            if dialer is not None:
                await dialer.close()

    def _parse(self, request: EffectRequest, target: HttpTarget, secrets: OpenedSecrets, blob: bytes | None) -> _Call:
        args = request.args
        only_fields(args, _FIELDS)
        method = text(args, "method", default="GET")
        if method not in METHODS:
            raise invalid(f"'method' must be one of {', '.join(sorted(METHODS))}")
        body = payload(args, "body") if blob is None else blob
        if secrets and isinstance(plain := args.get("body"), str):
            body = secrets.in_body(plain, body_form(plain, args.get("headers")))
        if body is not None and method in _WITHOUT_BODY:
            raise invalid(f"{method} has no body")
        if blob is None and body is not None and len(body) > self._limits.request_body_bytes_max:
            raise EffectError(
                f"a body has at most {self._limits.request_body_bytes_max} bytes", code="effect.too_large"
            )
        headers = args.get("headers", {})
        if not isinstance(headers, Mapping):
            raise invalid("'headers' must be an object")
        if args.get("host", target.host) != target.host or args.get("port", target.port) != target.port:
            raise invalid("'host' and 'port' are not those of 'url'")
        if body is None and method in {"POST", "PUT", "PATCH"}:
            body = b""  # said with Content-Length: 0 (RFC 9110, 8.6)
        size = None if body is None else len(body)
        fields = request_fields(headers, target, key=request.key, body_bytes=size, secrets=secrets)
        if (position := self._outgoing(target.host)) is not None and not has_field(fields, TRACEPARENT):
            fields.append((TRACEPARENT, position.encode("ascii")))
        timeout_ms = integer(args, "timeout_ms", maximum=TIMEOUT_MS_MAX, default=TIMEOUT_MS_MAX)
        seconds = min(timeout_ms / 1000, request.timeout_seconds)
        return _Call(method=method, target=target, fields=fields, body=body or b"", seconds=seconds)

    async def _checked_addresses(self, target: HttpTarget) -> tuple[Address, ...]:
        """Return the addresses to connect to, each of them allowed."""
        literal = target.address
        if literal is not None:
            addresses: tuple[Address, ...] = (literal,)
        else:
            seconds = self._limits.resolve_seconds_max
            addresses = await self._resolver.resolve(target.host, target.port, timeout_seconds=seconds)
        if not all(self._addresses.permits(target.host, address, target.port) for address in addresses):
            # The address itself is not told: it would make the gateway a map of the inner network.
            raise EffectError(
                f"{target.host}:{target.port} is not an address that policy allows", code="effect.address_refused"
            )
        return addresses

    async def _exchange(
        self, call: _Call, dialer: CheckedDialer, scope: EffectScope, secrets: OpenedSecrets
    ) -> JsonObject:
        """Send the request and read the answer, in which no value of a secret is left."""
        target = call.target
        origin = httpcore.Origin(target.scheme.encode(), target.host.encode(), target.port)
        url = httpcore.URL(scheme=origin.scheme, host=origin.host, port=origin.port, target=target.path.encode())
        sni = {"sni_hostname": target.host.removesuffix(".")}
        connection = httpcore.AsyncHTTPConnection(origin=origin, ssl_context=self._tls, network_backend=dialer)
        request = httpcore.Request(call.method, url, headers=call.fields, content=call.body, extensions=sni)
        response = await connection.handle_async_request(request)
        headers = await response_fields(response.headers, secrets)
        if headers is None:
            raise _failed("effect.response_too_large", "the answer has too many header fields", call, dialer)
        if secrets and headers.get("content-encoding", _PLAIN).lower() != _PLAIN:
            # It was asked for none. An honest service that compresses all the same would echo past the mask.
            message = "the answer is compressed, so that nobody can look for the secret in it"
            raise _failed("effect.secret_compressed", message, call, dialer)
        async with AsyncExitStack() as held:
            content = await secrets.mask(await self._body(response, call, dialer, scope.limits, held))
            if len(content) <= INLINE_BYTES_MAX:
                return {"status": response.status, "headers": headers, **bytes_fields("body", content)}
            try:
                blobs = scope.workspace.blobs
                fields = await asyncio.to_thread(content_fields, "body", content, blobs, scope.limits, scope.masked)
            except EffectError as err:  # the request was answered, and only the answer cannot be kept
                raise _failed(err.code, err.message, call, dialer) from err
        return {"status": response.status, "headers": headers, **fields}

    async def _body(
        self,
        response: httpcore.Response,
        call: _Call,
        dialer: CheckedDialer,
        limits: EffectLimits,
        held: AsyncExitStack,
    ) -> bytes:
        """Return the whole body; few large ones are in memory at once, and their places are `held` by the caller."""
        bytes_max = min(self._limits.response_body_bytes_max, limits.blob_bytes_max)
        body, large = bytearray(), False
        async for chunk in response.aiter_stream():
            body += chunk
            if len(body) > bytes_max:
                message = f"the answer has more than {bytes_max} bytes (limits, blob_bytes_max)"
                raise _failed("effect.response_too_large", message, call, dialer)
            if len(body) > _LARGE_BYTES and not large:
                await held.enter_async_context(self._receiving)
                large = True
        return bytes(body)


def _failed(code: str, message: str, call: _Call, dialer: CheckedDialer | None) -> EffectError:
    """Return the error, in doubt where a byte was sent by a method that must not be sent twice."""
    sent = dialer is not None and dialer.sent
    in_doubt = sent and call.method not in REPEATABLE_METHODS
    return EffectError(f"{call.target.host}:{call.target.port}: {message}", code=code, in_doubt=in_doubt)


def tls_context() -> ssl.SSLContext:
    """Return a context that believes the machine's certificate authorities and checks host names, TLS 1.2 or newer.

    Not `ssl.create_default_context`: that one writes session keys to the file that SSLKEYLOGFILE names.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_default_certs()
    return context

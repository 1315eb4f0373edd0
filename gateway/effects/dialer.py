"""The network under one HTTP request: it connects to addresses that were checked, and to nothing else.

httpcore asks a backend to connect to a *name*. This one was given the addresses of that name beforehand, after one
resolution and the address policy, so there is no second resolution that could answer differently (DNS rebinding).
"""

import ssl
from collections.abc import Iterable
from ipaddress import IPv6Address
from typing import Any, Final

import httpcore

from gateway.addresses import Address
from gateway.effects.target import HttpTarget
from gateway.errors import EffectError

_ATTEMPTS_MAX: Final = 4  # addresses of one name that are tried, one after the other
_READ_BYTES_MAX: Final = 8 * 1024  # the parser takes all that was read before anybody else's turn: 10 ms at worst


class AnswerTooLargeError(Exception):
    """The server sent more than one answer may take, framing and interim answers included."""


class CheckedDialer(httpcore.AsyncNetworkBackend):
    """Connects once, counts what comes, and knows whether a byte has left: from then on a failure may be in doubt."""

    def __init__(
        self,
        target: HttpTarget,
        addresses: tuple[Address, ...],
        *,
        connect_seconds_max: float,
        received_bytes_max: int,
    ) -> None:
        self._target = target
        self._addresses = addresses[:_ATTEMPTS_MAX]
        self._connect_seconds_max = connect_seconds_max
        self._received_bytes_left = received_bytes_max
        self._network = httpcore.AnyIOBackend()
        self._opened: list[httpcore.AsyncNetworkStream] = []
        self.sent = False

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature; the deadline is the caller's
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first checked address that answers.

        Raises:
            EffectError: `effect.connect_failed`; `effect.internal` if another host or port is asked for.
        """
        del timeout, local_address, socket_options
        if (host, port) != (self._target.host, self._target.port) or self._opened:
            raise EffectError("only the checked address may be connected to, once", code="effect.internal")
        for address in self._addresses:
            try:
                stream = await self._network.connect_tcp(
                    _literal(address), port, timeout=self._connect_seconds_max / len(self._addresses)
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
            return self.watch(stream)
        raise EffectError(f"{host}:{port} does not accept a connection", code="effect.connect_failed")

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Refuse: no effect reaches a socket of this machine."""
        del path, timeout, socket_options
        raise EffectError("no effect connects to a Unix socket", code="effect.internal")

    def watch(self, stream: httpcore.AsyncNetworkStream) -> "_WatchedStream":
        """Remember a stream, so that it is closed whatever httpcore does when it is cancelled."""
        self._opened.append(stream)
        return _WatchedStream(self, stream)

    def received(self, size_bytes: int) -> None:
        """Count application bytes that came.

        Raises:
            AnswerTooLargeError: they are too many.
        """
        self._received_bytes_left -= size_bytes
        if self._received_bytes_left < 0:
            raise AnswerTooLargeError

    async def close(self) -> None:
        """Close every stream."""
        for stream in self._opened:
            await stream.aclose()


class _WatchedStream(httpcore.AsyncNetworkStream):
    """A stream that reports application bytes and names what goes wrong in a TLS handshake."""

    def __init__(self, dialer: CheckedDialer, stream: httpcore.AsyncNetworkStream) -> None:
        self._dialer = dialer
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's
        data = await self._stream.read(min(max_bytes, _READ_BYTES_MAX), timeout)
        self._dialer.received(len(data))
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's
        self._dialer.sent = True  # before the write: one that is cancelled may have sent a part
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
    ) -> httpcore.AsyncNetworkStream:
        try:
            secured = await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except (httpcore.ConnectError, httpcore.ConnectTimeout) as err:
            raise EffectError(f"no TLS with {server_hostname}: {_tls_reason(err)}", code="effect.tls_failed") from err
        return self._dialer.watch(secured)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _literal(address: Address) -> str:
    """Return `address` as text that no resolver will look at."""
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        raise EffectError("an address with a scope is not connected to", code="effect.address_refused")
    return str(address)


def _tls_reason(error: Exception) -> str:
    """Return what the certificate check said; other details of a handshake help nobody but an attacker."""
    cause = error.__cause__ or error.__context__
    return cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else "the handshake failed"

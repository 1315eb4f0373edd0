"""Reads of a call what it shows of its caller: metadata, the certificate that TLS has taken, the socket, the peer."""

from contextvars import ContextVar
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import unquote

from engine.clock import Clock
from gateway.authn.authenticator import Authenticator
from gateway.authn.credential import Credential, ShownCertificate
from gateway.authn.refusals import Check, Refusals
from gateway.errors import KeysUnavailableError, UnauthenticatedError
from gateway.identity import Principal
from gateway.rpc.types import Context

HEALTH_SERVICE: Final = "grpc.health.v1.Health"
_KEY: Final = "authorization"
# GRPC_X509_PEM_CERT_PROPERTY_NAME and its neighbour, grpc/grpc_security_constants.h.
_LEAF: Final = "x509_pem_cert"
_CHAIN: Final = "x509_pem_cert_chain"


AGAIN_SECONDS: Final = 30.0


@dataclass(slots=True)
class _Visit:
    """Who makes the call of this context, and when that was looked at."""

    service: str
    principal: Principal
    at: float  # monotonic


_VISIT: Final[ContextVar[_Visit]] = ContextVar("_VISIT")


class Callers:
    """Says who makes a call that has come through one listener, or through one principal's socket."""

    def __init__(
        self,
        authenticator: Authenticator,
        refusals: Refusals,
        clock: Clock,
        *,
        socket: Principal | None = None,
        tls: bool = False,
    ) -> None:
        """Take what knows credentials; `socket` is whose every call here is, `tls` that some may show certificates."""
        self._authenticator = authenticator
        self._refusals = refusals
        self._clock = clock
        self._socket = socket
        self._tls = tls

    async def caller(self, service: str, context: Context) -> Principal:
        """Return who calls. Only health may be asked for by a stranger from elsewhere, if policy agrees.

        Raises:
            UnauthenticatedError, KeysUnavailableError: nobody whom the gateway knows; it is counted.
        """
        principal = await self._found(service, context)
        _VISIT.set(_Visit(service, principal, self._clock.monotonic()))
        return principal

    async def renew(self, context: Context) -> None:
        """Look again who makes a call that goes on, where that was last done `AGAIN_SECONDS` ago.

        Raises:
            UnauthenticatedError, KeysUnavailableError: nobody any more, or somebody with other rights.
        """
        visit, now = _VISIT.get(), self._clock.monotonic()
        if now - visit.at < AGAIN_SECONDS:
            return
        visit.at = now
        if await self._found(visit.service, context) != visit.principal:
            self._refusals.count(Check.CHANGED)
            raise UnauthenticatedError("the credential says something else by now; call again", check=Check.CHANGED)

    async def _found(self, service: str, context: Context) -> Principal:
        """Return who calls, as far as can be found out now; who is not let in is counted."""
        try:
            return await self._authenticator.authenticate(self._shown(context), stranger_may=service == HEALTH_SERVICE)
        except UnauthenticatedError as error:
            self._refusals.count(error.check)
            raise
        except KeysUnavailableError:
            self._refusals.count(Check.KEYS_UNAVAILABLE)
            raise

    def _shown(self, context: Context) -> Credential:
        """Return what the call shows.

        Raises:
            UnauthenticatedError: its metadata is none that a credential is in.
        """
        return Credential(
            bearer=_bearer(context),
            certificate=_certificate(context) if self._tls else None,
            socket=self._socket,
            from_loopback=self._socket is None and is_loopback(context.peer()),
        )


def is_loopback(peer: str) -> bool:
    """Return whether a gRPC peer (`ipv4:127.0.0.1:1234`, `ipv6:%5B::1%5D:1234`) is this machine's loopback."""
    family, _, rest = unquote(peer).partition(":")
    host = rest.rpartition(":")[0].strip("[]")
    if family not in {"ipv4", "ipv6"}:
        return False
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _bearer(context: Context) -> str | None:
    values = [value for key, value in context.invocation_metadata() or () if key == _KEY]
    if not values:
        return None
    scheme, _, token = str(values[0]).partition(" ")
    if len(values) != 1 or scheme.lower() != "bearer":
        raise UnauthenticatedError("send one `authorization: Bearer TOKEN`", check=Check.SCHEME)
    return token.strip()


def _certificate(context: Context) -> ShownCertificate | None:
    shown = context.auth_context()
    leaf = b"".join(shown.get(_LEAF, ()))
    return ShownCertificate(leaf, b"".join(shown.get(_CHAIN, ()))) if leaf else None

"""Who is asking: a principal, the name that the log has for one, and the static bearer tokens that name one."""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

from engine.errors import FaultError
from gateway.commitments import Commitments
from gateway.errors import UnauthenticatedError

TOKEN_BYTES_MAX = 512


@dataclass(frozen=True, slots=True)
class KnownAs:
    """How the log knows a principal; `gateway.subjects` says so, durably, before the first event."""

    pseudonym: str  # random; "anonymous" for callers without a credential
    commitments: Commitments = field(repr=False)  # to values in events that belong to no mission


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """An authenticated caller. Roles mean nothing here: policy gives them their meaning."""

    subject: str
    tenant: str
    roles: tuple[str, ...] = ()
    anonymous: bool = False
    known_as: KnownAs | None = field(default=None, compare=False, repr=False)  # None: not looked up

    def document(self) -> dict[str, object]:
        """Return the `principal` object of every policy document."""
        return {
            "subject": self.subject,
            "tenant": self.tenant,
            "roles": list(self.roles),
            "anonymous": self.anonymous,
        }


ANONYMOUS = Principal(subject="anonymous", tenant="default", roles=("anonymous",), anonymous=True)


def known_as(caller: Principal) -> KnownAs:
    """Return how the log knows a principal.

    Raises:
        FaultError: `subject.unknown`, nobody has looked it up: nothing may be recorded of it, not even its name.
    """
    if caller.known_as is None:
        raise FaultError("the caller has no pseudonym, so nothing can be recorded of it", code="subject.unknown")
    return caller.known_as


def actor(caller: Principal) -> str:
    """Return a principal as audit events name it; no two have one name, and none says who it is.

    Raises:
        FaultError: as `known_as`.
    """
    return known_as(caller).pseudonym


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenEntry:
    """A static token, kept as its SHA-256 only."""

    sha256: str  # 64 hex digits
    principal: Principal


class TokenTable:
    """Looks a bearer token up without telling by its timing which entry came close."""

    def __init__(self, entries: Sequence[TokenEntry]) -> None:
        self._entries = tuple(entries)

    def authenticate(self, token: str) -> Principal:
        """Return the principal of `token`.

        Raises:
            UnauthenticatedError: the token is unknown, empty or too long.
        """
        encoded = token.encode("utf-8", "surrogatepass")
        found: Principal | None = None
        if 0 < len(encoded) <= TOKEN_BYTES_MAX:
            digest = hashlib.sha256(encoded).hexdigest()
            for entry in self._entries:  # every entry, so that the time says nothing
                if hmac.compare_digest(entry.sha256, digest):
                    found = entry.principal
        if found is None:
            raise UnauthenticatedError("the bearer token is not accepted")
        return found

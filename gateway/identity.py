"""Who is asking: a principal, and the name that the log has for one."""

from dataclasses import dataclass, field

from engine.errors import FaultError
from gateway.commitments import Commitments


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

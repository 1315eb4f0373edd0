"""What a decision may ask of the host beside its yes, and where the host can do it.

An obligation that cannot be fulfilled is a no: a policy that asks for less than a plain yes must never get more. This
is the one place that says what is fulfilled where; docs/obligations.md has the same table.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from gateway.policy.entrypoint import Entrypoint

APPROVERS_MAX: Final = 16
APPROVER_CHARS_MAX: Final = 128
APPROVAL_MESSAGE_CHARS_MAX: Final = 4_096
APPROVAL_SECONDS_MAX: Final = 30 * 24 * 60 * 60

OBLIGATIONS: Final = ("constraints", "profile", "require_approval", "redact", "labels")

FULFILLED: Final[Mapping[Entrypoint, frozenset[str]]] = MappingProxyType(
    {
        # A call cannot wait, runs no module, and leaves no record where it is allowed.
        "rpc": frozenset(),
        # It has no output of its own.
        "mission": frozenset({"constraints", "profile", "require_approval", "labels"}),
        "step": frozenset({"constraints", "profile", "require_approval", "redact", "labels"}),
        # The host performs it, under limits of its own (`limits` of policy's data): there is no run to be bounded.
        "effect": frozenset({"require_approval", "redact", "labels"}),
    }
)

# What the pointers of `redact` begin with.
ROOTS: Final[Mapping[Entrypoint, str]] = MappingProxyType({"step": "output", "effect": "outcome"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalDemand:
    """A yes of policy that needs a person's as well. What is left out, policy's data says (`approvals`)."""

    approvers: tuple[str, ...] = ()  # roles, of which a decider needs one
    message: str = ""
    expires_in_seconds: int | None = None  # that a person has to decide

    def document(self) -> object:
        """Return the demand as a decision spells it."""
        out: dict[str, object] = {}
        if self.approvers:
            out["approvers"] = list(self.approvers)
        if self.message:
            out["message"] = self.message
        if self.expires_in_seconds is not None:
            out["expires_in_seconds"] = self.expires_in_seconds
        return out or True


def unfulfilled(entrypoint: Entrypoint, asked: Iterable[str]) -> tuple[str, ...]:
    """Return which of the obligations that a decision asks for the host cannot fulfil there."""
    return tuple(sorted(set(asked) - FULFILLED[entrypoint]))

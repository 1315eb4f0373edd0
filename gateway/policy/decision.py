"""A decision, parsed strictly: anything that is not exactly a decision is a deny.

Source: architecture.md, Contracts, Policy; `policies/schemas/decision.json` says the same as a JSON Schema.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import orjson

from gateway.errors import HOST_RULE, PolicyDeniedError, Reason
from gateway.policy.entrypoint import Entrypoint
from gateway.policy.obligations import (
    APPROVAL_MESSAGE_CHARS_MAX,
    APPROVAL_SECONDS_MAX,
    APPROVER_CHARS_MAX,
    APPROVERS_MAX,
    OBLIGATIONS,
    ROOTS,
    ApprovalDemand,
    unfulfilled,
)
from gateway.policy.redaction import PointerError, check_pointers

ANSWER_BYTES_MAX: Final = 256 * 1024
REASONS_MAX: Final = 64
TEXT_CHARS_MAX: Final = 8_192  # of a reason's message; codes, rules, labels and profiles get NAME_CHARS_MAX
NAME_CHARS_MAX: Final = 256
LABELS_MAX: Final = 64
LIMIT_MAX: Final = 2**53  # a constraint's value; above it JSON numbers are no longer exact everywhere

CONSTRAINT_NAMES: Final = frozenset({"wall_ms_max", "fuel_max", "memory_bytes_max"})
_REQUIRED: Final = frozenset({"allow", "reasons"})
_KNOWN: Final = _REQUIRED | set(OBLIGATIONS)
_DEMAND_FIELDS: Final = frozenset({"approvers", "message", "expires_in_seconds"})
_REASON_FIELDS: Final = frozenset({"code", "message", "rule"})

_NO_CONSTRAINTS: Final[Mapping[str, int]] = MappingProxyType({})
_NO_LABELS: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What policy answered. `constraints` can only narrow: the sandbox takes the minimum, field by field.

    What each obligation means, and where it may stand: `gateway.policy.obligations`.
    """

    allow: bool
    bundle: str  # digest of the bundle that answered
    reasons: tuple[Reason, ...] = ()
    constraints: Mapping[str, int] = field(default_factory=lambda: _NO_CONSTRAINTS)
    profile: str | None = None
    require_approval: ApprovalDemand | None = None
    redact: tuple[str, ...] = ()  # JSON pointers (`gateway.policy.redaction`)
    labels: Mapping[str, str] = field(default_factory=lambda: _NO_LABELS)
    would_deny: bool = False  # a yes only because the bundle is tried out (`gateway.policy.dry_run`)
    id: str = field(default="", compare=False)  # of what is recorded of it (gateway.decisions); empty: nothing is

    @property
    def by_host(self) -> bool:
        """Whether the host has answered in policy's place (`denied`)."""
        return any(reason.rule == HOST_RULE for reason in self.reasons)

    def require(self) -> None:
        """Return if this is a yes; where it needs a person's as well, that is another matter (`gateway.consent`).

        Raises:
            PolicyDeniedError: it is a no; carries the reasons.
        """
        if self.allow is not True:
            raise PolicyDeniedError(self.reasons)

    def document(self) -> dict[str, object]:
        """Return the decision as JSON, the bundle's digest included."""
        out: dict[str, object] = {
            "allow": self.allow,
            "reasons": [{"code": r.code, "message": r.message, "rule": r.rule} for r in self.reasons],
            "bundle": self.bundle,
        }
        if self.constraints:
            out["constraints"] = dict(self.constraints)
        if self.profile is not None:
            out["profile"] = self.profile
        if self.require_approval is not None:
            out["require_approval"] = self.require_approval.document()
        if self.redact:
            out["redact"] = list(self.redact)
        if self.labels:
            out["labels"] = dict(self.labels)
        if self.would_deny:
            out["would_deny"] = True
        return out


def denied(code: str, message: str, *, bundle: str) -> Decision:
    """Return the deny of the host's own making; its rule is `HOST_RULE`, since no Rego rule gave it."""
    return Decision(allow=False, bundle=bundle, reasons=(Reason(code, message, HOST_RULE),))


def parse_decision(answer: bytes, *, bundle: str, entrypoint: Entrypoint) -> Decision:
    """Return the decision that `answer` spells about `entrypoint`, or a deny that says what is wrong with it.

    That is `policy.malformed`, or `policy.obligation_unsupported`: a yes that asks of the host what cannot be done
    there.
    """
    try:
        decision = _parse(answer, bundle, entrypoint)
    except _MalformedError as why:
        return denied("policy.malformed", f"the policy's answer is no decision: {why}", bundle=bundle)
    asked = [name for name in OBLIGATIONS if getattr(decision, name)]
    if decision.allow and (missing := unfulfilled(entrypoint, asked)):
        message = f"a decision about {entrypoint} cannot ask for {', '.join(missing)}: nothing there could do it"
        return denied("policy.obligation_unsupported", message, bundle=bundle)
    return decision


class _MalformedError(Exception):
    """Why an answer is no decision."""


def _parse(answer: bytes, bundle: str, entrypoint: Entrypoint) -> Decision:
    _need(len(answer) <= ANSWER_BYTES_MAX, f"it is larger than {ANSWER_BYTES_MAX} bytes")
    try:
        value = orjson.loads(answer)
    except orjson.JSONDecodeError as error:
        raise _MalformedError("it is not JSON") from error
    _need(type(value) is dict, "it is not an object")
    _need(value.keys() >= _REQUIRED, "it needs both `allow` and `reasons`")
    _need(value.keys() <= _KNOWN, f"it has unknown fields: {', '.join(sorted(value.keys() - _KNOWN))[:NAME_CHARS_MAX]}")
    _need(type(value["allow"]) is bool, "`allow` is not true or false")
    profile = value.get("profile")
    _need("profile" not in value or _is_name(profile), "`profile` is not a name")
    return Decision(
        allow=value["allow"],
        bundle=bundle,
        reasons=_reasons(value["reasons"]),
        constraints=_constraints(value["constraints"]) if "constraints" in value else _NO_CONSTRAINTS,
        profile=profile,
        require_approval=_demand(value.get("require_approval", False)),
        redact=_redact(value["redact"], entrypoint) if "redact" in value else (),
        labels=_labels(value["labels"]) if "labels" in value else _NO_LABELS,
    )


def _reasons(value: Any) -> tuple[Reason, ...]:
    _need(type(value) is list, "`reasons` is not a list")
    _need(len(value) <= REASONS_MAX, f"it has more than {REASONS_MAX} reasons")
    out = []
    for item in value:
        _need(type(item) is dict and item.keys() == _REASON_FIELDS, "a reason is exactly code, message and rule")
        _need(_is_name(item["code"]) and _is_name(item["rule"]), "a reason's code and rule are names")
        _need(type(item["message"]) is str and len(item["message"]) <= TEXT_CHARS_MAX, "a message is a bounded text")
        out.append(Reason(item["code"], item["message"], item["rule"]))
    return tuple(out)


def _constraints(value: Any) -> Mapping[str, int]:
    _need(type(value) is dict, "`constraints` is not an object")
    _need(value.keys() <= CONSTRAINT_NAMES, f"a constraint is one of {', '.join(sorted(CONSTRAINT_NAMES))}")
    for limit in value.values():
        _need(type(limit) is int and 0 < limit <= LIMIT_MAX, "a constraint is a whole number above zero")
    return MappingProxyType(value)


def _demand(value: Any) -> ApprovalDemand | None:
    if type(value) is bool:
        return ApprovalDemand() if value else None
    _need(type(value) is dict, "`require_approval` is not true, false or an object")
    _need(value.keys() <= _DEMAND_FIELDS, f"`require_approval` has at most {', '.join(sorted(_DEMAND_FIELDS))}")
    approvers = value.get("approvers", [])
    _need(type(approvers) is list and len(approvers) <= APPROVERS_MAX, f"approvers are at most {APPROVERS_MAX} roles")
    for role in approvers:
        _need(type(role) is str and 0 < len(role) <= APPROVER_CHARS_MAX, "an approver is the name of a role")
    _need("approvers" not in value or approvers, "`approvers` names no role")
    _need(len(set(approvers)) == len(approvers), "a role stands twice among the approvers")
    message = value.get("message", "")
    _need(type(message) is str and len(message) <= APPROVAL_MESSAGE_CHARS_MAX, "an approval's message is a text")
    seconds = value.get("expires_in_seconds")
    if "expires_in_seconds" in value:
        whole = type(seconds) is int and 0 < seconds <= APPROVAL_SECONDS_MAX
        _need(whole, f"`expires_in_seconds` is not a whole number from 1 to {APPROVAL_SECONDS_MAX}")
    return ApprovalDemand(approvers=tuple(approvers), message=message, expires_in_seconds=seconds)


def _redact(value: Any, entrypoint: Entrypoint) -> tuple[str, ...]:
    _need(type(value) is list and all(type(pointer) is str for pointer in value), "`redact` is not a list of texts")
    if (root := ROOTS.get(entrypoint)) is not None:  # elsewhere it is refused whatever it says
        try:
            check_pointers(value, root)
        except PointerError as why:
            raise _MalformedError(f"`redact`: {why}") from why
    return tuple(value)


def _labels(value: Any) -> Mapping[str, str]:
    _need(type(value) is dict and len(value) <= LABELS_MAX, f"`labels` is not an object of at most {LABELS_MAX}")
    for key, text in value.items():
        _need(_is_name(key) and type(text) is str and len(text) <= NAME_CHARS_MAX, "a label is a name and a short text")
    return MappingProxyType(value)


def _is_name(value: Any) -> bool:
    return type(value) is str and 0 < len(value) <= NAME_CHARS_MAX


def _need(condition: bool, why: str) -> None:
    if not condition:
        raise _MalformedError(why)

"""What of a decision its log does not tell: rules of the bundle's data, applied before an event is written anywhere.

    "decision_log": {"mask": [
        {"op": "remove", "path": "/input/parameters/*/password"},
        {"op": "upsert", "path": "/input/principal/subject", "value": "**"}
    ]}

A path is a JSON Pointer (RFC 6901) below `/input` or `/result`, in which `*` stands for any one name or position. So a
name that is spelled `*` is covered by `*` and by nothing else, and one with `/` or `~` in it is written `~1` and `~0`.
Source: openpolicyagent.org/docs/management-decision-logs, Masking Sensitive Data; the wildcard is ours.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from engine.values import JsonValue
from gateway.errors import PolicyInvalidError

RULES_MAX: Final = 256
PATH_CHARS_MAX: Final = 1_024
_ROOTS: Final = ("input", "result")
_ANY: Final = "*"
_FIELDS: Final = {"remove": frozenset({"op", "path"}), "upsert": frozenset({"op", "path", "value"})}
_INDEX: Final = re.compile(r"0|[1-9][0-9]*")
_WHERE: Final = "gateway.config.decision_log.mask"


@dataclass(frozen=True, slots=True)
class MaskRule:
    """One rule. `value` is what stands there instead; of a rule that removes, nothing does."""

    path: str  # as it was written
    tokens: tuple[str, ...]  # unescaped; the first is input or result
    removes: bool
    value: JsonValue = None

    def apply(self, event: dict[str, Any]) -> bool:
        """Change the event where the path leads somewhere; return whether it did."""
        last = self.tokens[-1]
        found = False
        for parent in list(_reached(event, self.tokens[:-1], made=not self.removes)):
            changed = _remove(parent, last) if self.removes else _upsert(parent, last, self.value)
            found = found or changed
        return found


Mask = tuple[MaskRule, ...]


def _rule(path: str) -> MaskRule:
    return MaskRule(path, _tokens(path), removes=True)


def _tokens(path: str) -> tuple[str, ...]:
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in path[1:].split("/"))


DEFAULT_MASK: Final[Mask] = tuple(
    _rule(path)
    for path in (
        "/input/parameters",
        "/input/effect/args",
        "/input/mission/variables",
        "/input/mission/steps/*/parameters",
    )
)
"""What clients have written and steps have read: the log says that something was asked, not with what."""

WHOLE_INPUT: Final[Mask] = (_rule("/input"),)
"""For a decision of a bundle whose mask is not known."""


def read_mask(data: Mapping[str, JsonValue]) -> Mask:
    """Return `decision_log.mask` of a bundle's data (`data.gateway.config`), or `DEFAULT_MASK` where it says nothing.

    An empty list masks nothing.

    Raises:
        PolicyInvalidError: `policy.decision_log`, with the place and the rule that it breaks.
    """
    section = data.get("decision_log", {})
    if not isinstance(section, Mapping) or section.keys() - {"mask"}:
        raise _refused("gateway.config.decision_log", "must be an object with nothing but `mask`")
    if "mask" not in section:
        return DEFAULT_MASK
    rules = section["mask"]
    if not isinstance(rules, list) or len(rules) > RULES_MAX:
        raise _refused(_WHERE, f"must be a list of at most {RULES_MAX} rules")
    return tuple(_read_rule(rule, f"{_WHERE}[{at}]") for at, rule in enumerate(rules))


def _read_rule(rule: JsonValue, where: str) -> MaskRule:
    if not isinstance(rule, Mapping):
        raise _refused(where, "must be an object")
    op, path = rule.get("op"), rule.get("path")
    if not isinstance(op, str) or op not in _FIELDS:
        raise _refused(f"{where}.op", 'must be "remove" or "upsert"')
    if unknown := sorted(rule.keys() - _FIELDS[op]):
        raise _refused(f"{where}.{unknown[0]}", f"is no field of {op}")
    if missing := sorted(_FIELDS[op] - rule.keys()):
        raise _refused(f"{where}.{missing[0]}", "is missing")
    if not isinstance(path, str) or len(path) > PATH_CHARS_MAX:
        raise _refused(f"{where}.path", f"must be a text of at most {PATH_CHARS_MAX} characters")
    if _bad_escape(path):
        raise _refused(f"{where}.path", "`~` is written ~0, and `/` within a name ~1")
    tokens = _tokens(path)
    if not path.startswith("/") or tokens[0] not in _ROOTS:
        raise _refused(f"{where}.path", "must begin with /input or /result")
    return MaskRule(path, tokens, removes=op == "remove", value=rule.get("value"))


def _bad_escape(path: str) -> bool:
    return any(after[:1] not in {"0", "1"} for after in path.split("~")[1:])


def _refused(where: str, why: str) -> PolicyInvalidError:
    return PolicyInvalidError(f"{where}: {why}", code="policy.decision_log", file="data.json")


def apply_mask(mask: Mask, event: dict[str, Any]) -> None:
    """Mask an event in place; `erased` and `masked` say which rules have found something, by their paths."""
    erased: list[str] = []
    masked: list[str] = []
    for rule in mask:
        if rule.apply(event):
            (erased if rule.removes else masked).append(rule.path)
    if erased:
        event["erased"] = erased
    if masked:
        event["masked"] = masked


def _reached(value: Any, tokens: tuple[str, ...], *, made: bool) -> Iterator[Any]:
    """Yield everything that a path leads to; objects on the way that are missing are `made`, as OPA does."""
    if not tokens:
        yield value
        return
    first, rest = tokens[0], tokens[1:]
    if isinstance(value, dict):
        if first == _ANY:
            for item in value.values():
                yield from _reached(item, rest, made=made)
        elif made or first in value:
            yield from _reached(value.setdefault(first, {}), rest, made=made)
    elif isinstance(value, list):
        if first == _ANY:
            for item in value:
                yield from _reached(item, rest, made=made)
        elif (at := _position(first, len(value))) is not None:
            yield from _reached(value[at], rest, made=made)


def _remove(parent: Any, name: str) -> bool:
    if isinstance(parent, dict):
        if name == _ANY:
            found = bool(parent)
            parent.clear()
            return found
        found = name in parent
        parent.pop(name, None)
        return found
    if isinstance(parent, list):
        if name == _ANY:
            found = bool(parent)
            parent.clear()
            return found
        if (at := _position(name, len(parent))) is not None:
            parent[at] = None  # the positions after it stay what they are, for the rules that follow
            return True
    return False


def _upsert(parent: Any, name: str, value: JsonValue) -> bool:
    if isinstance(parent, dict):
        if name == _ANY:
            parent.update(dict.fromkeys(parent, value))
            return bool(parent)
        parent[name] = value
        return True
    if isinstance(parent, list):
        if name == _ANY:
            parent[:] = [value] * len(parent)
            return bool(parent)
        if (at := _position(name, len(parent))) is not None:
            parent[at] = value
            return True
    return False


def _position(text: str, length: int) -> int | None:
    """Return the index that a token spells, as RFC 6901 has it: digits, no leading zero."""
    if _INDEX.fullmatch(text) is None or len(text) > len(str(length)):
        return None
    return at if (at := int(text)) < length else None

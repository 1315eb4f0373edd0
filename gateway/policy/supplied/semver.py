"""Semantic versions as OPA reads them: a `v` in front is allowed.

Source: OPA internal/semver/semver.go; semver.org 2.0.0, 11.
"""

import re
from dataclasses import dataclass
from typing import Final

from gateway.policy.supplied.operands import OperandError, Value, string

_IDENTIFIERS: Final = re.compile(r"[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*")
_NUMBER: Final = re.compile(r"0|[1-9][0-9]*")
_NUMBER_MAX: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class _Version:
    numbers: tuple[int, ...]  # major, minor, patch
    before: str  # the pre-release, or ""


def is_valid(value: Value) -> bool:
    """`semver.is_valid(x)`; of what is no string, false."""
    if type(value) is not str:
        return False
    try:
        _parse(value)
    except OperandError:
        return False
    return True


def compare(left: Value, right: Value) -> int:
    """`semver.compare(a, b)`: -1, 0 or 1."""
    a, b = _parse(string(left)), _parse(string(right))
    if a.numbers != b.numbers:
        return 1 if a.numbers > b.numbers else -1
    if not a.before or not b.before:
        return bool(b.before) - bool(a.before)
    return _compare_identifiers(a.before.split("."), b.before.split("."))


def _parse(text: str) -> _Version:
    rest, plus, metadata = text.removeprefix("v").partition("+")
    rest, minus, before = rest.partition("-")
    if plus and not _IDENTIFIERS.fullmatch(metadata):
        raise OperandError("no semantic version: bad metadata")
    if minus and not _pre_release(before):
        raise OperandError("no semantic version: bad pre-release")
    numbers = rest.split(".")
    if len(numbers) != 3 or not all(_NUMBER.fullmatch(number) and int(number) <= _NUMBER_MAX for number in numbers):  # noqa: PLR2004
        raise OperandError("no semantic version")
    return _Version(tuple(int(number) for number in numbers), before)


def _pre_release(text: str) -> bool:
    parts = text.split(".")
    return bool(_IDENTIFIERS.fullmatch(text)) and not any(
        len(part) > 1 and part.startswith("0") and part.isdigit() for part in parts
    )


def _compare_identifiers(left: list[str], right: list[str]) -> int:
    for a, b in zip(left, right, strict=False):
        if a == b:
            continue
        if a.isdigit() != b.isdigit():
            return -1 if a.isdigit() else 1
        if not a.isdigit():
            return 1 if a > b else -1
        x, y = (min(int(part), _NUMBER_MAX) for part in (a, b))  # Go's Atoi stops there
        if x != y:
            return 1 if x > y else -1
    return (len(left) > len(right)) - (len(left) < len(right))

"""Collects the violations of one document: where they are as a path, a line and a column, and never too many.

Readers report a path and go on, so that a client sees everything that is wrong at once. Lines and columns are worked
out only when there is something to report.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Literal, NamedTuple, TypeAlias

from engine.errors import MissionInvalidError, Violation

VIOLATIONS_MAX = 64
TEXT_SHOWN_MAX = 64  # characters of a client's text that a message repeats
_CANDIDATES_MAX = 256  # names that a suggestion is looked for among, at some microseconds each
_LIKENESS_MIN = 0.5

_PLAIN_NAME = re.compile(rf"[A-Za-z_][A-Za-z0-9_]{{0,{TEXT_SHOWN_MAX - 1}}}")

Path: TypeAlias = tuple[str | int, ...]  # ("steps", 3, "parameters", "path")


class Position(NamedTuple):
    """A place in the text, both 1-based; columns count code points."""

    line: int
    column: int


def position_at(text: str, at: int) -> Position:
    """Return the position of code point `at`, counted from 0."""
    return Position(text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at))


class Place(NamedTuple):
    """Where a value stands, and the key before it (the value again, where there is none)."""

    key: Position
    value: Position


Locate: TypeAlias = Callable[[Collection[Path]], Mapping[Path, Place]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finding:
    code: str
    message: str
    field: str
    kind: Literal["malformed", "limit"]
    at: Path
    at_key: bool
    position: Position | None


class Findings:
    """What is wrong with a document. At `VIOLATIONS_MAX` reading stops: `add` raises."""

    def __init__(self, locate: Locate | None = None) -> None:
        self._locate = locate
        self._found: list[_Finding] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(
        self,
        path: Path,
        code: str,
        message: str,
        *,
        kind: Literal["malformed", "limit"] = "malformed",
        at: Path | None = None,
        at_key: bool = False,
        position: Position | None = None,
    ) -> None:
        """Note that `path` breaks a rule; `at` is the path to point to where `path` itself is not in the document.

        Raises:
            MissionInvalidError: this was the last that is collected.
        """
        self._found.append(
            _Finding(
                code=code,
                message=message,
                field=field_name(path),
                kind=kind,
                at=path if at is None else at,
                at_key=at_key,
                position=position,
            )
        )
        if len(self._found) >= VIOLATIONS_MAX:
            raise self.error()

    def error(self) -> MissionInvalidError:
        """Return what was found, in the order of the document; there must be something."""
        unplaced = {finding.at for finding in self._found if finding.position is None}
        places = self._locate(unplaced) if self._locate is not None and unplaced else {}
        violations = [_violation(finding, places) for finding in self._found]
        violations.sort(key=lambda v: (v.line is None, v.line or 0, v.column or 0))
        return MissionInvalidError(violations)

    def refuse_if_any(self) -> None:
        """Raise what was found.

        Raises:
            MissionInvalidError: something was found.
        """
        if self._found:
            raise self.error()


def _violation(finding: _Finding, places: Mapping[Path, Place]) -> Violation:
    position = finding.position
    if position is None and (place := places.get(finding.at)) is not None:
        position = place.key if finding.at_key else place.value
    return Violation(
        code=finding.code,
        message=finding.message,
        field=finding.field,
        line=position.line if position else None,
        column=position.column if position else None,
        kind=finding.kind,
    )


def field_name(path: Path) -> str:
    """Return the path as clients read it: `steps[3].parameters.headers["x-id"]`. A long name is cut."""
    return "".join(map(_part, path)).removeprefix(".")


def _part(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    if _PLAIN_NAME.fullmatch(part):
        return f".{part}"
    return f"[{json.dumps(_cut(part))}]"  # ASCII: nothing in a field path may be invisible, or look like a path


def shown(text: str) -> str:
    """Return a client's text so that it can stand in a message: bounded, nothing that a terminal would obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in _cut(text))


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_SHOWN_MAX else text[: TEXT_SHOWN_MAX - 1] + "…"


def suggestion(text: str, known: Collection[str]) -> str:
    """Return `; did you mean 'x'?` for the nearest known name, or nothing."""
    if len(text) > TEXT_SHOWN_MAX or len(known) > _CANDIDATES_MAX:
        return ""
    names = sorted(name for name in known if len(name) <= TEXT_SHOWN_MAX)
    likeness, near = max(((_likeness(text, name), name) for name in names), key=itemgetter(0), default=(0.0, ""))
    return f"; did you mean '{shown(near)}'?" if likeness >= _LIKENESS_MIN else ""


def _likeness(one: str, other: str) -> float:
    """Return how much of two names, whatever their case, is a common beginning and a common end, from 0 to 1.

    Linear, unlike `difflib`, which takes milliseconds for a pair of names that a client has chosen for that.
    """
    one, other = one.lower(), other.lower()
    begins = _common(one, other)
    ends = _common(one[begins:][::-1], other[begins:][::-1])
    return 2 * (begins + ends) / max(len(one) + len(other), 1)


def _common(one: str, other: str) -> int:
    """Return how many characters two texts begin with alike."""
    pairs = zip(one, other, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))

"""What is wrong with a definition in Python, and where it stands.

RefusalError
└── MissionInvalidError
    └── DagDefinitionError   a Dag or a mission builder that was written wrongly; carries every violation
"""

import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from engine.errors import MissionInvalidError, Violation
from engine.findings import VIOLATIONS_MAX

_OURS: Final = ("engine.dsl", "engine.builder")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A line of a program."""

    file: str
    line: int

    def __str__(self) -> str:
        """Return it as compilers write it."""
        return f"{self.file}:{self.line}"


def place_of_caller() -> Place:
    """Return the line of the program that has called into this package."""
    frame = sys._getframe(1)  # noqa: SLF001 - what `inspect` calls, without reading source files
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).startswith(_OURS):
        frame = frame.f_back
    return Place(frame.f_code.co_filename, frame.f_lineno)


def place_of(function: Callable[..., Any]) -> Place:
    """Return where a function is defined, or who has passed it here where that cannot be told."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return place_of_caller() if code is None else Place(code.co_filename, code.co_firstlineno)


def violation(place: Place, subject: str, code: str, message: str) -> Violation:
    """Return one broken rule; `subject` is what it is said of: "node 'total'"."""
    return Violation(code=code, message=f"{place}: {subject}: {message}", field=subject, line=place.line)


class DagDefinitionError(MissionInvalidError):
    """A definition breaks rules; `violations` has them all (at most 64), and the message shows each with its line."""

    default_code: ClassVar[str] = "dag.invalid"

    def __init__(self, violations: Sequence[Violation], *, of: str = "the definition") -> None:
        super().__init__(violations[:VIOLATIONS_MAX])
        lines = [v.message for v in self.violations]
        if len(violations) > VIOLATIONS_MAX:
            lines.append(f"(and {len(violations) - VIOLATIONS_MAX} more)")
        count = "1 error" if len(violations) == 1 else f"{len(violations)} errors"
        self.message = "\n  ".join([f"{of} has {count}:", *lines])
        self.args = (self.message,)

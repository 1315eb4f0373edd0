"""The error tree of the engine; the gateway adds leaves, never roots.

EngineError
├── RefusalError            the system works, and the answer is no
│   └── MissionInvalidError the document is no mission, or one over a limit; carries every violation
├── FaultError              the system could not answer; it fails closed
│   └── SuspendedError      an execution was stopped so that a later one takes it up
└── StepError               one step failed; `halts_mission` marks a security violation
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal


class EngineError(Exception):
    """Root of the tree; `code` is stable, and all that a client may branch on."""

    default_code: ClassVar[str] = "internal"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code if code is not None else self.default_code


class RefusalError(EngineError):
    """The system worked, and the answer is no; retrying as is cannot help."""

    default_code = "refused"


class FaultError(EngineError):
    """The system could not answer. It fails closed, so this is a no as well."""

    default_code = "fault"


class SuspendedError(FaultError):
    """An execution was stopped before its end, and has no result: a later one takes up what is left."""

    default_code = "mission.suspended"


class StepError(EngineError):
    """A step failed.

    With `halts_mission` nothing else of the mission may start, whatever its error mode. `retryable` says that the
    same step may succeed later; what halts the mission is not tried again. `exhausted` says that a resource is used
    up, which opens the breaker of such steps at once.
    """

    default_code = "step.failed"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        halts_mission: bool = False,
        retryable: bool = True,
        exhausted: bool = False,
    ) -> None:
        super().__init__(message, code=code)
        self.halts_mission = halts_mission
        self.retryable = retryable and not halts_mission
        self.exhausted = exhausted


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One broken rule of one field of a document."""

    code: str  # stable, dotted: "mission.unknown_field"
    message: str  # one sentence that names the rule and what to do
    field: str  # "steps[3].parameters.path"; "" is the whole document
    line: int | None = None  # 1-based, in the bytes that the client sent
    column: int | None = None  # 1-based
    kind: Literal["malformed", "limit"] = "malformed"  # "limit": well formed, but more than is allowed here


class MissionInvalidError(RefusalError):
    """The document is not a mission that this engine runs; `violations` has at least one entry."""

    default_code = "mission.invalid"

    def __init__(self, violations: Sequence[Violation]) -> None:
        self.violations = tuple(violations)
        first = self.violations[0]
        where = f"line {first.line}: " if first.line is not None else ""
        more = f" (and {len(self.violations) - 1} more)" if len(self.violations) > 1 else ""
        super().__init__(f"{where}{first.field or 'document'}: {first.message}{more}", code=first.code)

    @property
    def malformed(self) -> bool:
        """Whether any violation is more than an exceeded limit."""
        return any(v.kind == "malformed" for v in self.violations)

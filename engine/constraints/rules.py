"""What is held to constraints: a rule, by its name and the type that says which constraints it gets."""

from dataclasses import dataclass
from enum import StrEnum

from engine.constraints.limits import ExecutionConstraints
from engine.constraints.violations import MultipleViolations, Single
from engine.values import JsonValue


class RuleType(StrEnum):
    """The four types of the document; each has one set of constraints in an enforcer."""

    FAST = "fast"
    SEMANTIC = "semantic"
    WASM = "wasm"
    OBSERVATIONAL = "observational"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule. `constraints` stand in place of those of its type, for a grant that was narrowed, for instance."""

    name: str  # what statistics and events call it
    type: RuleType
    constraints: ExecutionConstraints | None = None


@dataclass(frozen=True, slots=True)
class Breach:
    """A rule that broke its constraints, and whether that was passed over."""

    rule: str
    violation: Single | MultipleViolations
    opened: bool

    def document(self) -> dict[str, JsonValue]:
        """Return it as JSON, as an audit event has it."""
        policy = "open" if self.opened else "closed"
        return {"rule": self.rule, **self.violation.document(), "policy": policy}

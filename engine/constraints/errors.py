"""The errors of constraints, leaves of the engine's tree.

FaultError
└── ConstraintError              a rule and its constraints did not come to terms
    ├── ConstraintViolationError a limit was passed; carries the violation, and has its code
    ├── InvalidConfigurationError the constraints are none; also a ValueError, as of any value that cannot be made
    ├── ResourceExhaustedError   a cumulative quota is used up; carries when it is free again
    └── EnforcementFailureError  the enforcement itself does not work: a clock, a generator, a measurement

All are faults and none is a refusal: a quota is free again after a while, a run that met the wall of a busy host may
pass the next time, and none of it says that somebody broke a security rule, which would halt a mission.

Source: ExecutionConstraints document, Error Handling.
"""

from engine.constraints.violations import ConstraintViolation
from engine.errors import FaultError


class ConstraintError(FaultError):
    """A rule could not be held within its constraints, or was, and had no answer by then."""

    default_code = "constraint.failed"


class ConstraintViolationError(ConstraintError):
    """A rule passed a limit, or was sampled out; `code` is the violation's."""

    def __init__(self, violation: ConstraintViolation, message: str | None = None) -> None:
        super().__init__(message if message is not None else str(violation), code=violation.code)
        self.violation = violation


class InvalidConfigurationError(ConstraintError, ValueError):
    """What was to be constraints, a quota or a rule is none; the message names the field and the rule."""

    default_code = "constraint.invalid"


class ResourceExhaustedError(ConstraintError):
    """A cumulative quota is used up, and is free again after `free_in_seconds`."""

    default_code = "quota.exceeded"

    def __init__(self, message: str, *, free_in_seconds: float) -> None:
        super().__init__(message)
        self.free_in_seconds = free_in_seconds


class EnforcementFailureError(ConstraintError):
    """What was to hold a rule does not work, so nothing is known of the rule: a no."""

    default_code = "constraint.not_enforced"

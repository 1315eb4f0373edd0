"""What a step fails with: a stage that said no or could not answer, or the module by its own account."""

import re
from typing import Final

from engine.errors import EngineError, RefusalError, StepError
from gateway.errors import SandboxError, is_violation
from gateway.sandbox.abi import StepFault

_FAULT_CODE: Final = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*")
# What only the host may say of a step. `effect` is not among them: a module passes on what the journal told it.
_HOST_CODES: Final = frozenset(
    {"approval", "audit", "breaker", "condition", "constraint", "context", "foreach", "hook", "internal", "interrupted",
     "mission", "observe", "policy", "quota", "reference", "rewrite", "sandbox", "sanitize", "schema", "screen",
     "secret", "security", "step", "store", "subject", "worker"}
)  # fmt: skip
# A resource of this gateway is used up: the breaker of such steps opens at once.
_EXHAUSTION_CODES: Final = frozenset(
    {"effect.disk_full", "effect.overloaded", "effect.workspace_full", "sandbox.overloaded", "worker.overloaded"}
)


def step_error(error: EngineError) -> StepError:
    """Return what a step fails with where a stage said no, or could not answer."""
    return StepError(
        error.message,
        code=error.code,
        halts_mission=is_violation(error),
        retryable=not isinstance(error, RefusalError),
        exhausted=error.code in _EXHAUSTION_CODES,
    )


def own_fault(answer: StepFault) -> StepError:
    """Return the failure that a module reports; one that speaks with the host's voice is no answer at all."""
    if not _FAULT_CODE.fullmatch(answer.code) or answer.code.partition(".")[0] in _HOST_CODES:
        raise SandboxError(f"a module cannot fail with the code {answer.code!r}", code="sandbox.output_invalid")
    return StepError(
        answer.message, code=answer.code, retryable=answer.retryable, exhausted=answer.code in _EXHAUSTION_CODES
    )

"""The gateway's leaves of the engine's error tree.

RefusalError
├── SanitizationError        an input breaks the rule of its type; carries violations
├── PolicyDeniedError        Rego said no; carries the decision's reasons
├── UnauthenticatedError     no or a wrong credential
├── NotFoundError            no such thing, or not for this principal
├── ErasedError              what is asked for was erased, for good
├── ConflictError            a request id used for another request, a state that does not allow the call
├── OverloadedError          there is no room for it now; trying later helps
│   ├── LimitedError         a limit is reached; names it, its value, and when to try again
│   └── StreamEndedError     a stream was ended that nobody read; it may be taken up where it stopped
├── DeadlineError            time ran out before anything was begun: the caller's own, or that of its request
├── LogPrunedError           what was asked of the audit log is archived; names the first event that is still there
├── SecretRefusedError       a secret's name or value breaks a rule
├── HookRefusedError         a module or manifest breaks a rule of registration
└── PolicyInvalidError       a bundle is not accepted; carries rule, file and line
FaultError
├── WorkerError              a worker crashed, or was killed at its deadline
├── PolicyUnavailableError   no decision could be had
├── BundleSourceError        the source of bundles gives none now
├── SandboxError             a run broke a limit, trapped or lied; carries the violations
├── StoreError               the store could not answer
├── KeysUnavailableError     nobody can say now whether a token is good
├── SecretError              a secret cannot be had: none of that name, a damaged vault, another key
├── BackupError              a backup is not whole, or cannot be taken or restored
├── EffectError              an effect was not performed, or (`in_doubt`) nobody knows whether it was
└── ConfigurationError       the gateway cannot start as configured
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from engine.errors import EngineError, FaultError, RefusalError, Violation


class SanitizationError(RefusalError):
    """An input breaks the rule of its type. `violations` has at least one entry."""

    default_code = "sanitize.refused"

    def __init__(self, violations: Sequence[Violation]) -> None:
        self.violations = tuple(violations)
        first = self.violations[0]
        super().__init__(f"{first.field or 'value'}: {first.message}", code=first.code)


HOST_RULE: Final = "host"
"""The rule of a reason that the host gives in policy's place: no Rego rule was asked, or none answered."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a decision is what it is; `rule` names the Rego rule, or the host's own check."""

    code: str
    message: str
    rule: str = ""


class PolicyDeniedError(RefusalError):
    """A decision is no. `reasons` may be empty only where the policy gave none."""

    default_code = "policy.denied"

    def __init__(self, reasons: Sequence[Reason]) -> None:
        self.reasons = tuple(reasons)
        text = "; ".join(r.message for r in self.reasons) or "denied by policy"
        super().__init__(text, code=self.reasons[0].code if self.reasons else None)


class UnauthenticatedError(RefusalError):
    """No credential, or one that is not accepted. `check` says why, to counters and never to the client."""

    default_code = "auth.unauthenticated"

    def __init__(self, message: str, *, check: str) -> None:
        super().__init__(message)
        self.check = check


class NotFoundError(RefusalError):
    """There is no such thing, or not for this principal: the two are not told apart."""

    default_code = "not_found"


class LogPrunedError(RefusalError):
    """Lines that were asked for are no longer in the log, as retention wants. `first_seq` is the first that is."""

    default_code = "audit.pruned"

    def __init__(self, first_seq: int) -> None:
        self.first_seq = first_seq
        super().__init__(
            f"the events before {first_seq} were pruned; {first_seq} is the first that is still in the log"
        )


class ErasedError(RefusalError):
    """What is asked for was erased; that it was there, and when it was erased, is all that is left."""

    default_code = "mission.erased"


class ConflictError(RefusalError):
    """The request contradicts what is recorded."""

    default_code = "conflict"


class OverloadedError(RefusalError):
    """There is no room for it now; of all refusals, the one that time may lift."""

    default_code = "overloaded"


class LimitedError(OverloadedError):
    """A limit is reached. It says which, as the configuration names it, what its value is, and when to try again."""

    default_code = "limits.rate"

    def __init__(self, what: str, *, code: str, limit: str, value: float, retry_seconds: float) -> None:
        """Say so; `limit` is a key below `[limits]`, `retry_seconds` when room may be expected."""
        self.limit = limit
        self.value = value
        self.retry_seconds = retry_seconds
        super().__init__(f"{what}: {limit} is {value:g}; try again in {retry_seconds:.3g} seconds", code=code)


class StreamEndedError(OverloadedError):
    """A stream was ended because its reader did not read; what was not sent is sent to who takes it up again."""

    default_code = "stream.slow_reader"


class DeadlineError(RefusalError):
    """Time ran out before what was asked had begun: the caller's own deadline, or what a request may take to come."""

    default_code = "call.deadline_exceeded"


class SecretRefusedError(RefusalError):
    """A secret's name, tenant or value breaks a rule; no message repeats a value."""

    default_code = "secret.refused"


class HookRefusedError(RefusalError):
    """A module or its manifest breaks a rule of registration; `field` says where in the manifest, "" where nowhere."""

    default_code = "hook.refused"

    def __init__(self, message: str, *, code: str | None = None, field: str = "") -> None:
        super().__init__(message, code=code)
        self.field = field


class PolicyInvalidError(RefusalError):
    """A bundle is not accepted: syntax, or a construct whose answer would differ from OPA's."""

    default_code = "policy.invalid"

    def __init__(self, message: str, *, code: str | None = None, file: str = "", line: int | None = None) -> None:
        where = f"{file}:{line}: " if line is not None else (f"{file}: " if file else "")
        super().__init__(f"{where}{message}", code=code)
        self.file = file
        self.line = line


class WorkerError(FaultError):
    """A worker process crashed (`worker.crashed`) or was killed at its deadline (`worker.deadline`)."""

    default_code = "worker.crashed"


class PolicyUnavailableError(FaultError):
    """No decision could be had; the answer is no."""

    default_code = "policy.unavailable"


class BundleSourceError(FaultError):
    """The source of bundles gives none now; no message repeats a token or a query."""

    default_code = "policy.source_unavailable"


class SandboxError(FaultError):
    """A run broke a limit (`constraint.*`), trapped or answered nonsense (`sandbox.*`)."""

    default_code = "sandbox.failed"

    def __init__(self, message: str, *, code: str | None = None, log: bytes = b"") -> None:
        super().__init__(message, code=code)
        self.log = log  # what the module had printed until then: untrusted, bounded, for its author alone


class StoreError(FaultError):
    """The store could not answer."""

    default_code = "store.unavailable"


class KeysUnavailableError(FaultError):
    """Nobody can say whether a token is good: its issuer's keys were not heard of for too long."""

    default_code = "auth.keys_unavailable"


class SecretError(FaultError):
    """A secret cannot be had, so nothing that needs it is done; no message repeats a value."""

    default_code = "secret.unavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigProblem:
    """A rule that the configuration breaks. It never repeats a value."""

    field: str  # dotted, such as `limits.steps_max`
    rule: str
    place: str  # where it was said: the file, a variable, an option


class ConfigurationError(FaultError):
    """The gateway cannot start as configured. `problems` has every broken rule, where it is about rules of keys."""

    default_code = "config.invalid"

    def __init__(self, message: str, *, code: str | None = None, problems: Sequence[ConfigProblem] = ()) -> None:
        super().__init__(message, code=code)
        self.problems = tuple(problems)


class BackupError(FaultError):
    """A backup cannot be taken, is not whole, or cannot be restored; `backup.*`."""

    default_code = "backup.failed"


class EffectError(FaultError):
    """An effect was not performed (`effect.*`), or, with `in_doubt`, nobody knows whether it was.

    What is in doubt is never performed a second time by the gateway itself: a person decides. `violation` says that a
    security rule was broken on the way, which halts the mission whatever its error mode.
    """

    default_code = "effect.failed"

    def __init__(
        self, message: str, *, code: str | None = None, in_doubt: bool = False, violation: bool = False
    ) -> None:
        super().__init__(message, code=code)
        self.in_doubt = in_doubt
        self.violation = violation


def is_violation(error: EngineError) -> bool:
    """Return whether a refusal is a security violation: all are, but data of the wrong shape, which is a mistake."""
    shape_only = isinstance(error, SanitizationError) and all(v.code.startswith("schema.") for v in error.violations)
    return isinstance(error, RefusalError) and not shape_only

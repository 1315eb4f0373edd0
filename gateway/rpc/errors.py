"""The table from the error tree to gRPC statuses, and what of an error a client may see."""

import logging
import secrets
from collections.abc import Mapping
from typing import Final

import grpc

from engine.audit.errors import (
    AuditEventRefusedError,
    AuditLockedError,
    AuditOverloadedError,
    AuditPrunedError,
    AuditRotationError,
    AuditTamperedError,
    AuditUnavailableError,
    AuditUnwitnessedError,
    KeyFileError,
)
from engine.audit.export import ExportError, SelectionRefusedError
from engine.audit.verify import QuorumError, VerifierKeyError
from engine.constraints.errors import (
    ConstraintError,
    ConstraintViolationError,
    EnforcementFailureError,
    InvalidConfigurationError,
    ResourceExhaustedError,
)
from engine.errors import EngineError, FaultError, MissionInvalidError, RefusalError, StepError, SuspendedError
from gateway.errors import (
    BackupError,
    BundleSourceError,
    ConfigurationError,
    ConflictError,
    DeadlineError,
    EffectError,
    ErasedError,
    HookRefusedError,
    KeysUnavailableError,
    LimitedError,
    LogPrunedError,
    NotFoundError,
    OverloadedError,
    PolicyDeniedError,
    PolicyInvalidError,
    PolicyUnavailableError,
    SandboxError,
    SanitizationError,
    SecretError,
    SecretRefusedError,
    StoreError,
    StreamEndedError,
    UnauthenticatedError,
    WorkerError,
)

_LOG: Final = logging.getLogger(__name__)


class InternalError(EngineError):
    """A bug; the log has it under the reference that the client is told."""


# Every class of the tree has a row of its own (tests/test_complete.py). Refusals tell clients what to change; faults
# are UNAVAILABLE: the gateway could not answer, and may later.
STATUSES: Final[Mapping[type[EngineError], grpc.StatusCode]] = {
    MissionInvalidError: grpc.StatusCode.INVALID_ARGUMENT,
    SanitizationError: grpc.StatusCode.INVALID_ARGUMENT,
    HookRefusedError: grpc.StatusCode.INVALID_ARGUMENT,
    SecretRefusedError: grpc.StatusCode.INVALID_ARGUMENT,
    PolicyInvalidError: grpc.StatusCode.INVALID_ARGUMENT,
    VerifierKeyError: grpc.StatusCode.INVALID_ARGUMENT,
    QuorumError: grpc.StatusCode.INVALID_ARGUMENT,
    SelectionRefusedError: grpc.StatusCode.INVALID_ARGUMENT,
    AuditEventRefusedError: grpc.StatusCode.INVALID_ARGUMENT,
    AuditPrunedError: grpc.StatusCode.OUT_OF_RANGE,
    PolicyDeniedError: grpc.StatusCode.PERMISSION_DENIED,
    UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    NotFoundError: grpc.StatusCode.NOT_FOUND,
    ErasedError: grpc.StatusCode.FAILED_PRECONDITION,
    ConflictError: grpc.StatusCode.FAILED_PRECONDITION,
    OverloadedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    LimitedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    StreamEndedError: grpc.StatusCode.UNAVAILABLE,  # what clients take a stream up after
    DeadlineError: grpc.StatusCode.DEADLINE_EXCEEDED,
    LogPrunedError: grpc.StatusCode.OUT_OF_RANGE,
    RefusalError: grpc.StatusCode.FAILED_PRECONDITION,
    WorkerError: grpc.StatusCode.UNAVAILABLE,
    SecretError: grpc.StatusCode.UNAVAILABLE,
    PolicyUnavailableError: grpc.StatusCode.UNAVAILABLE,
    BundleSourceError: grpc.StatusCode.UNAVAILABLE,
    SandboxError: grpc.StatusCode.UNAVAILABLE,
    StoreError: grpc.StatusCode.UNAVAILABLE,
    BackupError: grpc.StatusCode.UNAVAILABLE,
    KeysUnavailableError: grpc.StatusCode.UNAVAILABLE,
    EffectError: grpc.StatusCode.UNAVAILABLE,
    ConfigurationError: grpc.StatusCode.UNAVAILABLE,
    AuditUnavailableError: grpc.StatusCode.UNAVAILABLE,
    AuditUnwitnessedError: grpc.StatusCode.UNAVAILABLE,
    AuditOverloadedError: grpc.StatusCode.UNAVAILABLE,
    AuditLockedError: grpc.StatusCode.UNAVAILABLE,
    AuditRotationError: grpc.StatusCode.UNAVAILABLE,
    AuditTamperedError: grpc.StatusCode.UNAVAILABLE,
    KeyFileError: grpc.StatusCode.UNAVAILABLE,
    ExportError: grpc.StatusCode.UNAVAILABLE,
    ConstraintViolationError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ResourceExhaustedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    InvalidConfigurationError: grpc.StatusCode.UNAVAILABLE,
    EnforcementFailureError: grpc.StatusCode.UNAVAILABLE,
    ConstraintError: grpc.StatusCode.UNAVAILABLE,
    SuspendedError: grpc.StatusCode.UNAVAILABLE,
    FaultError: grpc.StatusCode.UNAVAILABLE,
    StepError: grpc.StatusCode.INTERNAL,  # a step's failure is part of a result, so one that gets here is a bug
    InternalError: grpc.StatusCode.INTERNAL,
    EngineError: grpc.StatusCode.INTERNAL,
}


def status_of(error: EngineError) -> grpc.StatusCode:
    """Return the status of an error: the row of its class, or of the nearest class above."""
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def shown(error: Exception, method: str) -> EngineError:
    """Return what the client may know of `error`; what it may not is logged under a reference that it is told.

    A refusal is for the client, word by word. The text of a fault or of a bug may hold paths, addresses or data of
    others: the client gets the code, and the reference.
    """
    if isinstance(error, NotFoundError):  # one text, so that a foreign mission and a missing one stay one
        return NotFoundError("there is nothing by this name", code=error.code)
    if isinstance(error, RefusalError):
        return error
    if isinstance(error, KeysUnavailableError):  # a stranger can cause it: it is counted, and logged where it begins
        return KeysUnavailableError("who calls cannot be found out now")
    reference = secrets.token_hex(8)
    _LOG.error("%s failed; reference %s", method, reference, exc_info=error)
    if isinstance(error, FaultError):
        return FaultError(f"the gateway could not answer; its log has more under {reference}", code=error.code)
    return InternalError(f"internal error; the gateway's log has more under {reference}")

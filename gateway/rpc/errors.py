"""The table from the error tree to gRPC statuses, and the details that each carries."""

import logging
import secrets
from typing import Final

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from engine.errors import EngineError, FaultError, MissionInvalidError, RefusalError
from gateway.errors import (
    ConflictError,
    HookRefusedError,
    NotFoundError,
    OverloadedError,
    PolicyDeniedError,
    PolicyInvalidError,
    SanitizationError,
    UnauthenticatedError,
)
from gateway.v1 import error_pb2, mission_pb2

DOMAIN: Final = "missiongate"
DETAILS_KEY: Final = "grpc-status-details-bin"
VIOLATIONS_MAX: Final = 32  # shown in one error; trailing metadata has a limit of 8 KiB at most clients
MESSAGE_CHARS_MAX: Final = 1_024

_LOG: Final = logging.getLogger(__name__)

# The first row whose class fits. Faults are UNAVAILABLE: the system could not answer, and may later.
_TABLE: Final[tuple[tuple[type[EngineError], grpc.StatusCode], ...]] = (
    (MissionInvalidError, grpc.StatusCode.INVALID_ARGUMENT),
    (SanitizationError, grpc.StatusCode.INVALID_ARGUMENT),
    (PolicyDeniedError, grpc.StatusCode.PERMISSION_DENIED),
    (UnauthenticatedError, grpc.StatusCode.UNAUTHENTICATED),
    (NotFoundError, grpc.StatusCode.NOT_FOUND),
    (ConflictError, grpc.StatusCode.FAILED_PRECONDITION),
    (OverloadedError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (HookRefusedError, grpc.StatusCode.INVALID_ARGUMENT),
    (PolicyInvalidError, grpc.StatusCode.INVALID_ARGUMENT),
    (RefusalError, grpc.StatusCode.FAILED_PRECONDITION),
    (FaultError, grpc.StatusCode.UNAVAILABLE),
)


def status_of(error: EngineError) -> grpc.StatusCode:
    """Return the status of an error."""
    return next((status for kind, status in _TABLE if isinstance(error, kind)), grpc.StatusCode.INTERNAL)


def reason_of(code: str) -> str:
    """Return a stable code as ErrorInfo.reason wants it: `mission.cycle` is `MISSION_CYCLE` (AIP-193)."""
    return code.upper().replace(".", "_").replace("-", "_")


def rich_status(error: EngineError) -> status_pb2.Status:
    """Return the google.rpc.Status of an error, with ErrorInfo, BadRequest where fields are to blame, ErrorDetail."""
    violations = error.violations if isinstance(error, MissionInvalidError | SanitizationError) else ()
    detail = error_pb2.ErrorDetail(
        code=error.code,
        malformed=isinstance(error, MissionInvalidError) and error.malformed,
        violations=[
            error_pb2.Violation(code=v.code, message=v.message, field=v.field, line=v.line or 0, column=v.column or 0)
            for v in violations[:VIOLATIONS_MAX]
        ],
        reasons=[
            mission_pb2.Reason(code=r.code, message=r.message, rule=r.rule)
            for r in (error.reasons[:VIOLATIONS_MAX] if isinstance(error, PolicyDeniedError) else ())
        ],
    )
    details = [error_details_pb2.ErrorInfo(reason=reason_of(error.code), domain=DOMAIN), detail]
    if violations:
        details.insert(1, _bad_request(detail))
    packed = []
    for message in details:
        box = any_pb2.Any()
        box.Pack(message)
        packed.append(box)
    code = code_pb2.Code.Value(status_of(error).name)
    return status_pb2.Status(code=code, message=error.message[:MESSAGE_CHARS_MAX], details=packed)


def _bad_request(detail: error_pb2.ErrorDetail) -> error_details_pb2.BadRequest:
    return error_details_pb2.BadRequest(
        field_violations=[
            error_details_pb2.BadRequest.FieldViolation(
                field=v.field,
                description=f"line {v.line}: {v.message}" if v.line else v.message,
                reason=reason_of(v.code),
            )
            for v in detail.violations
        ]
    )


class InternalError(EngineError):
    """A bug. The client learns a reference; the log has the rest."""

    def __init__(self) -> None:
        self.reference = secrets.token_hex(8)
        super().__init__(f"internal error; reference {self.reference}")


def internal(error: BaseException, method: str) -> InternalError:
    """Log a bug with its reference, and return what the client may know of it."""
    shown = InternalError()
    _LOG.error("%s failed; reference %s", method, shown.reference, exc_info=error)
    return shown

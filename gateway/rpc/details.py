"""An error as google.rpc.Status, cut to what trailing metadata can carry.

Many clients refuse more than 8 KiB of metadata, and then report their own failure instead of ours. So texts are cut,
and violations that do not fit are counted: an error may say less, but never gets lost.
"""

import math
from typing import Final

from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from engine.errors import EngineError, MissionInvalidError, Violation
from gateway.errors import LimitedError, LogPrunedError, PolicyDeniedError, Reason, SanitizationError
from gateway.rpc.errors import status_of
from gateway.v1 import error_pb2, mission_pb2

DOMAIN: Final = "missiongate"
DETAILS_KEY: Final = "grpc-status-details-bin"
STATUS_BYTES_MAX: Final = 4_096  # base64 on the wire makes a third more of it
TEXT_BYTES_MAX: Final = 512  # of the message, which also travels percent-encoded: three bytes for one at worst
NAME_BYTES_MAX: Final = 160  # of codes, fields and rules
_ENTRY_BYTES: Final = 16  # at most, for the tags and lengths around one violation in both of its forms


def rich_status(error: EngineError) -> status_pb2.Status:
    """Return the status of an error: ErrorInfo, BadRequest where fields are to blame, ErrorDetail.

    A limit stands in ErrorInfo too, with RetryInfo beside it.
    """
    detail = error_pb2.ErrorDetail(
        code=_cut(error.code, NAME_BYTES_MAX), malformed=isinstance(error, MissionInvalidError) and error.malformed
    )
    info = error_details_pb2.ErrorInfo(reason=reason_of(detail.code), domain=DOMAIN)
    if isinstance(error, LogPrunedError):
        info.metadata["first_seq"] = str(error.first_seq)
    retry = _retry(error, info) if isinstance(error, LimitedError) else ()
    bad_request = error_details_pb2.BadRequest()
    message = _cut(error.message, TEXT_BYTES_MAX)
    left = STATUS_BYTES_MAX - len(message.encode()) - detail.ByteSize() - info.ByteSize() - 4 * NAME_BYTES_MAX
    if isinstance(error, MissionInvalidError | SanitizationError):
        _fill(detail, bad_request, error.violations, left)
    elif isinstance(error, PolicyDeniedError):
        _explain(detail, error.reasons, left)
    details: list[Message] = [info, bad_request, detail] if bad_request.field_violations else [info, *retry, detail]
    return status_pb2.Status(
        code=code_pb2.Code.Value(status_of(error).name), message=message, details=[_packed(each) for each in details]
    )


def _retry(error: LimitedError, info: error_details_pb2.ErrorInfo) -> tuple[Message, ...]:
    """Say in `info` which limit it is, and return when to try again."""
    info.metadata["limit"] = error.limit
    info.metadata["value"] = f"{error.value:g}"
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(math.ceil(error.retry_seconds * 1e3))
    return (retry,)


def reason_of(code: str) -> str:
    """Return a stable code as ErrorInfo.reason wants it: `mission.cycle` is `MISSION_CYCLE` (AIP-193)."""
    return code.upper().replace(".", "_").replace("-", "_")


def _fill(
    detail: error_pb2.ErrorDetail,
    bad_request: error_details_pb2.BadRequest,
    violations: tuple[Violation, ...],
    left: int,
) -> None:
    """Add violations, in both forms, while there is room."""
    for violation in violations:
        ours = error_pb2.Violation(
            code=_cut(violation.code, NAME_BYTES_MAX),
            message=_cut(violation.message, TEXT_BYTES_MAX),
            field=_cut(violation.field, NAME_BYTES_MAX),
            line=violation.line or 0,
            column=violation.column or 0,
        )
        theirs = error_details_pb2.BadRequest.FieldViolation(
            field=ours.field,
            description=f"line {ours.line}: {ours.message}" if ours.line else ours.message,
            reason=reason_of(ours.code),
        )
        left -= ours.ByteSize() + theirs.ByteSize() + _ENTRY_BYTES
        if left < 0:
            break
        detail.violations.append(ours)
        bad_request.field_violations.append(theirs)
    detail.omitted = len(violations) - len(detail.violations)


def _explain(detail: error_pb2.ErrorDetail, reasons: tuple[Reason, ...], left: int) -> None:
    """Add a decision's reasons while there is room."""
    for reason in reasons:
        ours = mission_pb2.Reason(
            code=_cut(reason.code, NAME_BYTES_MAX),
            message=_cut(reason.message, TEXT_BYTES_MAX),
            rule=_cut(reason.rule, NAME_BYTES_MAX),
        )
        left -= ours.ByteSize() + _ENTRY_BYTES
        if left < 0:
            break
        detail.reasons.append(ours)
    detail.omitted = len(reasons) - len(detail.reasons)


def _cut(text: str, bytes_max: int) -> str:
    """Return `text`, or its beginning and an ellipsis; what UTF-8 cannot spell is replaced."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= bytes_max:
        return raw.decode()
    return raw[: bytes_max - 3].decode("utf-8", "ignore") + "…"


def _packed(message: Message) -> any_pb2.Any:
    box = any_pb2.Any()
    box.Pack(message)
    return box

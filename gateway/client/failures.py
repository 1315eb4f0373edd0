"""A failed call as a value: what of gRPC's status and its details says why."""

from collections.abc import Sequence
from typing import Any, Final, cast

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from gateway.client.decisions import Reason
from gateway.client.errors import BrokenCallError, CallError, FieldViolation, class_of
from gateway.v1 import error_pb2

_DETAILS_KEY: Final = "grpc-status-details-bin"
_NANOS: Final = 1e9


def failure_of(error: grpc.RpcError, address: str) -> CallError:
    """Return why a call to `address` failed."""
    call = cast("grpc.Call", error)  # every error of a started call is one; the stubs' classes do not say so
    status = call.code()
    boxes = _details(call.trailing_metadata())
    detail, info = error_pb2.ErrorDetail(), error_details_pb2.RetryInfo()
    after = _seconds(info) if _unpack(boxes, info) else None
    text = call.details() or status.name
    own = _unpack(boxes, detail)  # else they are gRPC's words, or another program's
    failure = _own(status, text, detail, after) if own else _foreign(status, text, address, after)
    failure.__cause__ = error
    return failure


def unreadable(address: str) -> CallError:
    """Return the failure of a call whose answer is not the message that it should be."""
    text = f"{address} answers something else than a gateway, or than this version knows"
    return BrokenCallError(grpc.StatusCode.INTERNAL, "rpc.unreadable", text, malformed=True)


def late(text: str) -> CallError:
    """Return the failure of what took longer than its caller would wait."""
    status = grpc.StatusCode.DEADLINE_EXCEEDED
    return class_of(status)(status, "rpc.deadline_exceeded", text)


def ended_early(address: str) -> CallError:
    """Return the failure of a stream that ended before what it tells of had."""
    text = f"the gateway at {address} has ended the stream before its end"
    return class_of(grpc.StatusCode.UNAVAILABLE)(grpc.StatusCode.UNAVAILABLE, "rpc.unavailable", text)


def _own(status: grpc.StatusCode, text: str, detail: error_pb2.ErrorDetail, after: float | None) -> CallError:
    return class_of(status)(
        status,
        detail.code,
        text,
        violations=[
            FieldViolation(code=v.code, message=v.message, field=v.field, line=v.line or None, column=v.column or None)
            for v in detail.violations
        ],
        reasons=[Reason.of(reason) for reason in detail.reasons],
        omitted=detail.omitted,
        malformed=detail.malformed or detail.code.startswith("request."),
        retry_after_seconds=after,
    )


def _foreign(status: grpc.StatusCode, text: str, address: str, after: float | None) -> CallError:
    code = f"rpc.{status.name.lower()}"
    if status is grpc.StatusCode.UNAVAILABLE:
        text = f"no gateway answers at {address} ({text})"
    if status is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in text:  # gRPC's own words, on either side
        code = TOO_LARGE
    return class_of(status)(status, code, text, malformed=True, retry_after_seconds=after)


TOO_LARGE: Final = "rpc.message_too_large"
"""The code of a message over gRPC's limit: the same again is as large."""


def _details(metadata: Any) -> Sequence[Any]:
    """Return the details of a status, if it has some that can be read."""
    for key, value in metadata or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            try:
                return tuple(status_pb2.Status.FromString(value).details)
            except DecodeError:
                return ()
    return ()


def _unpack(boxes: Sequence[Any], into: Message) -> bool:
    """Fill a message from the first detail of its type; return whether there is one."""
    for box in boxes:
        try:
            if box.Unpack(into):
                return True
        except DecodeError:
            return False
    return False


def _seconds(info: error_details_pb2.RetryInfo) -> float:
    return max(0.0, float(info.retry_delay.seconds) + float(info.retry_delay.nanos) / _NANOS)

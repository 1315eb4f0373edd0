"""What every client of the gateway's services does: call, and turn a failed call into values."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from gateway.rpc.details import DETAILS_KEY
from gateway.v1 import error_pb2

DEADLINE_SECONDS: Final = 30.0
_T = TypeVar("_T")


class CallError(Exception):
    """A call failed: its status, and `[{"code","message","field","line"}]`, at least one."""

    def __init__(self, status: grpc.StatusCode, errors: list[dict[str, Any]], *, malformed: bool = False) -> None:
        super().__init__(errors[0]["message"])
        self.status = status
        self.errors = errors
        self.malformed = malformed  # the input is no mission at all


@dataclass(frozen=True, slots=True)
class Calls:
    """How calls are made: over which channel, to whom, with which metadata."""

    channel: grpc.Channel
    address: str
    metadata: tuple[tuple[str, str], ...]

    def one(
        self,
        method: "grpc.UnaryUnaryMultiCallable[Any, _T]",
        request: Any,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> _T:
        """Call a method that answers once.

        Raises:
            CallError: the call failed.
        """
        try:
            return method(request, metadata=self.metadata, timeout=deadline_seconds)
        except grpc.RpcError as error:
            raise call_error(error, self.address) from error

    def sent(
        self,
        method: "grpc.StreamUnaryMultiCallable[Any, _T]",
        requests: Iterator[Any],
        deadline_seconds: float,
    ) -> _T:
        """Call a method that takes a stream and answers once.

        Raises:
            CallError: the call failed.
        """
        try:
            return method(requests, metadata=self.metadata, timeout=deadline_seconds)
        except grpc.RpcError as error:
            raise call_error(error, self.address) from error

    def stream(self, method: "grpc.UnaryStreamMultiCallable[Any, _T]", request: Any) -> Iterator[_T]:
        """Call a method that answers with a stream.

        Raises:
            CallError: the call failed, or broke off.
        """
        try:
            yield from method(request, metadata=self.metadata, wait_for_ready=False)
        except grpc.RpcError as error:
            raise call_error(error, self.address) from error


def call_error(error: grpc.RpcError, address: str) -> CallError:
    """Return a failed call as a value."""
    call = cast("grpc.Call", error)  # every error of a started call is one; the stubs' classes do not say so
    status, detail = call.code(), _detail(call)
    text = call.details() or status.name
    if detail is None:  # not the gateway's own words: gRPC's, or another program's
        if status is grpc.StatusCode.UNAVAILABLE:
            text = f"no gateway answers at {address} ({text})"
        return CallError(status, [_error(f"rpc.{status.name.lower()}", text)], malformed=True)
    errors = [_error(v.code, v.message, v.field, v.line or None) for v in detail.violations]
    errors += [_error(r.code, r.message) for r in detail.reasons]
    if detail.omitted:
        errors.append(_error("errors.omitted", f"{detail.omitted} more, which an error status has no room for"))
    malformed = detail.malformed or detail.code.startswith("request.")
    return CallError(status, errors or [_error(detail.code, text)], malformed=malformed)


def _detail(error: grpc.Call) -> error_pb2.ErrorDetail | None:
    """Return our own part of an error's details, if it has one that can be read."""
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                for box in status_pb2.Status.FromString(value).details:
                    detail = error_pb2.ErrorDetail()
                    if box.Unpack(detail):
                        return detail
            except DecodeError:
                return None
    return None


def _error(code: str, message: str, field: str = "", line: int | None = None) -> dict[str, Any]:
    return {"code": code, "message": message, "field": field, "line": line}

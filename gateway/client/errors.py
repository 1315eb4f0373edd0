"""How a call fails, by what its caller can do about it.

CallError
├── InvalidCallError           the document, or a field of the request, breaks a rule: change it
├── DeniedCallError            policy said no
├── UnauthenticatedCallError   no credential, or one that is not accepted
├── NotFoundCallError          no such thing, or not for this caller
├── ConflictCallError          not in the state that things are in; asking again does not help by itself
├── OverloadedCallError        a limit is reached, or there is no room: `retry_after_seconds` may say when there is
├── LateCallError              no answer within the deadline: what was asked for may have been done
├── UnavailableCallError       no gateway answers, or it cannot answer now
└── BrokenCallError            a bug of the gateway's, a method that it does not have, or something else than a gateway
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc

from gateway.client.decisions import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldViolation:
    """One broken rule of one field."""

    code: str  # stable, dotted: "mission.unknown_field"
    message: str
    field: str = ""  # "steps[3].parameters.path"; "" is the whole document
    line: int | None = None  # from 1, in the document as sent
    column: int | None = None


class CallError(Exception):
    """A call failed. `code` is stable, and all that a program may branch on, beside the class."""

    def __init__(
        self,
        status: grpc.StatusCode,
        code: str,
        message: str,
        *,
        violations: Sequence[FieldViolation] = (),
        reasons: Sequence[Reason] = (),
        omitted: int = 0,
        malformed: bool = False,
        retry_after_seconds: float | None = None,
    ) -> None:
        """Take what the gateway said.

        Args:
            status: of gRPC.
            code: stable, dotted: "policy.denied".
            message: one sentence.
            violations: what is wrong, and where.
            reasons: why policy said no.
            omitted: how many of both the answer had no room for.
            malformed: the input is no mission at all, or no request.
            retry_after_seconds: when to ask again, where the gateway says so (google.rpc.RetryInfo).
        """
        self.status = status
        self.code = code
        self.message = message
        self.violations = tuple(violations)
        self.reasons = tuple(reasons)
        self.omitted = omitted
        self.malformed = malformed
        self.retry_after_seconds = retry_after_seconds
        super().__init__(self.errors[0]["message"])

    @property
    def errors(self) -> list[dict[str, Any]]:
        """The failure as JSON, `[{"code","message","field","line"}]`: an entry for each violation and reason."""
        out = [_error(each.code, each.message, each.field, each.line) for each in self.violations]
        out += [_error(each.code, each.message) for each in self.reasons]
        if self.omitted:
            out.append(_error("errors.omitted", f"{self.omitted} more, which an error status has no room for"))
        return out or [_error(self.code, self.message)]


class InvalidCallError(CallError):
    """The document, or a field of the request, breaks a rule."""


class DeniedCallError(CallError):
    """Policy said no; `reasons` say why."""


class UnauthenticatedCallError(CallError):
    """No credential, or one that is not accepted."""


class NotFoundCallError(CallError):
    """There is no such thing, or it is not for this caller: the gateway does not say which."""


class ConflictCallError(CallError):
    """Things are in another state than the call needs."""


class OverloadedCallError(CallError):
    """A limit is reached, or there is no room for it now."""


class LateCallError(CallError):
    """No answer came within the deadline; what was asked for may have been done."""


class UnavailableCallError(CallError):
    """No gateway answers, or it cannot answer now."""


class BrokenCallError(CallError):
    """An answer that is none, or of a gateway that does not have the method."""


_CLASSES: Final[Mapping[grpc.StatusCode, type[CallError]]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidCallError,
    grpc.StatusCode.PERMISSION_DENIED: DeniedCallError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedCallError,
    grpc.StatusCode.NOT_FOUND: NotFoundCallError,
    grpc.StatusCode.FAILED_PRECONDITION: ConflictCallError,
    grpc.StatusCode.ALREADY_EXISTS: ConflictCallError,
    grpc.StatusCode.OUT_OF_RANGE: ConflictCallError,
    grpc.StatusCode.ABORTED: ConflictCallError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: OverloadedCallError,
    grpc.StatusCode.DEADLINE_EXCEEDED: LateCallError,
    grpc.StatusCode.UNAVAILABLE: UnavailableCallError,
    grpc.StatusCode.CANCELLED: UnavailableCallError,  # the gateway, or a proxy, has cut it: no caller cancels and asks
}


def class_of(status: grpc.StatusCode) -> type[CallError]:
    """Return the class of a failed call."""
    return _CLASSES.get(status, BrokenCallError)


def _error(code: str, message: str, field: str = "", line: int | None = None) -> dict[str, Any]:
    return {"code": code, "message": message, "field": field, "line": line}

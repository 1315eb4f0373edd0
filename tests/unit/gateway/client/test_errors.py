"""Failed calls as values: the class, the code, and what there is to change."""

import ast
from pathlib import Path
from typing import Any

import grpc
import pytest

from gateway.cli.output import Exit, exit_of_call
from gateway.client import CallError, NotFoundCallError, errors
from gateway.client.errors import class_of
from gateway.rpc.errors import STATUSES
from gateway.v1 import error_pb2, mission_pb2
from tests.driven_clients import KINDS, do
from tests.scripted_server import Fails, scripted

S = grpc.StatusCode


def failed(kind: str, failure: Fails) -> CallError:
    """Return how a call fails that is not repeated."""
    with scripted({"CancelMission": [[failure]]}) as (address, _), pytest.raises(CallError) as caught:
        do(kind, address, lambda client: client.cancel("m"))
    return caught.value


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("status", "code", "name", "exit_code"),
    [
        (S.INVALID_ARGUMENT, "sanitize.path.traversal", "InvalidCallError", Exit.REFUSED),
        (S.INVALID_ARGUMENT, "request.malformed", "InvalidCallError", Exit.USAGE),
        (S.PERMISSION_DENIED, "policy.denied", "DeniedCallError", Exit.REFUSED),
        (S.UNAUTHENTICATED, "auth.unauthenticated", "UnauthenticatedCallError", Exit.USAGE),
        (S.NOT_FOUND, "mission.not_found", "NotFoundCallError", Exit.USAGE),
        (S.FAILED_PRECONDITION, "mission.ended", "ConflictCallError", Exit.USAGE),
        (S.RESOURCE_EXHAUSTED, "mission.too_many_running", "OverloadedCallError", Exit.UNAVAILABLE),
        (S.DEADLINE_EXCEEDED, "", "LateCallError", Exit.UNAVAILABLE),
        (S.UNAVAILABLE, "audit.unavailable", "UnavailableCallError", Exit.UNAVAILABLE),
        (S.INTERNAL, "internal", "BrokenCallError", Exit.UNAVAILABLE),
        (S.UNIMPLEMENTED, "", "BrokenCallError", Exit.UNAVAILABLE),
    ],
)
def test_a_status_is_a_class_and_an_exit_code(kind: str, status: S, code: str, name: str, exit_code: Exit) -> None:
    """What the caller can do about it is the class; what a program branches on is the code; the exit code stays."""
    error = failed(kind, Fails(status, code, "it is so"))
    assert (type(error).__name__, error.code) == (name, code or f"rpc.{status.name.lower()}")
    assert (error.status, error.message, str(error)) == (status, "it is so", "it is so")
    assert exit_of_call(error) is exit_code


@pytest.mark.parametrize("kind", KINDS)
def test_violations_and_reasons_are_values(kind: str) -> None:
    """With field and line; and what the answer had no room for is counted."""
    violations = [
        error_pb2.Violation(code="a.b", message="is bad", field="steps[0].id", line=7, column=3),
        error_pb2.Violation(code="c.d", message="is worse"),
    ]
    error = failed(kind, Fails(S.INVALID_ARGUMENT, "a.b", "two things", more={"violations": violations, "omitted": 4}))
    assert [(v.code, v.field, v.line, v.column) for v in error.violations] == [
        ("a.b", "steps[0].id", 7, 3), ("c.d", "", None, None)
    ]  # fmt: skip
    assert error.errors == [
        {"code": "a.b", "message": "is bad", "field": "steps[0].id", "line": 7},
        {"code": "c.d", "message": "is worse", "field": "", "line": None},
        {
            "code": "errors.omitted",
            "message": "4 more, which an error status has no room for",
            "field": "",
            "line": None,
        },
    ]
    reasons = [mission_pb2.Reason(code="policy.host", message="is closed", rule="data.x")]
    denied = failed(kind, Fails(S.PERMISSION_DENIED, "policy.denied", "no", more={"reasons": reasons}))
    assert [(r.code, r.rule) for r in denied.reasons] == [("policy.host", "data.x")]
    assert str(denied) == "is closed"


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_there_is_said_with_the_address(kind: str) -> None:
    """Though gRPC's own words are another program's."""
    with scripted({}) as (address, _):
        pass
    with pytest.raises(CallError) as caught:
        do(kind, address, lambda client: client.cancel("m"))
    assert caught.value.code == "rpc.unavailable"
    assert f"no gateway answers at {address}" in str(caught.value)


@pytest.mark.parametrize("raw", [b"\xff\xff", b"", b"\x1a\x03abc"])
def test_details_that_cannot_be_read_are_none(raw: bytes) -> None:
    """The status stands by itself then."""

    class Garbled(Fails):
        def metadata(self) -> tuple[tuple[str, bytes], ...]:
            return (("grpc-status-details-bin", raw),)

    error = failed("blocking", Garbled(S.NOT_FOUND, message="gone"))
    assert isinstance(error, NotFoundCallError)
    assert error.code == "rpc.not_found"


def test_every_status_of_a_gateway_has_a_class() -> None:
    """None that it answers with is taken for no answer, but its bugs."""
    broken = {status for status in STATUSES.values() if class_of(status).__name__ == "BrokenCallError"}
    assert broken == {S.INTERNAL}


def test_the_tree_is_drawn_completely() -> None:
    """Every class stands in the drawing at the top of its module."""
    tree = ast.parse(Path(errors.__file__).read_text())
    classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef) and node.name.endswith("CallError")]
    assert len(classes) == 10
    assert [name for name in classes if name not in (ast.get_docstring(tree) or "")] == []


def test_an_error_can_be_made_without_a_call() -> None:
    """For programs that test what they do with one."""
    error: Any = NotFoundCallError(S.NOT_FOUND, "mission.not_found", "there is nothing by this name")
    assert error.errors == [
        {"code": "mission.not_found", "message": "there is nothing by this name", "field": "", "line": None}
    ]

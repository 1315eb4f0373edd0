"""From the error tree to what a client sees, without a server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.audit.errors import AuditUnavailableError
from engine.errors import EngineError, FaultError, MissionInvalidError, RefusalError, StepError, Violation
from gateway.effects.blocking import DeadlineError
from gateway.errors import NotFoundError, PolicyDeniedError, Reason, SanitizationError, StoreError
from gateway.rpc.details import STATUS_BYTES_MAX, TEXT_BYTES_MAX, reason_of, rich_status
from gateway.rpc.errors import InternalError, shown, status_of
from gateway.v1 import error_pb2

WIRE_BYTES_MAX = 8 * 1024

violations = st.lists(
    st.builds(
        Violation,
        code=st.text(max_size=300),
        message=st.text(max_size=9_000),
        field=st.text(max_size=3_000),
        line=st.none() | st.integers(0, 2**31 - 1),
        column=st.none() | st.integers(0, 2**31 - 1),
    ),
    min_size=1,
    max_size=64,
)
reasons = st.lists(
    st.builds(Reason, st.text(max_size=256), st.text(max_size=8_192), st.text(max_size=256)), max_size=64
)


def wire_bytes(error: EngineError) -> int:
    """Return an upper bound of the trailing metadata: base64 of the details, the percent-encoded message, names."""
    status = rich_status(error)
    return -(-len(status.SerializeToString()) // 3) * 4 + 3 * len(status.message.encode()) + 160


@given(violations.map(SanitizationError) | violations.map(MissionInvalidError) | reasons.map(PolicyDeniedError))
def test_no_error_is_larger_than_metadata_may_be(error: EngineError) -> None:
    """Whatever texts a refusal holds, in any script, surrogates included."""
    assert rich_status(error).ByteSize() <= STATUS_BYTES_MAX
    assert wire_bytes(error) <= WIRE_BYTES_MAX


@given(st.text(max_size=3_000))
def test_a_text_is_cut_between_characters_and_never_otherwise_changed(text: str) -> None:
    """A message is the text itself, or its beginning and an ellipsis."""
    message = rich_status(RefusalError(text)).message
    replaced = text.encode("utf-8", "replace").decode()
    assert len(message.encode()) <= TEXT_BYTES_MAX
    assert message == replaced or (message.endswith("…") and replaced.startswith(message[:-1]))


def test_what_is_left_out_is_counted() -> None:
    """At least one violation is always told, however large all are."""
    many = [Violation(code="c" * 160, message="m" * 9_000, field="f" * 9_000) for _ in range(64)]
    detail = error_pb2.ErrorDetail()
    assert rich_status(SanitizationError(many)).details[-1].Unpack(detail)
    assert len(detail.violations) >= 1
    assert len(detail.violations) + detail.omitted == 64


def test_a_subclass_has_its_parents_status() -> None:
    """A deadline of an effect is a failed effect."""
    assert status_of(DeadlineError("late")) is status_of(StoreError("x"))


@pytest.mark.parametrize("fault", [StoreError, AuditUnavailableError, FaultError])
def test_a_faults_text_stays_in_the_log(fault: type[FaultError], caplog: pytest.LogCaptureFixture) -> None:
    """The client gets its code and a reference; two failures have two references."""
    one, two = (shown(fault("/secret/path", code="store.full"), "Method") for _ in range(2))
    assert one.code == "store.full"
    assert "secret" not in one.message
    assert one.message != two.message
    assert caplog.text.count("/secret/path") >= 2
    assert one.message.rpartition(" ")[2] in caplog.text


@pytest.mark.parametrize("bug", [ValueError("secret"), StepError("secret"), EngineError("secret"), RecursionError()])
def test_anything_else_is_internal(bug: Exception) -> None:
    """Also an error of ours that has no business at the door."""
    told = shown(bug, "Method")
    assert isinstance(told, InternalError)
    assert (told.code, status_of(told).name) == ("internal", "INTERNAL")
    assert "secret" not in told.message


def test_a_refusal_is_told_word_by_word() -> None:
    """Except one: what is not there is not there in one way only."""
    refusal = PolicyDeniedError([Reason("a", "b", "c")])
    assert shown(refusal, "Method") is refusal
    texts = {shown(NotFoundError(text, code="mission.not_found"), "M").message for text in ("m-1 is bob's", "no m-2")}
    assert len(texts) == 1


def test_reasons_are_spelled_as_aip_193_wants() -> None:
    """Upper snake case of the stable code."""
    assert reason_of("sanitize.path.dot-segment") == "SANITIZE_PATH_DOT_SEGMENT"

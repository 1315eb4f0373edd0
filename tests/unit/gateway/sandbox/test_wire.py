import pytest

from engine.constraints import ExecutionConstraints
from gateway.errors import SandboxError
from gateway.sandbox.port import LOG_BYTES_MAX, RunGiven, RunReport
from gateway.sandbox.wire import CODES, decode_answer, decode_run, encode_error, encode_report, encode_run

LIMITS = ExecutionConstraints(wall_ms_max=7, fuel_max=10**9, memory_bytes_max=65_536, output_bytes_max=10)


def test_a_request_comes_back() -> None:
    """Module, document, every constraint and what is given cross unchanged."""
    given = RunGiven(1_769_860_800_000_001, bytes(range(16)))
    assert decode_run(encode_run(1, b"doc", LIMITS, given), ("a", "b")) == ("b", b"doc", LIMITS, given)


def test_a_report_comes_back() -> None:
    """Every field crosses unchanged."""
    report = RunReport(b"out", 5, 65_536, 12, b"log\xff")
    assert decode_answer(encode_report(report), LIMITS) == report


@pytest.mark.parametrize("code", CODES)
def test_an_error_comes_back(code: str) -> None:
    """Code, message and what the guest printed cross unchanged."""
    with pytest.raises(SandboxError, match=r"^why$") as caught:
        decode_answer(encode_error(SandboxError("why", code=code, log=b"printed")), LIMITS)
    assert caught.value.code == code
    assert caught.value.log == b"printed"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0" * 16,
        b"\xff" + b"\0" * 24,
        encode_report(RunReport(b"x" * 11, 1, 1, 1)),
        encode_report(RunReport(b"x" * 11, 1, 1, 1, b"log")),
        encode_report(RunReport(b"", 1, 1, 1, b"x" * (LOG_BYTES_MAX + 1))),
        encode_report(RunReport(b"", 1, 1, 1, b"log"))[:-1],
        encode_error(SandboxError("", code="sandbox.trap", log=b"log"))[:-1],
        encode_report(RunReport(b"", LIMITS.fuel_max + 1, 1, 1)),
        encode_report(RunReport(b"", 1, LIMITS.memory_bytes_max + 1, 1)),
    ],
)
def test_what_a_worker_may_not_say_is_a_crash(answer: bytes) -> None:
    """The worker is not trusted either: short, oversized and unknown answers are typed, and uses beyond the grant."""
    with pytest.raises(SandboxError) as caught:
        decode_answer(answer, LIMITS)
    assert caught.value.code == "sandbox.crashed"


def test_a_message_of_a_worker_is_one_line_of_text() -> None:
    """Control characters and bytes that are no text reach neither logs nor terminals."""
    answer = encode_error(SandboxError("why\n\x1b[31m", code="sandbox.trap")) + b"\xff" + b"x" * 1000
    with pytest.raises(SandboxError) as caught:
        decode_answer(answer, LIMITS)
    assert caught.value.message.startswith("why??[31m\N{REPLACEMENT CHARACTER}xx")
    assert len(caught.value.message) <= 200

"""What the gateway and a sandbox worker say to each other: fixed binary headers, then bytes that neither looks into."""

import struct
from collections.abc import Sequence
from typing import Final

from engine.constraints import ExecutionConstraints
from engine.constraints.limits import MEMORY_BYTES_CEILING, OUTPUT_BYTES_CEILING
from gateway.errors import SandboxError
from gateway.sandbox.port import LOG_BYTES_MAX, NO_GIVEN, SEED_BYTES, RunGiven, RunReport
from gateway.workers.frame import printable

CODES: Final = (
    "constraint.cpu_exceeded",
    "constraint.timeout_exceeded",
    "constraint.memory_exceeded",
    "sandbox.trap",
    "sandbox.output_invalid",
    "sandbox.unavailable",
    "sandbox.host_calls_exceeded",
)
# Module index, fuel, memory bytes, wall ms, output bytes, now µs, seed; the document.
_REQUEST: Final = struct.Struct(f"<HQQIIQ{SEED_BYTES}s")
# 0, or one more than an index of CODES; fuel used, memory bytes, wall µs, bytes of log; the log; output or message.
_ANSWER: Final = struct.Struct("<BQIIH")
_REQUEST_BYTES: Final = _REQUEST.size
_ANSWER_BYTES: Final = _ANSWER.size
REQUEST_BYTES_MAX: Final = _REQUEST_BYTES + MEMORY_BYTES_CEILING  # a larger document fits no module
ANSWER_BYTES_MAX: Final = _ANSWER_BYTES + LOG_BYTES_MAX + OUTPUT_BYTES_CEILING
_MESSAGE_BYTES_MAX: Final = 200
MODULES_MAX: Final = 65_536


def encode_run(index: int, document: bytes, constraints: ExecutionConstraints, given: RunGiven = NO_GIVEN) -> bytes:
    """Return the request to run module number `index`."""
    c = constraints
    limits = (c.fuel_max, c.memory_bytes_max, c.wall_ms_max, c.output_bytes_max)
    return _REQUEST.pack(index, *limits, given.now_us, given.seed) + document


def decode_run(request: bytes, names: Sequence[str]) -> tuple[str, bytes, ExecutionConstraints, RunGiven]:
    """Return module, document, constraints and what is given, of a request."""
    index, fuel, memory, wall, output, now_us, seed = _REQUEST.unpack_from(request)
    constraints = ExecutionConstraints(
        fuel_max=fuel, memory_bytes_max=memory, wall_ms_max=wall, output_bytes_max=output
    )
    return names[index], request[_REQUEST_BYTES:], constraints, RunGiven(now_us, seed)


def encode_report(report: RunReport) -> bytes:
    """Return the answer that a run ended well."""
    head = _ANSWER.pack(0, report.fuel_used, report.memory_bytes, report.wall_us, len(report.log))
    return head + report.log + report.output


def encode_error(error: SandboxError) -> bytes:
    """Return the answer that a run failed."""
    return _ANSWER.pack(CODES.index(error.code) + 1, 0, 0, 0, len(error.log)) + error.log + error.message.encode()


def decode_answer(answer: bytes, constraints: ExecutionConstraints) -> RunReport:
    """Return the report of an answer. The worker is not trusted: it may not say more than `constraints` allowed.

    Raises:
        SandboxError: the run failed, as the worker says; or `sandbox.crashed`, the answer is none.
    """
    if len(answer) >= _ANSWER_BYTES:
        code, fuel_used, memory_bytes, wall_us, log_bytes = _ANSWER.unpack_from(answer)
        start = _ANSWER_BYTES + log_bytes
        log = answer[_ANSWER_BYTES:start]
        whole = log_bytes <= LOG_BYTES_MAX and len(log) == log_bytes
        if whole and 0 < code <= len(CODES):
            message = printable(answer[start:][:_MESSAGE_BYTES_MAX])
            raise SandboxError(message, code=CODES[code - 1], log=log)
        granted = fuel_used <= constraints.fuel_max and memory_bytes <= constraints.memory_bytes_max
        if whole and code == 0 and granted and len(answer) <= start + constraints.output_bytes_max:
            return RunReport(answer[start:], fuel_used, memory_bytes, wall_us, log)
    raise SandboxError("the worker's answer is malformed", code="sandbox.crashed")

"""What the gateway and a sandbox worker say to each other: fixed binary headers, then bytes that neither looks into."""

import struct
from collections.abc import Sequence
from typing import Final

from engine.constraints import ExecutionConstraints
from engine.constraints.limits import MEMORY_BYTES_CEILING, OUTPUT_BYTES_CEILING
from gateway.errors import SandboxError
from gateway.sandbox.port import RunReport
from gateway.workers.frame import printable

CODES: Final = (
    "constraint.cpu_exceeded",
    "constraint.timeout_exceeded",
    "constraint.memory_exceeded",
    "sandbox.trap",
    "sandbox.output_invalid",
    "sandbox.unavailable",
)
_REQUEST: Final = struct.Struct("<HQQII")  # module index, fuel, memory bytes, wall ms, output bytes
_ANSWER: Final = struct.Struct("<BQII")  # 0, or one more than an index of CODES; fuel used, memory bytes, wall µs
_REQUEST_BYTES: Final = _REQUEST.size
_ANSWER_BYTES: Final = _ANSWER.size
REQUEST_BYTES_MAX: Final = _REQUEST_BYTES + MEMORY_BYTES_CEILING  # a larger document fits no module
ANSWER_BYTES_MAX: Final = _ANSWER_BYTES + OUTPUT_BYTES_CEILING
_MESSAGE_BYTES_MAX: Final = 200
MODULES_MAX: Final = 65_536


def encode_run(index: int, document: bytes, constraints: ExecutionConstraints) -> bytes:
    """Return the request to run module number `index`."""
    c = constraints
    return _REQUEST.pack(index, c.fuel_max, c.memory_bytes_max, c.wall_ms_max, c.output_bytes_max) + document


def decode_run(request: bytes, names: Sequence[str]) -> tuple[str, bytes, ExecutionConstraints]:
    """Return module, document and constraints of a request."""
    index, fuel, memory, wall, output = _REQUEST.unpack_from(request)
    constraints = ExecutionConstraints(
        fuel_max=fuel, memory_bytes_max=memory, wall_ms_max=wall, output_bytes_max=output
    )
    return names[index], request[_REQUEST_BYTES:], constraints


def encode_report(report: RunReport) -> bytes:
    """Return the answer that a run ended well."""
    return _ANSWER.pack(0, report.fuel_used, report.memory_bytes, report.wall_us) + report.output


def encode_error(error: SandboxError) -> bytes:
    """Return the answer that a run failed."""
    return _ANSWER.pack(CODES.index(error.code) + 1, 0, 0, 0) + error.message.encode()


def decode_answer(answer: bytes, constraints: ExecutionConstraints) -> RunReport:
    """Return the report of an answer. The worker is not trusted: it may not say more than `constraints` allowed.

    Raises:
        SandboxError: the run failed, as the worker says; or `sandbox.crashed`, the answer is none.
    """
    if len(answer) >= _ANSWER_BYTES:
        code, fuel_used, memory_bytes, wall_us = _ANSWER.unpack_from(answer)
        if 0 < code <= len(CODES):
            message = printable(answer[_ANSWER_BYTES:][:_MESSAGE_BYTES_MAX])
            raise SandboxError(message, code=CODES[code - 1])
        granted = fuel_used <= constraints.fuel_max and memory_bytes <= constraints.memory_bytes_max
        if code == 0 and granted and len(answer) <= _ANSWER_BYTES + constraints.output_bytes_max:
            return RunReport(answer[_ANSWER_BYTES:], fuel_used, memory_bytes, wall_us)
    raise SandboxError("the worker's answer is malformed", code="sandbox.crashed")

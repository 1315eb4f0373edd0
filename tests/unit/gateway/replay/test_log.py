"""The log as a replay reads it."""

import asyncio
from pathlib import Path

from engine.audit.verify import verify_log
from gateway.replay.log import read_trace
from tests.audit_logs import VKEY, open_log


def written(folder: Path) -> Path:
    """Write a log with a verdict of one mission, and one of another."""

    async def main() -> None:
        log = open_log(folder / "audit")
        log.append("gateway.started", actor="g", target="g", details={"engine": {"wasmtime": "1", "abi": 1}})
        log.append("mission.admitted", actor="a", target="m-1", details={"mission": "d"})
        log.append("step.allowed", actor="a", target="m-1/s", details={"n": 1})
        log.append("step.allowed", actor="a", target="m-2/s", details={"of": "m-1"})
        await log.close()

    asyncio.run(main())
    return folder / "audit"


def test_a_trace_has_what_the_key_has_signed_of_one_mission(tmp_path: Path) -> None:
    """Events of others are passed over, also where they name it."""
    report, trace = read_trace(written(tmp_path), VKEY, "m-1")
    assert (report.ok, trace.events, trace.mission_digest) == (True, 2, "d")
    [attempt] = trace.attempts["s"].values()
    assert attempt.engine is not None
    assert (attempt.verdict.details["n"], attempt.engine.wasmtime) == (1, "1")


def test_a_witness_sees_the_covered_lines_in_order_and_no_others(tmp_path: Path) -> None:
    """What is behind the checkpoint is not signed, and not shown."""
    directory = written(tmp_path)
    [segment] = (directory / "segments").iterdir()
    lines = segment.read_bytes().splitlines()
    with segment.open("ab") as file:
        file.write(lines[-1] + b"\n")
    seen: list[bytes] = []
    assert verify_log(directory, VKEY, on_lines=seen.extend).ok
    assert seen == lines


def test_a_changed_line_makes_the_report_bad(tmp_path: Path) -> None:
    """So that the trace is worth nothing."""
    directory = written(tmp_path)
    [segment] = (directory / "segments").iterdir()
    segment.write_bytes(segment.read_bytes().replace(b'"n":1', b'"n":2'))
    report, _ = read_trace(directory, VKEY, "m-1")
    assert (report.ok, report.code) == (False, "event.bad")

"""The log as a replay reads it: verified from its first line to its checkpoint before anything of it is believed."""

from collections.abc import Sequence
from pathlib import Path

from engine.audit.verify import VerificationReport, verify_log
from gateway.replay.trace import LogEvent, MissionTrace

_STARTED = b'"event_type":"gateway.started"'


def read_trace(directory: Path, verifier_key: str, mission_id: str) -> tuple[VerificationReport, MissionTrace]:
    """Return the verification of a log, and what it says of a mission; the trace counts only where the report is ok.

    Blocks while it reads the whole log, some 250,000 events a second.

    Raises:
        VerifierKeyError: the key is none.
    """
    trace = MissionTrace(mission_id)
    name = mission_id.encode("utf-8", "surrogateescape")

    def on_lines(lines: Sequence[bytes]) -> None:
        for line in lines:
            if name in line or _STARTED in line:
                trace.take(LogEvent.of_line(line))

    return verify_log(directory, verifier_key, on_lines=on_lines), trace

"""The write path of the log under a kernel that fails, kills, and has no more room: the calls themselves.

strace fails the n-th call of a kind, or kills the process there; a tmpfs is really full; a file has a largest size. A
child process writes; what it said was acknowledged has to be in the log, which opens again and verifies.
"""

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from engine.audit.verify import verify_log
from tests.audit_logs import VKEY, append, lines, open_log

ROOT = Path(__file__).resolve().parents[2]

CHILD = """
import asyncio, os, sys
from pathlib import Path
from engine.audit.errors import AuditUnavailableError
from engine.audit.log import AuditLog
from engine.audit.writer import AuditLimits
from engine.clock import SystemClock
from tests.audit_logs import SIGNER

async def main(directory, events, size, segment_bytes_max):
    limits = AuditLimits(segment_bytes_max=segment_bytes_max)
    try:
        log = AuditLog.open(directory, signer=SIGNER, clock=SystemClock(), limits=limits)
        for number in range(events):
            details = {"n": number, "x": "y" * size}
            await log.durable(log.append("step.completed", actor="child", target="t", details=details))
            os.write(1, b"%d\\n" % number)
        await log.close()
    except AuditUnavailableError:
        sys.exit(3)

asyncio.run(main(Path(sys.argv[1]), *map(int, sys.argv[2:])))
"""
STOPPED = 3
KILLED = -9


def command(directory: Path, events: int = 6, size: int = 1, segment_bytes_max: int = 900) -> list[str]:
    """Return how the child is run."""
    return [sys.executable, "-c", CHILD, str(directory), str(events), str(size), str(segment_bytes_max)]


def run(arguments: list[str], limit: Callable[[], None] | None = None) -> tuple[int, list[int], str]:
    """Run something that ends in a child; return its code, the numbers that it acknowledged, and its complaints."""
    done = subprocess.run(
        arguments,
        capture_output=True,
        check=False,
        cwd=ROOT,
        preexec_fn=limit,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return done.returncode, [int(number) for number in done.stdout.split()], done.stderr.decode()


def numbers(directory: Path) -> list[int]:
    """Return what the log has."""
    events = [orjson.loads(line) for line in lines(directory)]
    return [event["details"]["n"] for event in events if event["event_type"] == "step.completed"]


async def assert_nothing_is_lost(directory: Path, acknowledged: list[int]) -> None:
    """All that was acknowledged is there, in order; the log opens again, goes on, and verifies."""
    assert acknowledged == list(range(len(acknowledged)))
    log = open_log(directory)
    await log.durable(append(log, 1_000))
    await log.close()
    found = numbers(directory)
    assert found[: len(acknowledged)] == acknowledged
    assert found == [*range(len(found) - 1), 1_000]
    report = verify_log(directory, VKEY)
    assert report.ok, report


def strace() -> str:
    """Return the path of strace."""
    path = shutil.which("strace")
    if path is None and not os.environ.get("CI"):
        pytest.skip("needs strace (tools/install_debian.sh installs it)")
    assert path is not None, "CI installs strace by tools/install_debian.sh"
    return path


# Each call of the write path, at its first occurrences and at some that fall into the closing of a segment.
FAULTS = [
    *[("fdatasync", "error=EIO", when) for when in (1, 3, 9, 12)],
    *[("fdatasync", "signal=KILL", when) for when in (1, 3, 8, 10)],
    *[("fsync", "error=EIO", when) for when in (1, 3, 6, 12)],
    *[("fsync", "signal=KILL", when) for when in (2, 6)],
    *[("rename", "error=ENOSPC", when) for when in (1, 3, 6)],
    *[("rename", "signal=KILL", when) for when in (2, 5)],
    ("fallocate", "error=ENOSPC", 1),
    ("statfs", "error=EIO", 2),
    ("mkdir", "error=ENOSPC", 2),
]


@pytest.mark.parametrize(("call", "fault", "when"), FAULTS, ids=[f"{c}-{f}-{w}" for c, f, w in FAULTS])
async def test_a_call_that_fails_or_is_the_last_loses_nothing(tmp_path: Path, call: str, fault: str, when: int) -> None:
    """EIO, ENOSPC or death at the n-th call: what was acknowledged before is there, and the log is sound."""
    directory, trace = tmp_path / "log", tmp_path / "trace"
    inject = ["-e", f"trace={call}", "-e", f"inject={call}:{fault}:when={when}"]
    fast = [] if "KILL" in fault else ["--seccomp-bpf"]  # with it, strace 6.1 does not send signals
    tracer = [strace(), "-f", *fast, "-o", str(trace), *inject]
    code, acknowledged, complaint = run([*tracer, *command(directory)])
    assert ("killed by SIGKILL" if "KILL" in fault else "INJECTED") in trace.read_text(), complaint
    assert code == (KILLED if "KILL" in fault else STOPPED), complaint
    await assert_nothing_is_lost(directory, acknowledged)


@pytest.mark.parametrize("size", [30_000, 61_111])
async def test_a_segment_that_cannot_grow_stops_the_log(tmp_path: Path, size: int) -> None:
    """The kernel takes a part of a write and refuses the rest (EFBIG): the torn line is set aside."""
    directory = tmp_path / "log"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_200_000, 1_200_000))  # over the reserve

    code, acknowledged, complaint = run(command(directory, 100, size, 100_000_000), limit)
    assert code == STOPPED, complaint
    assert len(acknowledged) == 1_200_000 // (size + 400)
    await assert_nothing_is_lost(directory, acknowledged)
    assert len(list((directory / "quarantine").iterdir())) == 1


FILL = """
set -e
mount -t tmpfs -o size=4m none "$1"
code=0
{ "$2" -c "$3" "$1/log" 400 50000 1000000 || code=$?; }
cp -r "$1/log" "$4"
exit $code
"""


async def test_a_full_disk_is_told_of_in_the_log(tmp_path: Path) -> None:
    """A tmpfs of 4 MiB fills: the last event says why the log ends, and no acknowledged one is missing."""
    place, copy = tmp_path / "disk", tmp_path / "copy"
    place.mkdir()
    code, acknowledged, complaint = run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", FILL, "sh", str(place), sys.executable, CHILD, str(copy)]
    )
    if "unshare" in complaint and not os.environ.get("CI"):
        pytest.skip(f"needs a user namespace in which to mount a tmpfs: {complaint.strip()}")
    assert code == STOPPED, complaint
    last = orjson.loads(lines(copy)[-1])
    assert (last["event_type"], last["details"]) == ("audit.stopped", {"reason": "disk_full", "dropped": 0})
    assert numbers(copy)[: len(acknowledged)] == acknowledged
    assert len(acknowledged) > 20
    assert verify_log(copy, VKEY).ok
    await assert_nothing_is_lost(copy, acknowledged)


async def test_a_disk_without_room_has_no_log(tmp_path: Path) -> None:
    """A log that could not keep the space for its last event does not begin: nothing is acknowledged."""
    directory = tmp_path / "log"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, 4_096))

    code, acknowledged, _ = run(command(directory), limit)
    assert (code, acknowledged) == (STOPPED, [])
    await assert_nothing_is_lost(directory, [])

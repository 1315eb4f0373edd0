"""A log that is silent, and one whose disk is full."""

import asyncio
import threading
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from engine.audit.errors import AuditUnavailableError
from engine.audit.files import SystemFiles
from engine.audit.log import AuditLog
from engine.audit.reserve import RESERVE, RESERVE_BYTES
from engine.audit.verify import verify_log
from engine.audit.writer import AuditLimits
from engine.clock import SystemClock
from tests.audit_logs import SIGNER, VKEY, TickingClock, append, lines, open_log


class FillingDisk(SystemFiles):
    """A disk that says how much is left of it, as the test wants it."""

    def __init__(self) -> None:
        self.left = 1 << 40

    def free_bytes(self, path: Path) -> int:
        del path
        return self.left


def types(directory: Path) -> list[str]:
    """Return the event types of a log."""
    return [orjson.loads(line)["event_type"] for line in lines(directory)]


async def test_silence_is_told_by_heartbeats(tmp_path: Path) -> None:
    """A log to which nothing is appended goes on, and its checkpoint with it."""
    limits = AuditLimits(heartbeat_seconds=0.01)
    log = AuditLog.open(tmp_path, signer=SIGNER, clock=SystemClock(), limits=limits)
    first = await log.covered(1)
    second = await log.covered(first.size)
    await log.close()
    assert second.size > first.size > 1
    assert set(types(tmp_path)[1:]) == {"audit.heartbeat"}
    assert verify_log(tmp_path, VKEY).ok


async def test_a_log_with_events_has_no_heartbeat(tmp_path: Path) -> None:
    """Events are sign enough of life."""
    log = open_log(tmp_path)
    for number in range(50):
        await log.durable(append(log, number))
    await log.close()
    assert "audit.heartbeat" not in types(tmp_path)


async def test_a_full_disk_is_the_last_thing_that_the_log_tells(tmp_path: Path) -> None:
    """What was queued is written into the space that was kept, then `audit.stopped`; nothing is taken after it."""
    disk = FillingDisk()
    log = open_log(tmp_path, files=disk)
    await log.durable(append(log, 1))
    assert (tmp_path / RESERVE).stat().st_size == RESERVE_BYTES
    disk.left = 1_000
    seq = append(log, 2)
    await log.durable(seq)
    with pytest.raises(AuditUnavailableError, match="disk of the audit log is full"):
        append(log, 3)
    with pytest.raises(AuditUnavailableError, match="full"):
        await log.durable(log.size)
    with pytest.raises(AuditUnavailableError, match="full"):
        await log.close()
    assert (tmp_path / RESERVE).stat().st_size == 0
    last = orjson.loads(lines(tmp_path)[-1])
    assert (last["event_type"], last["seq"], last["details"]) == (
        "audit.stopped",
        seq + 1,
        {"reason": "disk_full", "dropped": 0},
    )
    assert verify_log(tmp_path, VKEY).checkpoint_size == seq + 2


async def test_what_does_not_fit_is_counted_and_was_never_acknowledged(tmp_path: Path) -> None:
    """More than the reserve holds is dropped, who waits for it is told, and the last event follows what is there."""
    disk = FillingDisk()
    log = open_log(tmp_path, files=disk)
    await log.durable(append(log, 1))
    disk.left = 1_000
    waiting = [log.append("test.large", actor="a", target="t", details={"x": "y" * 60_000}) for _ in range(20)]
    with pytest.raises(AuditUnavailableError, match="full"):
        await log.durable(waiting[-1])
    with pytest.raises(AuditUnavailableError):
        await log.close()
    last = orjson.loads(lines(tmp_path)[-1])
    assert (last["seq"], last["details"]["reason"]) == (2, "disk_full")
    assert last["details"]["dropped"] == 20
    assert verify_log(tmp_path, VKEY).ok


async def test_the_event_that_tells_of_what_is_dropped_serves_nobody_who_waits_for_that(tmp_path: Path) -> None:
    """`audit.stopped` gets the seq of the first dropped line; whoever was given that seq hears no, then and later."""
    disk = FillingDisk()
    log = open_log(tmp_path, files=disk)
    await log.durable(append(log, 1))
    follower = asyncio.ensure_future(log.covered(2))
    disk.left = 1_000
    lost = [log.append("test.large", actor="a", target="t", details={"x": "y" * 60_000}) for _ in range(20)]
    told = await asyncio.gather(*map(log.durable, lost), return_exceptions=True)
    assert [type(each) for each in told] == [AuditUnavailableError] * 20
    with pytest.raises(AuditUnavailableError):
        await log.durable(lost[0])
    with pytest.raises(AuditUnavailableError):
        await log.close()
    assert (await follower).size == lost[0] + 1


async def test_a_log_that_ended_so_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """Opening takes the space of the reserve anew; the chain goes on after the last event."""
    disk = FillingDisk()
    log = open_log(tmp_path, files=disk)
    disk.left = 1_000
    await log.durable(append(log, 1))
    with pytest.raises(AuditUnavailableError):
        await log.close()
    clock = TickingClock()
    clock.moment += timedelta(days=1)
    log = open_log(tmp_path, clock=clock)
    await log.durable(append(log, 2))
    await log.close()
    assert types(tmp_path) == ["audit.opened", "step.completed", "audit.stopped", "step.completed"]
    assert (tmp_path / RESERVE).stat().st_size == RESERVE_BYTES
    assert verify_log(tmp_path, VKEY).ok


async def test_a_close_that_was_cancelled_is_waited_for_by_the_next(tmp_path: Path) -> None:
    """When it returns, the log has been let go, and whoever opens it finds all of it."""
    gate = threading.Event()

    class Slow(SystemFiles):
        def fdatasync(self, fd: int) -> None:
            if gate_is_used:
                gate.wait(5)
            super().fdatasync(fd)

    gate_is_used = False
    log = open_log(tmp_path, files=Slow())
    append(log, 1)
    gate_is_used = True
    first = asyncio.ensure_future(log.close())
    await asyncio.sleep(0)
    first.cancel()
    second = asyncio.ensure_future(log.close())
    await asyncio.sleep(0.05)
    assert not second.done()
    gate.set()
    await second
    log = open_log(tmp_path)
    assert log.size == 2
    await log.close()


class NoRoom(SystemFiles):
    """A disk that gives nothing any more."""

    def allocate(self, fd: int, size: int) -> None:
        raise OSError(28, f"No space left on device for {size} bytes of {fd}")


async def test_without_room_for_the_last_event_a_log_does_not_open(tmp_path: Path) -> None:
    """A log that could not say why it stops does not begin."""
    with pytest.raises(AuditUnavailableError, match="No space left"):
        open_log(tmp_path, files=NoRoom())

import asyncio
import threading
from pathlib import Path

import orjson
import pytest

from engine.audit.checkpoint import open_checkpoint
from engine.audit.errors import (
    AuditEventRefusedError,
    AuditLockedError,
    AuditOverloadedError,
    AuditUnavailableError,
)
from engine.audit.files import SystemFiles
from engine.audit.keys import Ed25519Signer, VerifierKey
from engine.audit.log import AuditLog
from engine.audit.verify import verify_log
from engine.audit.writer import AuditLimits
from engine.clock import SystemClock
from tests.audit_logs import (
    NAME,
    SIGNER,
    VKEY,
    TickingClock,
    append,
    lines,
    open_log,
    segment,
    write_log,
)

KEY = VerifierKey.parse(VKEY)


class CountingFiles(SystemFiles):
    """Counts checkpoints, and can hold the disk back."""

    def __init__(self) -> None:
        self.checkpoints = 0
        self.sizes: list[int] = []  # bytes of each append
        self.gate = threading.Event()
        self.gate.set()

    def fdatasync(self, fd: int) -> None:
        self.gate.wait(10)
        super().fdatasync(fd)

    def write(self, fd: int, data: bytes) -> None:
        if data.startswith(b'{"seq"'):
            self.sizes.append(data.count(b"\n"))
        super().write(fd, data)

    def replace(self, source: Path, target: Path) -> None:
        self.checkpoints += target.name == "checkpoint"
        super().replace(source, target)


async def test_a_new_log_begins_with_its_opening(tmp_path: Path) -> None:
    """Event 0 says which log this is and under which key; it is signed before anyone else can append."""
    log = open_log(tmp_path / "new" / "audit")
    assert log.size == 1
    event = orjson.loads(next(log.read(0, 1)))
    assert event["event_type"] == "audit.opened"
    assert event["details"] == {"format": 2, "origin": NAME, "key_id": VKEY.split("+")[1]}
    assert open_checkpoint(log.checkpoint(), KEY).size == 1
    await log.close()
    assert (tmp_path / "new" / "audit").stat().st_mode & 0o777 == 0o700
    assert segment(tmp_path / "new" / "audit").stat().st_mode & 0o777 == 0o600


async def test_an_acknowledged_event_is_under_a_signed_checkpoint_on_the_disk(tmp_path: Path) -> None:
    """When durable() returns, the checkpoint file itself covers the event."""
    log = open_log(tmp_path)
    for number in range(1, 20):
        seq = append(log, number)
        assert seq == number
        await log.durable(seq)
        on_disk = open_checkpoint((tmp_path / "checkpoint").read_bytes(), KEY)
        assert on_disk.size > seq
        assert log.checkpoint() == (tmp_path / "checkpoint").read_bytes()
    await log.close()


async def test_a_log_goes_on_after_a_restart(tmp_path: Path) -> None:
    """Numbers, chain and tree run on, no second opening is recorded, and the whole verifies."""
    await write_log(tmp_path, 10)
    log = open_log(tmp_path)
    assert log.size == 10
    seq = append(log, 10)
    await log.durable(seq)
    await log.close()
    assert seq == 10
    report = verify_log(tmp_path, VKEY)
    assert (report.ok, report.events) == (True, 11)
    assert sum(b"audit.opened" in line for line in lines(tmp_path)) == 1


async def test_close_makes_everything_durable(tmp_path: Path) -> None:
    """What was appended and not waited for is signed when close() returns; a second close does nothing."""
    log = open_log(tmp_path)
    for number in range(3_000):
        append(log, number)
    await log.close()
    await log.close()
    assert verify_log(tmp_path, VKEY).checkpoint_size == 3_001
    with pytest.raises(AuditUnavailableError):
        append(log, 1)
    await log.durable(3_000)


async def test_waiting_for_an_event_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    """A seq of the future would wait for ever."""
    log = open_log(tmp_path)
    with pytest.raises(ValueError, match="no event 1"):
        await log.durable(1)
    await log.close()


async def test_events_of_one_moment_share_a_checkpoint(tmp_path: Path) -> None:
    """Group commit: a hundred waiters need a few checkpoints, not a hundred."""
    files = CountingFiles()
    log = open_log(tmp_path, files=files)
    before = files.checkpoints

    async def one(number: int) -> None:
        await log.durable(append(log, number))

    await asyncio.gather(*(one(number) for number in range(100)))
    assert files.checkpoints - before <= 5
    await log.close()


async def test_nobody_waiting_means_one_checkpoint_after_the_linger(tmp_path: Path) -> None:
    """Events that nobody waits for gather for up to 80 ms, and are then signed all the same."""
    files = CountingFiles()
    log = AuditLog.open(tmp_path, signer=SIGNER, clock=SystemClock(), files=files)
    before = files.checkpoints
    for number in range(10):
        append(log, number)
    assert log.size == 1
    async with asyncio.timeout(5):
        while log.size < 11:  # noqa: ASYNC110 - durable() would not wait for the linger, which is the claim
            await asyncio.sleep(0.005)
    assert files.checkpoints == before + 1
    await log.close()


async def test_a_checkpoint_covers_at_most_1024_more(tmp_path: Path) -> None:
    """However much is queued, a batch is bounded: so is what a crash can leave unsigned."""
    files = CountingFiles()
    log = open_log(tmp_path, files=files)
    files.gate.clear()
    for number in range(5_000):
        append(log, number)
    files.gate.set()
    await log.close()
    assert max(files.sizes) == 1_024
    assert sum(files.sizes) == 5_001


@pytest.mark.parametrize("limits", [AuditLimits(queue_events_max=100), AuditLimits(queue_bytes_max=40_000)])
async def test_a_full_queue_refuses(tmp_path: Path, limits: AuditLimits) -> None:
    """When the disk does not keep up, append is a typed fault, nothing is half recorded, and it recovers."""
    files = CountingFiles()
    log = open_log(tmp_path, files=files, limits=limits)
    files.gate.clear()
    accepted = 0
    full: AuditOverloadedError | None = None
    while full is None:
        try:
            accepted = append(log, accepted)
        except AuditOverloadedError as error:
            full = error
    assert full.code == "audit.overloaded"
    assert accepted >= 100
    files.gate.set()
    await log.durable(accepted)
    assert append(log, 0) == accepted + 1
    await log.close()
    assert verify_log(tmp_path, VKEY).events == accepted + 2


async def test_a_cancelled_waiter_does_not_lose_its_record(tmp_path: Path) -> None:
    """Cancelling the wait cancels the wait: the event is durable, and others who wait are served."""
    files = CountingFiles()
    log = open_log(tmp_path, files=files)
    files.gate.clear()
    seq = append(log, 1)
    waiters = [asyncio.create_task(log.durable(seq)) for _ in range(3)]
    await asyncio.sleep(0.02)
    waiters[1].cancel()
    files.gate.set()
    done = await asyncio.gather(*waiters, return_exceptions=True)
    assert [type(outcome) for outcome in done] == [type(None), asyncio.CancelledError, type(None)]
    await log.close()
    assert b"worker-1" in lines(tmp_path)[seq]


def test_a_waiter_whose_loop_is_gone_harms_nobody(tmp_path: Path) -> None:
    """An event loop that closed while it waited does not stop the writer: its event and all later ones are recorded."""
    files = CountingFiles()
    log = open_log(tmp_path, files=files)
    files.gate.clear()
    waiting = []

    async def leave() -> None:
        waiting.append(asyncio.create_task(log.durable(append(log, 1))))
        await asyncio.sleep(0.02)

    async def stay() -> None:
        await log.durable(append(log, 2))
        await log.close()

    asyncio.run(leave())
    files.gate.set()
    asyncio.run(stay())
    assert waiting[0].cancelled()
    assert verify_log(tmp_path, VKEY).events == 3


async def test_a_refused_event_leaves_no_gap(tmp_path: Path) -> None:
    """An event that the format cannot hold is refused; the next one gets the number."""
    log = open_log(tmp_path)
    for details in ({"n": float("nan")}, {"s": "x" * 70_000}, {"clock_raw": 1}):
        with pytest.raises(AuditEventRefusedError):
            log.append("a.b", actor="", target="", details=details)
    assert append(log, 1) == 1
    await log.close()
    assert verify_log(tmp_path, VKEY).events == 2


async def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    """While one writer has the log no other gets it, in this process or another; afterwards it may."""
    log = open_log(tmp_path)
    with pytest.raises(AuditLockedError) as locked:
        open_log(tmp_path)
    assert locked.value.code == "audit.locked"
    append(log, 1)
    await log.close()
    await open_log(tmp_path).close()
    assert verify_log(tmp_path, VKEY).events == 2


async def test_the_lock_is_held_until_the_last_write(tmp_path: Path) -> None:
    """A close() that is cancelled while the disk is slow does not let a second writer in."""
    files = CountingFiles()
    log = open_log(tmp_path, files=files)
    files.gate.clear()
    append(log, 1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await log.close()
    with pytest.raises(AuditLockedError):
        open_log(tmp_path)
    files.gate.set()
    async with asyncio.timeout(5):
        while True:
            try:
                again = open_log(tmp_path)
                break
            except AuditLockedError:
                await asyncio.sleep(0.01)
    assert again.size == 2
    await again.close()


async def test_reading_gives_covered_lines_only(tmp_path: Path) -> None:
    """read() yields exact lines in order from any start, and none that is not yet signed."""
    files = CountingFiles()
    log = open_log(tmp_path, files=files)
    for number in range(1, 2_000):
        seq = append(log, number)
        if number % 100 == 0:
            await log.durable(seq)
    await log.durable(seq)
    files.gate.clear()
    append(log, 2_000)
    found = list(log.read(0, 10_000))
    assert found == lines(tmp_path)[:2_000]
    for start, count in ((0, 1), (255, 3), (256, 1), (1_000, 500), (1_999, 5), (2_000, 5), (5_000, 5), (7, 0)):
        assert list(log.read(start, count)) == found[start : start + count]
    files.gate.set()
    await log.close()


async def test_any_thread_may_append(tmp_path: Path) -> None:
    """Appends of many threads make one chain without gaps."""
    log = open_log(tmp_path)
    seqs: list[int] = []

    def work() -> None:
        seqs.extend(append(log, number) for number in range(200))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    await log.close()
    assert sorted(seqs) == list(range(1, 801))
    assert verify_log(tmp_path, VKEY).events == 801


async def test_the_origin_is_the_name_of_the_key(tmp_path: Path) -> None:
    """An expected origin that is not the signer's name is refused before anything is written."""
    with pytest.raises(ValueError, match="origin"):
        AuditLog.open(tmp_path / "log", signer=SIGNER, clock=TickingClock(), origin="another")
    assert not (tmp_path / "log").exists()
    await AuditLog.open(tmp_path / "log", signer=SIGNER, clock=TickingClock(), origin=NAME).close()


class BrokenSigner:
    """Signs the first notes and then fails, or signs with a key that is not its public half."""

    name = NAME

    def __init__(self, good: int, key: Ed25519Signer = SIGNER) -> None:
        self._left = good
        self._key = key

    def verifier_key(self) -> str:
        return VKEY

    def sign(self, note_text: bytes) -> bytes:
        if self._left == 0:
            raise RuntimeError("the token is gone")
        self._left -= 1
        return self._key.sign(note_text)


async def test_a_failing_signer_stops_the_log(tmp_path: Path) -> None:
    """Without a signature nothing is acknowledged, and the log refuses from then on."""
    log = AuditLog.open(tmp_path, signer=BrokenSigner(2), clock=TickingClock())
    with pytest.raises(AuditUnavailableError) as failed:
        await log.durable(append(log, 1))
    assert failed.value.code == "audit.unavailable"
    with pytest.raises(AuditUnavailableError):
        append(log, 2)
    with pytest.raises(AuditUnavailableError):
        await log.close()
    again = open_log(tmp_path)
    assert again.size == 2
    assert orjson.loads(next(again.read(1, 1)))["event_type"] == "audit.recovered"
    await again.close()


@pytest.mark.parametrize("signer", [BrokenSigner(0), BrokenSigner(9, Ed25519Signer(NAME, bytes(32)))])
def test_a_signer_that_does_not_sign_for_its_key_is_found_out_at_once(tmp_path: Path, signer: BrokenSigner) -> None:
    """A log never opens under a signer whose signatures its own verifier key refuses."""
    with pytest.raises(AuditUnavailableError):
        AuditLog.open(tmp_path, signer=signer, clock=TickingClock())

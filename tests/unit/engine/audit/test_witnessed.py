import asyncio
import threading
from pathlib import Path

import pytest

from engine.audit.errors import AuditTamperedError, AuditUnavailableError, AuditUnwitnessedError
from engine.audit.files import SystemFiles
from engine.audit.log import AuditLog
from engine.audit.writer import AuditLimits
from tests.audit_logs import SIGNER, TickingClock, append, counting_entropy, lines, signed
from tests.cosigning import Cosigner

ONE = Cosigner()


def open_witnessed(directory: Path, *, seconds: float = 60.0, files: SystemFiles | None = None) -> AuditLog:
    return AuditLog.open(
        directory,
        signer=SIGNER,
        clock=TickingClock(),
        level="witnessed",
        limits=AuditLimits(witness_seconds_max=seconds),
        files=files or SystemFiles(),
        entropy=counting_entropy(),
    )


def cosign(log: AuditLog, seconds: int = 1) -> None:
    """Have the newest checkpoint cosigned, as a witness client does."""
    note = log.checkpoint()
    log.accept_witnessed(log.size, note + ONE.line(note, seconds).encode())


async def acknowledged(log: AuditLog, seq: int) -> "asyncio.Task[None]":
    """Wait for an event in a task, and return that once the event is signed."""
    task = asyncio.create_task(log.durable(seq))
    await log.covered(seq)
    return task


async def test_an_event_is_acknowledged_when_it_is_cosigned(tmp_path: Path) -> None:
    """Signed is not enough; the file has the cosigned note, and the acknowledgement comes behind it."""
    log = open_witnessed(tmp_path)
    waits = await acknowledged(log, append(log, 1))
    assert not waits.done()
    cosign(log)
    await waits
    held = (tmp_path / "witnessed").read_bytes()
    assert held == log.witnessed()
    assert held == log.checkpoint() + ONE.line(log.checkpoint(), 1).encode()
    await log.durable(1)  # at once: it is covered
    await log.close()


async def test_an_event_that_nobody_cosigns_is_refused(tmp_path: Path) -> None:
    """In time, with a code of its own; the event stays in the log, and may be acknowledged later."""
    log = open_witnessed(tmp_path, seconds=0.01)
    seq = append(log, 1)
    with pytest.raises(AuditUnwitnessedError) as refused:
        await log.durable(seq)
    assert refused.value.code == "audit.unwitnessed"
    assert len(lines(tmp_path)) == 2
    cosign(log)
    await log.durable(seq)
    await log.close()


async def test_who_has_given_up_is_forgotten(tmp_path: Path) -> None:
    """A witness that is dead for days costs no memory: neither late nor cancelled waiters are kept."""
    log = open_witnessed(tmp_path, seconds=0.01)
    seq = append(log, 1)
    for _ in range(3):
        with pytest.raises(AuditUnwitnessedError):
            await log.durable(seq)
    task = await acknowledged(log, append(log, 2))
    task.cancel()
    await asyncio.wait([task])
    assert log._witnessed._waiters._waiting == []
    await log.close()


async def test_a_refused_history_refuses_everybody(tmp_path: Path) -> None:
    """Whoever waits, and whoever comes later, at once; nothing is accepted any more; the log itself goes on."""
    log = open_witnessed(tmp_path)
    waits = await acknowledged(log, append(log, 1))
    log.refuse_witnessed("w1: it knows another history")
    log.refuse_witnessed("w2: so do I")
    for waiting in (waits, log.durable(0)):
        with pytest.raises(AuditUnwitnessedError, match="w1: it knows another history") as refused:
            await waiting
        assert refused.value.code == "audit.history_refused"
    with pytest.raises(AuditUnwitnessedError):
        cosign(log)
    assert log.witnessed() is None
    with pytest.raises(AuditUnwitnessedError):
        await log.durable(append(log, 2))
    assert log.size == 3
    await log.close()


async def test_at_level_signed_no_witness_is_waited_for(tmp_path: Path) -> None:
    """Cosigned checkpoints are kept all the same, and a refused history stops nothing."""
    log = AuditLog.open(tmp_path, signer=SIGNER, clock=TickingClock())
    await log.durable(append(log, 1))
    cosign(log)
    assert log.witnessed() is not None
    log.refuse_witnessed("w1: it knows another history")
    await log.durable(append(log, 2))
    await log.close()


async def test_more_signatures_take_the_place_of_fewer(tmp_path: Path) -> None:
    """Of one size the later note counts, which has more; a smaller one never comes back."""
    log = open_witnessed(tmp_path)
    cosign(log)
    one, first = log.size, log.witnessed()
    both = (first or b"") + Cosigner("witness.example/w2").line(log.checkpoint()).encode()
    log.accept_witnessed(one, both)
    assert log.witnessed() == both
    waits = await acknowledged(log, append(log, 1))
    cosign(log)
    await waits
    newest = log.witnessed()
    log.accept_witnessed(one, both)
    assert log.witnessed() == newest
    assert (tmp_path / "witnessed").read_bytes() == newest
    await log.close()


async def test_a_closed_log_sends_everybody_away(tmp_path: Path) -> None:
    """Nobody is left waiting for witnesses who will not be asked again."""
    log = open_witnessed(tmp_path)
    waits = await acknowledged(log, append(log, 1))
    await log.close()
    with pytest.raises(AuditUnavailableError, match="closed"):
        await waits


async def test_a_slow_disk_holds_up_no_event_loop(tmp_path: Path) -> None:
    """While a cosigned checkpoint is being written, others can begin and cease to wait."""
    begun, go_on = threading.Event(), threading.Event()

    class SlowFiles(SystemFiles):
        def replace(self, source: Path, target: Path) -> None:
            if target.name == "witnessed":
                begun.set()
                go_on.wait(60)
            super().replace(source, target)

    log = open_witnessed(tmp_path, files=SlowFiles())
    waits = await acknowledged(log, append(log, 1))
    writing = asyncio.create_task(asyncio.to_thread(cosign, log))
    await asyncio.to_thread(begun.wait, 60)
    also = await acknowledged(log, append(log, 2))  # takes the lock, while the file is open
    go_on.set()
    await asyncio.gather(writing, waits)
    assert not also.done()
    cosign(log)
    await also
    await log.close()


async def test_a_log_shorter_than_what_was_cosigned_is_not_opened(tmp_path: Path) -> None:
    """The file `witnessed` is a checkpoint of ours: with more events than the log has, or another root, it is a no."""
    log = open_witnessed(tmp_path)
    cosign(log)
    await log.close()
    for content in ([b"a"] * 9, [b"a"]):
        (tmp_path / "witnessed").write_bytes(signed(content))
        with pytest.raises(AuditTamperedError, match="no continuation"):
            open_witnessed(tmp_path)

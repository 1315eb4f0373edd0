"""Retention of whole segments, and the checkpoint of witnesses."""

import asyncio
import hashlib
from pathlib import Path

import orjson
import pytest

from engine.audit.errors import (
    AuditEventRefusedError,
    AuditPrunedError,
    AuditTamperedError,
    AuditUnavailableError,
)
from engine.audit.log import AuditLog
from engine.audit.pruning import prunable
from engine.audit.stored import StoredLog
from engine.audit.writer import AuditLimits
from engine.clock import SystemClock
from tests.audit_logs import NAME, SIGNER, append, lines, open_log, segment, tree_root, write_log

LIMITS = AuditLimits(segment_bytes_max=3_000)


async def rotated(directory: Path) -> AuditLog:
    """Return an open log of several segments."""
    log = open_log(directory, limits=LIMITS)
    for number in range(1, 40):
        await log.durable(append(log, number))
    return log


async def test_the_oldest_segment_goes_and_its_events_stay_provable(tmp_path: Path) -> None:
    """The event that tells of it has the digests of segment and leaves; reading says where the log begins."""
    log = await rotated(tmp_path)
    whole = lines(tmp_path)
    oldest = prunable(tmp_path)[0]
    content = oldest.path.read_bytes()
    proof = log.prove_inclusion(2)
    await log.prune(0, archived=True, reason="retention")
    assert not oldest.path.exists()
    event = orjson.loads(lines(tmp_path)[-1])
    leaves = (tmp_path / "tree" / f"{0:020d}.leaves").read_bytes()
    assert (event["event_type"], event["target"], event["actor"]) == (
        "audit.pruned",
        f"segments/{oldest.path.name}",
        "audit",
    )
    assert event["details"] == {
        "first": 0,
        "size": oldest.seal.size,
        "sha256": hashlib.sha256(content).hexdigest(),
        "leaves_sha256": hashlib.sha256(leaves).hexdigest(),
        "archived": True,
        "reason": "retention",
    }
    assert log.first == oldest.seal.size
    assert log.prove_inclusion(2, 40) == proof
    with pytest.raises(AuditPrunedError, match=f"the first that is here is {log.first}"):
        log.read(0, 1)
    assert next(log.read(log.first, 1)) == whole[log.first]
    await log.close()
    log = open_log(tmp_path, limits=LIMITS)  # and a start finds all of that again
    assert log.first == StoredLog.open(tmp_path).first == oldest.seal.size
    await log.close()


async def test_only_the_oldest_goes_and_never_the_newest_sealed_one(tmp_path: Path) -> None:
    """What is asked for has to be what may go; nothing is recorded otherwise."""
    log = await rotated(tmp_path)
    candidates = prunable(tmp_path)
    assert len(candidates) >= 2
    size = log.size
    for wrong in (candidates[1].seal.first, 1, 10_000):
        with pytest.raises(AuditEventRefusedError) as caught:
            await log.prune(wrong, archived=False, reason="retention")
        assert caught.value.code == "audit.not_prunable"
    assert log.size == size
    for candidate in candidates:
        await log.prune(candidate.seal.first, archived=False, reason="retention")
    left = sorted(path.name for path in (tmp_path / "segments").iterdir())
    assert left[0] == f"{candidates[-1].seal.size:020d}.jsonl"
    with pytest.raises(AuditEventRefusedError):
        await log.prune(candidates[-1].seal.size, archived=False, reason="retention")
    await log.close()


async def test_of_two_who_prune_the_same_segment_one_is_told_that_it_is_gone(tmp_path: Path) -> None:
    """There is one event of it, and no bare error of the file system."""
    log = await rotated(tmp_path)
    both = (log.prune(0, archived=True, reason="retention") for _ in range(2))
    done = await asyncio.gather(*both, return_exceptions=True)
    assert [type(each) for each in done] == [type(None), AuditEventRefusedError]
    assert [orjson.loads(line)["event_type"] for line in lines(tmp_path)].count("audit.pruned") == 1
    await log.close()


async def test_a_segment_whose_end_was_changed_is_not_pruned(tmp_path: Path) -> None:
    """Retention does not take away what somebody should look at."""
    log = await rotated(tmp_path)
    path = prunable(tmp_path)[0].path
    path.write_bytes(path.read_bytes()[:-9] + b"x" * 8 + b"\n")
    with pytest.raises(AuditTamperedError, match="the last line"):
        await log.prune(0, archived=True, reason="retention")
    assert path.exists()
    await log.close()


async def test_a_log_closed_before_it_prunes_keeps_the_segment(tmp_path: Path) -> None:
    """No event, no removal."""
    log = await rotated(tmp_path)
    await log.close()
    with pytest.raises(AuditUnavailableError):
        await log.prune(0, archived=False, reason="retention")
    assert segment(tmp_path).exists()


def open_witnessed(directory: Path) -> AuditLog:
    """Open a log whose acknowledgements wait for witnesses."""
    return AuditLog.open(directory, signer=SIGNER, clock=SystemClock(), level="witnessed")


async def test_the_level_witnessed_waits_for_the_cosigned_checkpoint(tmp_path: Path) -> None:
    """Durable and signed is not enough; a checkpoint that covers less does not serve."""
    log = open_witnessed(tmp_path)
    seq = append(log, 1)
    waiting = asyncio.ensure_future(log.durable(seq))
    covered = await log.covered(seq)
    await asyncio.sleep(0.01)
    assert not waiting.done()
    assert log.witnessed() is None
    log.accept_witnessed(1, b"smaller")
    await asyncio.sleep(0.01)
    assert not waiting.done()
    log.accept_witnessed(covered.size, covered.note)
    await waiting
    log.accept_witnessed(1, b"older")
    assert log.witnessed() == covered.note == (tmp_path / "witnessed").read_bytes()
    await log.close()


async def test_who_waits_for_witnesses_is_told_when_the_log_closes(tmp_path: Path) -> None:
    """Nobody hangs."""
    log = open_witnessed(tmp_path)
    waiting = asyncio.ensure_future(log.durable(append(log, 1)))
    await log.covered(1)
    await log.close()
    with pytest.raises(AuditUnavailableError):
        await waiting


async def test_a_log_that_witnesses_have_seen_longer_does_not_open(tmp_path: Path) -> None:
    """Rolled back below, or forked from, what was cosigned: the file beside the log convicts it."""
    await write_log(tmp_path / "long", 9)
    await write_log(tmp_path / "short", 5)
    (tmp_path / "short" / "witnessed").write_bytes((tmp_path / "long" / "checkpoint").read_bytes())
    with pytest.raises(AuditTamperedError, match="no continuation"):
        open_log(tmp_path / "short")
    (tmp_path / "long" / "witnessed").write_bytes(b"nothing of the kind")
    with pytest.raises(AuditTamperedError):
        open_log(tmp_path / "long")


async def test_a_cosigned_checkpoint_of_an_earlier_size_is_taken_up(tmp_path: Path) -> None:
    """Its root is that of the tree at its size."""
    await write_log(tmp_path, 5)
    note = (tmp_path / "checkpoint").read_bytes()
    (tmp_path / "witnessed").write_bytes(note)
    log = open_log(tmp_path)
    await log.durable(append(log, 5))
    assert log.witnessed() == note
    assert tree_root(lines(tmp_path)[:5]).hex() == log._tree.root(5).hex()
    assert note.startswith(NAME.encode())
    await log.close()


async def test_a_reader_from_under_whom_a_segment_is_pruned_is_told(tmp_path: Path) -> None:
    """It does not get the lines before the segment and then an end, as if there were no more."""
    log = await rotated(tmp_path)
    begun, waiting = log.read(0, log.size), log.read(0, log.size)
    next(begun)
    await log.prune(0, archived=True, reason="retention")
    await log.prune(log.first, archived=True, reason="retention")
    with pytest.raises(AuditPrunedError):
        list(begun)
    with pytest.raises(AuditPrunedError):
        list(waiting)
    await log.close()


async def test_a_file_that_has_lost_lines_ends_a_read(tmp_path: Path) -> None:
    """It neither goes on for ever nor passes for the whole."""
    await write_log(tmp_path, 10)
    path = segment(tmp_path)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:7]))
    with pytest.raises(AuditTamperedError, match="event 7 is not there"):
        StoredLog.open(tmp_path)

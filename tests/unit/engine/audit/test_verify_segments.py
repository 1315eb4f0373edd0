"""The verifier on logs of many segments: seals, pruning, archives, key rotations, and what the writer really makes."""

import asyncio
import itertools
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine.audit.keys import Ed25519Signer
from engine.audit.verify import QuorumError, VerifierKeyError, verify_log
from engine.audit.verify.segments import SegmentFile, find_segments
from engine.audit.writer import AuditLimits
from tests.adversarial.audit_attacks import NOW, WITNESSES, cosigned, log
from tests.audit_logs import NAME, VKEY, append, open_log
from tests.audit_segments import NEW, OLD, World, root_of, segment, statement

KEY = NEW.verifier_key()
SMALL = AuditLimits(segment_bytes_max=1_000)


async def write_and_prune(directory: Path, archive: Path) -> None:
    """Have our writer make a log of many segments and prune the two oldest, which go to the archive."""
    audit = open_log(directory, limits=SMALL)
    for number in range(12):
        for step in range(30):
            seq = append(audit, number * 30 + step)
        await audit.durable(seq)
    for _ in range(2):
        oldest = directory / segment(audit.first)
        shutil.copy(oldest, archive)
        await audit.prune(audit.first, archived=True, reason="age")
    await audit.close()


def test_what_our_writer_makes_verifies(tmp_path: Path) -> None:
    """Rotated, sealed and pruned by the writer; with the archive every line is read, without it the hashes are."""
    directory, archive = tmp_path / "log", tmp_path / "archive"
    archive.mkdir()
    asyncio.run(write_and_prune(directory, archive))
    report = verify_log(directory, VKEY)
    assert report.ok, report
    assert (report.events, report.archived_events) == (report.checkpoint_size, 0)
    assert report.pruned_events > 30
    whole = verify_log(directory, VKEY, archive=archive)
    assert (whole.ok, whole.pruned_events, whole.archived_events) == (True, 0, report.pruned_events)
    assert whole.root_hash == report.root_hash


async def test_a_log_that_rotates_may_be_verified_while_it_is_written(tmp_path: Path) -> None:
    """Segments that are closed, sealed and begun meanwhile make no false conviction."""
    audit = open_log(tmp_path, limits=SMALL)
    stop = asyncio.Event()

    async def write() -> None:
        while not stop.is_set():
            for number in range(5):
                seq = append(audit, number)
            await audit.durable(seq)

    writing = asyncio.create_task(write())
    reports = []
    while audit.size < 300:
        reports.append(await asyncio.to_thread(verify_log, tmp_path, VKEY))
    stop.set()
    await writing
    await audit.close()
    assert [report for report in reports if not report.ok] == []
    assert len({report.events for report in reports}) > 5


@pytest.mark.parametrize("listed", [1, 2, 3])
@pytest.mark.parametrize("bytes_then", [0, 500, 10**9])
def test_segments_that_come_between_two_looks_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: int, bytes_then: int
) -> None:
    """Whatever a live writer closes, seals and begins after the first look: the log of the checkpoint is read."""
    directory = log(30).write(tmp_path / "log")
    looks = itertools.count()

    def find(folder: Path, *, archived: bool = False) -> list[SegmentFile]:
        found = find_segments(folder, archived=archived)
        if next(looks):
            return found
        last = found[listed - 1]
        return [*found[: listed - 1], replace(last, size_bytes=min(last.size_bytes, bytes_then))]

    monkeypatch.setattr("engine.audit.verify.judge.find_segments", find)
    report = verify_log(directory, KEY)
    assert (report.code, report.events, report.uncovered_bytes) == ("ok", 30, 0)
    # And where the checkpoint that is read is of before the last two segments.
    looks = itertools.count()
    (directory / "checkpoint").write_bytes(log(30).checkpoint(20))
    for name in ("witnessed", f"seals/{20:020d}.seal"):
        (directory / name).unlink(missing_ok=True)
    report = verify_log(directory, KEY)
    assert (report.code, report.events) == ("ok", 20)


def test_the_roots_of_tiles_are_held_against_the_leaves(tmp_path: Path) -> None:
    """A log of more than 256 events has roots of tiles; each bit of them counts, in pruned segments as in others."""
    world = World()
    world.events(700)
    details = world.pruned_details(0, 300)
    world.event("audit.pruned", details, target=segment(0))
    world.cut(0, 300, 600)
    del world.files[segment(0)]
    world.files["checkpoint"] = world.checkpoint()
    directory = world.write(tmp_path / "log")
    assert verify_log(directory, KEY).ok
    for first, count in ((0, 1), (300, 1)):
        roots = directory / "tree" / f"{first:020d}.roots"
        good = roots.read_bytes()
        assert len(good) == 32 * count
        for content in (bytes([good[0] ^ 1]) + good[1:], b"", good + bytes(32)):
            roots.write_bytes(content)
            assert verify_log(directory, KEY).code == "tree.mismatch"
        roots.write_bytes(good)


def pruned_twice() -> World:
    """A log whose event of the first pruning is in a segment that is pruned as well."""
    world = World()
    world.events(12)
    world.event("audit.pruned", world.pruned_details(0, 10), target=segment(0))
    world.events(20)
    world.event("audit.pruned", world.pruned_details(10, 20), target=segment(10))
    world.events(40)
    world.cut(0, 10, 20, 30)
    for first in (0, 10):
        del world.files[segment(first)]
    world.files["checkpoint"] = world.checkpoint()
    return world


def test_an_event_of_pruning_may_be_pruned_in_its_turn(tmp_path: Path) -> None:
    """The newest gone segment needs its event, and that one allows for all before it."""
    report = verify_log(pruned_twice().write(tmp_path), KEY)
    assert (report.code, report.pruned_events) == ("ok", 20)


def test_an_archive_may_have_some_of_what_is_gone(tmp_path: Path) -> None:
    """What it has is read, as a log's folder or as plain files, whatever else lies there."""
    world = pruned_twice()
    content = b"".join(line + b"\n" for line in world.lines[:10])
    directory = world.write(tmp_path / "log")
    for name in ("a", "b/segments"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / Path(segment(0)).name).write_bytes(content)
    (tmp_path / "a" / "README").touch()
    for name in ("a", "b"):
        report = verify_log(directory, KEY, archive=tmp_path / name)
        assert (report.code, report.pruned_events, report.archived_events) == ("ok", 10, 10)


def test_a_rotation_without_its_note_is_seen_in_the_events(tmp_path: Path) -> None:
    """Where no seal of the old key's time gives it away, the event does."""
    world = World()
    world.events(5)
    world.event("audit.key_rotated", {"statement": statement(5, OLD, NEW).decode()})
    world.events(20)
    world.cut(0)
    world.files["checkpoint"] = world.checkpoint()
    assert verify_log(world.write(tmp_path / "log"), KEY).code == "rotation.missing"


def test_a_rotation_that_a_crash_broke_off_is_no_tampering(tmp_path: Path) -> None:
    """The event is the last, its note is not there yet or the checkpoint is still the old key's alone."""
    world = World()
    world.events(5)
    note = statement(5, OLD, NEW)
    world.event("audit.key_rotated", {"statement": note.decode()})
    world.cut(0)
    world.files["checkpoint"] = world.checkpoint(None, OLD)
    assert verify_log(world.write(tmp_path / "event"), OLD.verifier_key()).ok
    world.files[f"rotations/{5:020d}.note"] = note
    report = verify_log(world.write(tmp_path / "note"), KEY)
    assert (report.code, len(report.rotations)) == ("ok", 1)
    world.files["checkpoint"] = world.checkpoint(None, OLD, NEW)
    report = verify_log(world.write(tmp_path / "both"), OLD.verifier_key())
    assert (report.code, len(report.signed_by)) == ("ok", 2)


@pytest.mark.parametrize("statement_of", ["another event", "no event", "another note"])
def test_a_note_is_the_event_of_its_seq(tmp_path: Path, statement_of: str) -> None:
    """A note that both keys signed, and of which the log has never told, is not followed."""
    world = World()
    world.events(5)
    told = {"another event": statement(6, OLD, NEW), "another note": statement(5, OLD, NEW) + b"x"}.get(statement_of)
    if told is not None:
        world.event("audit.key_rotated", {"statement": told.decode()})
    world.events(20)
    world.cut(0)
    world.files |= {f"rotations/{5:020d}.note": statement(5, OLD, NEW), "checkpoint": world.checkpoint()}
    assert verify_log(world.write(tmp_path / "log"), KEY).code == "rotation.event"


def test_several_rotations_are_followed_both_ways(tmp_path: Path) -> None:
    """From the first key, the last, or one between."""
    keys = [Ed25519Signer(NAME, bytes([number] * 32)) for number in range(1, 5)]
    world = World()
    for old, new in itertools.pairwise(keys):
        world.events(len(world.lines) + 3)
        seq = len(world.lines)
        note = statement(seq, old, new)
        world.event("audit.key_rotated", {"statement": note.decode()})
        world.files[f"rotations/{seq:020d}.note"] = note
    world.events(20)
    world.cut(0)
    world.files["checkpoint"] = world.checkpoint(None, keys[-1])
    directory = world.write(tmp_path / "log")
    for key in keys:
        report = verify_log(directory, key.verifier_key(), checkpoint=[world.checkpoint(5, keys[1])])
        assert (report.code, report.outside_size) == ("ok", 5)
        assert [rotation.seq for rotation in report.rotations] == [3, 7, 11]
    middle = directory / f"rotations/{7:020d}.note"
    middle.unlink()
    assert verify_log(directory, keys[0].verifier_key()).code == "rotation.broken"


def test_witnesses_are_counted_once_each(tmp_path: Path) -> None:
    """As many different ones as are required; a cosignature that comes twice, or of a stranger, adds nothing."""
    world = log(witnessed=None)
    vkeys = [witness.vkey for witness in WITNESSES]
    one = cosigned(world, 39, 38, by=(WITNESSES[0], WITNESSES[0]))
    world.files["witnessed"] = one
    directory = world.write(tmp_path / "log")
    assert verify_log(directory, KEY, witnesses=vkeys, witnesses_required=1).witnessed_size == 39
    assert verify_log(directory, KEY, witnesses=vkeys, witnesses_required=2).code == "witness.missing"
    assert verify_log(directory, KEY, witnesses=vkeys).code == "witness.missing"
    outside = cosigned(world, 30, 29)
    report = verify_log(directory, KEY, witnesses=vkeys, checkpoint=outside)
    assert (report.witnessed_size, len(report.witnesses), report.outside_size) == (30, 3, 30)


def test_the_time_of_a_quorum_is_when_it_was_complete(tmp_path: Path) -> None:
    """One quick witness of two that are required does not make the word of both fresh."""
    world = log(witnessed=None)
    world.files["witnessed"] = WITNESSES[1].cosign(cosigned(world, 39, 39, by=WITNESSES[:1]), 1_000_000_000)
    directory = world.write(tmp_path / "log")
    vkeys = [witness.vkey for witness in WITNESSES[:2]]
    fresh = {"fresh_within": timedelta(minutes=5), "now": NOW}
    report = verify_log(directory, KEY, witnesses=vkeys)
    assert report.witnessed_at == "2001-09-09T01:46:40.000000Z"
    assert verify_log(directory, KEY, witnesses=vkeys, **fresh).code == "witness.stale"  # type: ignore[arg-type]
    assert verify_log(directory, KEY, witnesses=vkeys, witnesses_required=1, **fresh).ok  # type: ignore[arg-type]


def test_what_cannot_be_asked_is_an_error_of_the_caller(tmp_path: Path) -> None:
    """Quorums that cannot be, keys of another kind, an age without a time."""
    vkey = WITNESSES[0].vkey
    for vkeys, required in (([vkey], 2), ([vkey], 0), ([vkey, vkey], None), ([], 1)):
        with pytest.raises(QuorumError):
            verify_log(tmp_path, KEY, witnesses=vkeys, witnesses_required=required)
    with pytest.raises(VerifierKeyError):
        verify_log(tmp_path, KEY, witnesses=[KEY])
    with pytest.raises(VerifierKeyError):
        verify_log(tmp_path, vkey)
    with pytest.raises(ValueError, match="at a given time"):
        verify_log(tmp_path, KEY, fresh_within=timedelta(seconds=1))


def test_an_empty_log_is_not_fresh(tmp_path: Path) -> None:
    """Its checkpoint is good, and it has no event that could be new."""
    world = World(files={"checkpoint": World().checkpoint()})
    directory = world.write(tmp_path / "log")
    assert verify_log(directory, KEY).ok
    now = datetime(2026, 2, 1, tzinfo=UTC)
    assert verify_log(directory, KEY, fresh_within=timedelta(days=1), now=now).code == "log.stale"
    assert root_of([]) == bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")


@pytest.mark.parametrize("name", ["seals/x.seal", "seals/1.seal", "rotations/notes", f"segments/{5:020d}.jsonl.tmp"])
def test_a_stray_file_is_seen(tmp_path: Path, name: str) -> None:
    """In folders whose files are read, nothing else may be; files on their way may, but not among segments."""
    world = log()
    world.files[name] = b""
    assert verify_log(world.write(tmp_path / "log"), KEY).code == "log.malformed"
    world = log()
    world.files |= {"seals/1.seal.tmp": b"", "rotations/1.tmp": b"", "tree/anything": b""}
    assert verify_log(world.write(tmp_path / "other"), KEY).ok

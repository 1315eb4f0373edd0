from pathlib import Path

import orjson
import pytest

from engine.audit.errors import AuditTamperedError, AuditUnavailableError
from engine.audit.keyfile import KeyFile, save_key
from engine.audit.keys import Ed25519Signer
from engine.audit.verify import verify_log
from tests.audit_logs import (
    NAME,
    SIGNER,
    VKEY,
    append,
    lines,
    make_log,
    open_log,
    put_lines,
    rechain,
    rehash,
    segment,
    signed,
    split_segments,
)

EVENTS = 12


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return make_log(tmp_path / "log", EVENTS)


def add_tail(directory: Path, tail: bytes) -> None:
    with segment(directory).open("ab") as file:
        file.write(tail)


TAILS = {
    "torn": b'{"seq":12,"event_id":"',
    "nul hole": b"\0" * 5_000,
    "whole lines": b"".join(b'{"n":%d}\n' % n for n in range(1_024)),
    "a lone LF": b"\n",
    "a line without LF": b"x" * 70_000,
    "binary": bytes(range(256)),
}


@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS)
async def test_what_a_crash_left_is_set_aside_and_told(tmp_path: Path, tail: bytes) -> None:
    """Bytes after the checkpoint are kept in quarantine, cut from the segment, and recorded with size and digest."""
    directory = tmp_path / "log"
    log = open_log(directory)
    await log.durable(append(log, 1))
    await log.close()
    add_tail(directory, tail)
    log = open_log(directory)
    event = orjson.loads(next(log.read(2, 1)))
    await log.close()
    assert event["event_type"] == "audit.recovered"
    assert event["details"]["checkpoint_size"] == 2
    (dropped,) = event["details"]["dropped"]
    assert (directory / dropped["file"]).read_bytes() == tail
    assert dropped["bytes"] == len(tail)
    report = verify_log(directory, VKEY)
    assert (report.ok, report.events, report.uncovered_bytes) == (True, 3, 0)


async def test_a_recovery_is_told_once(tmp_path: Path) -> None:
    """Opening again after a recovery records nothing more."""
    directory = tmp_path / "log"
    await open_log(directory).close()
    add_tail(directory, b"torn")
    await open_log(directory).close()
    await open_log(directory).close()
    assert [orjson.loads(line)["event_type"] for line in lines(directory)] == ["audit.opened", "audit.recovered"]


async def test_a_crash_during_the_recovery_loses_no_tail(tmp_path: Path) -> None:
    """A tail that was set aside, but not yet told of, is told of by the next opening, with what came after it."""
    directory = tmp_path / "log"
    await open_log(directory).close()
    quarantine = directory / "quarantine"
    quarantine.mkdir()
    (quarantine / f"{1:020d}-{'0' * 64}.tail").write_bytes(b"first crash")
    add_tail(directory, b"second crash")
    log = open_log(directory)
    event = orjson.loads(next(log.read(1, 1)))
    await log.close()
    assert sorted(item["bytes"] for item in event["details"]["dropped"]) == [11, 12]


async def test_a_crash_while_the_log_was_made_leaves_a_new_log(tmp_path: Path) -> None:
    """The empty tree is signed before the first segment exists: at each step in between, opening begins anew."""
    for step in range(4):
        directory = tmp_path / str(step)
        directory.mkdir()
        (directory / "lock").touch()
        if step >= 1:
            (directory / "checkpoint").write_bytes(signed([]))
        if step >= 2:
            segment(directory).parent.mkdir()
            segment(directory).touch()
        if step >= 3:
            segment(directory).write_bytes(b'{"seq":0,"event_id":"ab')
        log = open_log(directory)
        types = [orjson.loads(line)["event_type"] for line in log.read(0, 10)]
        await log.close()
        assert types == ["audit.opened"] + ["audit.recovered"] * (step == 3)
        assert verify_log(directory, VKEY).ok


def test_events_without_a_checkpoint_are_refused(directory: Path) -> None:
    """Whoever deletes the checkpoint does not get a fresh log in place of the old one."""
    (directory / "checkpoint").unlink()
    with pytest.raises(AuditTamperedError):
        open_log(directory)


def test_a_quarantine_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    """Nor does one who deletes the segments too and forgets the quarantine."""
    (tmp_path / "quarantine").mkdir()
    (tmp_path / "quarantine" / f"{0:020d}-{'0' * 64}.tail").touch()
    with pytest.raises(AuditTamperedError):
        open_log(tmp_path)


def rewritten(content: list[bytes]) -> list[bytes]:
    return rechain([*content[:3], rehash(content[3], actor="mallory"), *content[4:]])


CHANGES = {
    "one event less": lambda content: content[:-1],
    "none left": lambda _: [],
    "an event edited": lambda content: [*content[:3], content[3].replace(b"worker", b"wOrker"), *content[4:]],
    "an event edited and hashed": lambda content: [*content[:3], rehash(content[3], actor="m"), *content[4:]],
    "the whole chain made anew": rewritten,
    "an event deleted": lambda content: content[:3] + content[4:],
    "two events swapped": lambda content: [*content[:3], content[4], content[3], *content[5:]],
    "an event twice": lambda content: [*content[:3], content[3], *content[3:]],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_log_that_contradicts_its_checkpoint_is_not_opened(directory: Path, change: object) -> None:
    """Any change to what was signed makes the opening refuse; it repairs nothing and writes nothing."""
    put_lines(directory, change(lines(directory)))  # type: ignore[operator]
    before = segment(directory).read_bytes()
    with pytest.raises(AuditTamperedError) as tampered:
        open_log(directory)
    assert tampered.value.code == "audit.tampered"
    assert segment(directory).read_bytes() == before
    assert not (directory / "quarantine").exists()


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"garbage",
        signed([], Ed25519Signer(NAME, bytes(32))),
        signed([], Ed25519Signer("another.example", bytes(range(32)))),
        b"x" * 100_000,
    ],
)
def test_a_checkpoint_of_another_key_is_refused(directory: Path, note: bytes) -> None:
    """A checkpoint that this log's key did not sign is tampering, or the wrong key file: neither goes on silently."""
    (directory / "checkpoint").write_bytes(note)
    with pytest.raises(AuditTamperedError):
        open_log(directory)


def test_an_old_checkpoint_is_not_a_crash(tmp_path: Path) -> None:
    """A checkpoint put back by more than one batch is seen: recovery will not throw away what it no longer covers."""
    directory = make_log(tmp_path / "log", 1_100)
    (directory / "checkpoint").write_bytes(signed(lines(directory)[:50]))
    before = segment(directory).read_bytes()
    with pytest.raises(AuditTamperedError, match="old one"):
        open_log(directory)
    assert segment(directory).read_bytes() == before


@pytest.mark.parametrize("wrong", ["gap", "swapped", "stray"])
def test_segments_have_to_follow_each_other(directory: Path, wrong: str) -> None:
    """A missing, renamed or foreign segment is tampering."""
    split_segments(directory, 4, 8)
    if wrong == "gap":
        segment(directory, 4).unlink()
    elif wrong == "swapped":
        segment(directory, 4).rename(directory / "x")
        segment(directory, 8).rename(segment(directory, 4))
        (directory / "x").rename(segment(directory, 8))
    else:
        (directory / "segments" / "notes.txt").touch()
    with pytest.raises(AuditTamperedError):
        open_log(directory)


def test_a_disk_that_cannot_be_used_is_a_fault(tmp_path: Path) -> None:
    """A file where the folder should be is a typed fault, not an OSError."""
    (tmp_path / "log").write_text("a file")
    with pytest.raises(AuditUnavailableError):
        open_log(tmp_path / "log")


async def test_the_signer_of_a_log_may_be_loaded_from_its_file(tmp_path: Path) -> None:
    """A log written under a key opens under the same key read from its file."""
    save_key(tmp_path / "key", SIGNER)
    first = open_log(tmp_path / "log")
    await first.close()
    again = open_log(tmp_path / "log", signer=KeyFile.read(tmp_path / "key").signer())
    await again.close()
    assert again.size >= first.size > 0

"""Closing and sealing segments, starting from the last seal, and what a start refuses of them."""

import itertools
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from engine.audit.errors import AuditTamperedError
from engine.audit.seal import Seal, list_seals, read_seal
from engine.audit.segment import list_segments
from engine.audit.verify import verify_log
from engine.audit.writer import AuditLimits
from tests.audit_logs import VKEY, TickingClock, append, lines, open_log, segment

LIMITS = AuditLimits(segment_bytes_max=4_000)  # some ten events


async def rotated(directory: Path, events: int = 60) -> Path:
    """Write a log of several segments, one commit to every third event."""
    log = open_log(directory, limits=LIMITS)
    for number in range(1, events):
        append(log, number)
        if number % 3 == 0:
            await log.durable(number)
    await log.close()
    return directory


def firsts(directory: Path) -> list[int]:
    """Return where the segments begin."""
    return [each.first_seq for each in list_segments(directory / "segments")]


def seal_path(directory: Path, first: int) -> Path:
    """Return the path of a seal."""
    return directory / "seals" / f"{first:020d}.seal"


async def test_segments_end_by_size_and_the_log_goes_on(tmp_path: Path) -> None:
    """Names follow each other, all but the last are sealed, and the whole verifies."""
    await rotated(tmp_path)
    begins = firsts(tmp_path)
    assert len(begins) > 3
    assert list_seals(tmp_path) == begins[:-1]
    for first, following in itertools.pairwise(begins):
        seal = read_seal(tmp_path, first)
        assert (seal.first, seal.size) == (first, following)
        assert seal.size_bytes == segment(tmp_path, first).stat().st_size >= LIMITS.segment_bytes_max
        assert Seal.parse(seal.text()) == seal
    report = verify_log(tmp_path, VKEY)
    assert (report.ok, report.events) == (True, 60)


async def test_segments_end_by_age(tmp_path: Path) -> None:
    """A segment whose first event is old enough is closed after the next batch."""
    clock = TickingClock()
    log = open_log(tmp_path, clock=clock)
    await log.durable(append(log, 1))
    await log.close()  # a writer looks at the clock a moment after it has acknowledged
    clock.moment += timedelta(hours=1)
    log = open_log(tmp_path, clock=clock, limits=AuditLimits(segment_seconds_max=3_600))
    await log.durable(append(log, 2))
    await log.durable(append(log, 3))
    await log.close()
    assert firsts(tmp_path) == [0, 3]
    assert verify_log(tmp_path, VKEY).ok


async def test_a_start_goes_on_from_the_last_seal_and_reads_no_older_line(tmp_path: Path) -> None:
    """Lines before the last seal may be anything to a start; they are the verifier's to judge."""
    await rotated(tmp_path)
    first = segment(tmp_path, 0)
    first.write_bytes(b"x" * first.stat().st_size)
    log = open_log(tmp_path, limits=LIMITS)
    await log.durable(append(log, 60))
    await log.close()
    assert len(b"".join(segment(tmp_path, each).read_bytes() for each in firsts(tmp_path)[1:]).split(b"\n")) > 40
    report = verify_log(tmp_path, VKEY)
    assert (report.ok, report.code) == (False, "event.bad")


async def test_reading_crosses_segments(tmp_path: Path) -> None:
    """A log of several segments is read as one, from any place, also after a start."""
    await rotated(tmp_path)
    whole = lines(tmp_path)
    log = open_log(tmp_path, limits=LIMITS)
    for start in (0, 1, 5, 11, 30, 59):
        assert list(log.read(start, 40)) == whole[start : start + 40]
    await log.durable(append(log, 60))
    assert next(log.read(60, 1)) == lines(tmp_path)[60]
    await log.close()


def cut(path: Path) -> None:
    """Take the last byte of a file."""
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    """Change the byte in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def last_seal(directory: Path) -> Path:
    """Return the path of the newest seal."""
    return seal_path(directory, list_seals(directory)[-1])


REFUSED: dict[str, Callable[[Path], object]] = {
    "the last seal is cut": lambda d: cut(last_seal(d)),
    "the last seal is changed": lambda d: flip(last_seal(d)),
    "the last seal is missing": lambda d: last_seal(d).unlink(),
    "the last seal is an older one": lambda d: shutil.copy(seal_path(d, 0), last_seal(d)),
    "the sealed segment is cut": lambda d: cut(segment(d, list_seals(d)[-1])),
    "the sealed segment is missing": lambda d: segment(d, list_seals(d)[-1]).unlink(),
    "one in the middle is missing": lambda d: segment(d, list_seals(d)[1]).unlink(),
    "the leaves are missing": lambda d: (d / "tree" / f"{0:020d}.leaves").unlink(),
    "something else is with the seals": lambda d: (d / "seals" / "notes.txt").write_text("x"),
    "the open segment is missing": lambda d: segment(d, firsts(d)[-1]).unlink(),
    "the open segment has another name": lambda d: segment(d, firsts(d)[-1]).rename(segment(d, 99)),
}


@pytest.mark.parametrize("attack", REFUSED.values(), ids=REFUSED)
async def test_a_start_refuses_what_does_not_belong_together(tmp_path: Path, attack: Callable[[Path], object]) -> None:
    """None of these is the work of a crash, so a person has to look."""
    await rotated(tmp_path)
    attack(tmp_path)
    with pytest.raises(AuditTamperedError):
        open_log(tmp_path, limits=LIMITS)


async def test_the_last_line_of_a_sealed_segment_is_tied_to_the_signed_root(tmp_path: Path) -> None:
    """A last line that is canonical, hashed and chained, but not the signed one, is seen at the start."""
    await rotated(tmp_path)
    path = segment(tmp_path, list_seals(tmp_path)[-1])
    content = path.read_bytes()
    *before, last, _ = content.split(b"\n")
    forged = last.replace(b'"actor":"worker-', b'"actor":"forger-')
    path.write_bytes(b"\n".join([*before, forged, b""]))
    with pytest.raises(AuditTamperedError, match="last line"):
        open_log(tmp_path, limits=LIMITS)


def test_a_seal_has_one_spelling() -> None:
    """Numbers, base64 and order are fixed; an empty segment has no seal."""
    seal = Seal(first=0, size=2, size_bytes=9, sha256="0" * 64, frontier=(bytes(32),), path=(bytes(32),), note=b"n\n")
    text = seal.text()
    assert Seal.parse(text) == seal
    for wrong in (
        text.replace(b"first 0", b"first 00"),
        text.replace(b"size 2", b"size 0"),
        text.replace(b"AAA=", b"AAB="),
        text.replace(b"v1", b"v2"),
        text + b"\n" * 100_000,
        text.replace(b"frontier", b"path", 1),
    ):
        with pytest.raises(ValueError, match=r"seal|spelling"):
            Seal.parse(wrong)

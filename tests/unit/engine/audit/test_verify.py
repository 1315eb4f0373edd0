import subprocess
import sys
from base64 import b64encode
from pathlib import Path

import pytest

from engine.audit.verify import VerifierKeyError, verify_log
from engine.audit.verify.segments import line_chunks
from tests.audit_logs import (
    VKEY,
    append,
    lines,
    make_log,
    open_log,
    segment,
    signed,
    tree_root,
)
from tests.audit_segments import NEW, World


def test_a_good_log_verifies_with_its_figures(tmp_path: Path) -> None:
    """The report names the origin, the number of events, the checkpoint's size and the root."""
    directory = make_log(tmp_path, 100)
    report = verify_log(directory, VKEY)
    assert (report.ok, report.code, report.first_bad) == (True, "ok", None)
    assert (report.origin, report.events, report.checkpoint_size) == ("example.com/gateway", 100, 100)
    assert report.root_hash == b64encode(tree_root(lines(directory))).decode()
    assert (report.uncovered_lines, report.uncovered_bytes, report.outside_size) == (0, 0, None)


def test_a_log_of_many_segments_verifies(tmp_path: Path) -> None:
    """Chain and tree run on across segments, an empty last one included."""
    world = World()
    world.events(60)
    world.cut(0, 1, 20, 59, 60)
    world.files["checkpoint"] = world.checkpoint()
    assert verify_log(world.write(tmp_path), NEW.verifier_key()).events == 60
    assert segment(tmp_path, 60).read_bytes() == b""


def test_the_verifier_loads_nothing_of_the_writer() -> None:
    """Importing the verifier loads no module of the writer, so that both cannot share one mistake."""
    program = "import sys, engine.audit.verify; print(*sorted(m for m in sys.modules if m.startswith('engine')))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    loaded = set(done.stdout.split())
    assert {m for m in loaded if not m.startswith("engine.audit.verify")} == {"engine", "engine.audit", "engine.errors"}


@pytest.mark.parametrize("size", [0, 1, 2, 63, 64, 99, 100])
def test_an_outside_checkpoint_of_any_size_is_found_in_the_log(tmp_path: Path, size: int) -> None:
    """A checkpoint kept elsewhere is confirmed by the root over as many events as it covers."""
    directory = make_log(tmp_path, 100)
    report = verify_log(directory, VKEY, checkpoint=signed(lines(directory)[:size]))
    assert (report.ok, report.outside_size) == (True, size)


def test_what_is_after_the_checkpoint_is_counted_and_not_judged(tmp_path: Path) -> None:
    """Unsigned lines, as a crash leaves them, do not make the log bad, and never count as events."""
    directory = make_log(tmp_path, 10)
    with segment(directory).open("ab") as file:
        file.write(b"whatever\nand a torn")
    report = verify_log(directory, VKEY)
    assert (report.ok, report.events, report.uncovered_lines, report.uncovered_bytes) == (True, 10, 2, 19)


async def test_a_log_may_be_verified_while_it_is_written(tmp_path: Path) -> None:
    """Verification of a live log succeeds at any moment, although the files grow under it."""
    log = open_log(tmp_path)
    sizes = set()
    for round_ in range(30):
        for number in range(200):
            seq = append(log, number)
        if round_ % 3 == 0:
            await log.durable(seq)
        report = verify_log(tmp_path, VKEY)
        assert report.ok, report
        sizes.add(report.events)
    await log.close()
    assert len(sizes) > 5


def test_a_missing_log_is_reported(tmp_path: Path) -> None:
    """A folder without a checkpoint, or no folder at all, is a verdict and not a traceback."""
    assert verify_log(tmp_path, VKEY).code == "checkpoint.missing"
    assert verify_log(tmp_path / "missing", VKEY).code == "checkpoint.missing"


def test_an_unreadable_log_is_reported(tmp_path: Path) -> None:
    """A disk error is a verdict too, and not a good one."""
    directory = make_log(tmp_path / "log", 3)
    for path in sorted((directory / "segments").iterdir()):
        path.unlink()
    (directory / "segments").rmdir()
    (directory / "segments").write_text("not a folder")
    assert verify_log(directory, VKEY).code == "log.unreadable"


def test_a_malformed_key_is_an_error_of_the_caller(tmp_path: Path) -> None:
    """A verifier key that is none is refused before anything is read."""
    with pytest.raises(VerifierKeyError):
        verify_log(tmp_path, "not a key")


@pytest.mark.parametrize("content", [b"", b"a", b"a\n", b"a\nb", b"\n\n", b"a\rb\x0b\x0c\x85\xe2\x80\xa8c\nd"])
def test_lines_are_split_on_lf_and_nothing_else(tmp_path: Path, content: bytes) -> None:
    """CR, VT, FF, NEL and U+2028 are bytes of a line."""
    (tmp_path / "f").write_bytes(content)
    chunks = list(line_chunks(tmp_path / "f"))
    assert [line for some, _ in chunks for line in some] + [chunks[-1][1]] == content.split(b"\n")


def test_a_line_without_end_is_not_read_into_memory(tmp_path: Path) -> None:
    """A file of a gigabyte of NULs, which is what a power cut may leave, is given up after about a megabyte."""
    with (tmp_path / "f").open("wb") as file:
        file.truncate(1024**3)
    chunks = list(line_chunks(tmp_path / "f"))
    assert sum(len(torn) for _, torn in chunks) <= 2 * 1024**2

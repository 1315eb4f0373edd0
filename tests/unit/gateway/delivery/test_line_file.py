"""The log's file: whole lines, private, rotated, and as it was where a write fails."""

import errno
import os
import stat
from pathlib import Path

import pytest

from gateway.delivery.line_file import LineFile, Names
from gateway.errors import ConfigurationError, StoreError

NAMES = Names(what="the decision log", configured="config.decision_log", fault="decisions.log_file")


def test_lines_are_appended_and_survive_a_restart(tmp_path: Path) -> None:
    """Mode 0600; what was there stays."""
    path = tmp_path / "log.ndjson"
    for line in (b"1", b"2"):
        log = LineFile(path, NAMES)
        log.append([line])
        log.close()
    assert path.read_bytes() == b"1\n2\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(("found", "left"), [(b"1\n2", b"1\n"), (b"torn", b""), (b"1\n" + b"x" * 200_000, b"1\n")])
def test_a_torn_line_is_cut_off(tmp_path: Path, found: bytes, left: bytes) -> None:
    """A process that was killed has left it; the next line begins a line."""
    path = tmp_path / "log.ndjson"
    path.write_bytes(found)
    path.chmod(0o600)
    log = LineFile(path, NAMES)
    log.append([b"n"])
    log.close()
    assert path.read_bytes() == left + b"n\n"


def test_it_is_rotated_by_size(tmp_path: Path) -> None:
    """The newest lines are in the file itself, older ones behind numbers, and the oldest go."""
    path = tmp_path / "log.ndjson"
    log = LineFile(path, NAMES, size_bytes_max=10, kept_max=2)
    for number in range(8):
        log.append([b"%04d" % number])
    log.close()
    names = {each.name: each.read_text().split() for each in tmp_path.iterdir()}
    assert names == {
        "log.ndjson": ["0006", "0007"],
        "log.ndjson.1": ["0004", "0005"],
        "log.ndjson.2": ["0002", "0003"],
    }
    assert {stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()} == {0o600}


def test_nothing_but_the_current_file_may_be_kept(tmp_path: Path) -> None:
    """With no place for an older one it is unlinked."""
    log = LineFile(tmp_path / "log.ndjson", NAMES, size_bytes_max=4, kept_max=0)
    log.append([b"one"])
    log.append([b"two"])
    log.close()
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"two\n"]


def test_a_write_that_fails_leaves_nothing_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of it was written, then the disk was full: it is cut off again, and the next write is whole."""
    path = tmp_path / "log.ndjson"
    log = LineFile(path, NAMES)
    log.append([b"first"])
    real, calls = os.write, []

    def write(descriptor: int, data: bytes) -> int:
        calls.append(len(data))
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data[:3])

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(StoreError) as failed:
        log.append([b"second"])
    assert failed.value.code == "decisions.log_file"
    assert path.read_bytes() == b"first\n"
    monkeypatch.undo()
    log.append([b"third"])
    log.close()
    assert path.read_bytes() == b"first\nthird\n"


@pytest.mark.parametrize("kept", [1, 4])
def test_a_rotation_that_failed_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    """No new file could be opened, many times: no older one is lost by that, and then the line is taken."""
    path = tmp_path / "log.ndjson"
    log = LineFile(path, NAMES, size_bytes_max=4, kept_max=kept)
    for line in (b"one", b"two", b"six"):
        log.append([line])

    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "open", refuse)
    for _ in range(9):
        with pytest.raises(StoreError):
            log.append([b"new"])
    monkeypatch.undo()
    log.append([b"new"])
    log.close()
    kept_lines = [b"six\n", b"two\n", b"one\n"][:kept]
    assert [path.with_name(f"{path.name}.{number + 1}").read_bytes() for number in range(len(kept_lines))] == kept_lines
    assert path.read_bytes() == b"new\n"


def test_a_file_that_somebody_has_moved_away_is_begun_anew(tmp_path: Path) -> None:
    """Another program that rotates logs stops no decision."""
    path = tmp_path / "log.ndjson"
    log = LineFile(path, NAMES, size_bytes_max=4)
    log.append([b"one"])
    path.replace(tmp_path / "elsewhere")
    log.append([b"two"])
    log.close()
    assert (path.read_bytes(), (tmp_path / "elsewhere").read_bytes()) == (b"two\n", b"one\n")


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """So is a link, a directory, and a folder that is not there."""
    loose = tmp_path / "loose"
    loose.write_bytes(b"")
    loose.chmod(0o644)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "target")
    for path in (loose, link, tmp_path, tmp_path / "none" / "log"):
        with pytest.raises(ConfigurationError) as refused:
            LineFile(path, NAMES)
        assert refused.value.code == "config.decision_log"
    assert not (tmp_path / "target").exists()

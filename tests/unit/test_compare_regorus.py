"""The comparison of regorus' sources; nothing is downloaded here."""

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from tools import compare_regorus as tool


def test_every_kind_of_difference_is_a_line() -> None:
    """One that differs, one on either side alone; what is the same is none."""
    assert tool.differences({"a": b"1", "b": b"1", "c": b"1"}, {"a": b"1", "b": b"2", "d": b"1"}) == [
        "differs: b",
        "only in the source distribution: c",
        "only in the crate: d",
    ]


def test_a_crate_is_compared_as_its_authors_wrote_it() -> None:
    """Cargo's own manifest, lock file and note of the commit are set aside."""
    crate = {
        "Cargo.toml": b"cargo's",
        "Cargo.toml.orig": b"ours",
        "Cargo.lock": b"",
        ".cargo_vcs_info.json": b"",
        "x": b"",
    }
    assert tool.as_written(crate) == {"Cargo.toml": b"ours", "x": b""}


def test_a_folder_in_a_folder_can_be_left_out() -> None:
    """The allocator's C has a crate of its own."""
    files = {"m/a": b"", "m/sys/b": b"", "n": b""}
    assert list(tool.below(files, "m/", without="m/sys/")) == ["a"]
    assert list(tool.below(files, "m/sys/")) == ["b"]


def test_an_archive_of_another_hash_is_not_looked_at(tmp_path: Path) -> None:
    """The pinned one is read below its one folder."""
    path = tmp_path / "p.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo("p-1/src/x.rs")
        member.size = 2
        tar.addfile(member, io.BytesIO(b"fn"))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert tool.unpack(path, digest) == {"src/x.rs": b"fn"}
    with pytest.raises(SystemExit, match="expected is"):
        tool.unpack(path, "0" * 64)


def test_the_pins_are_those_of_the_lock_file() -> None:
    """What is compared is what is installed."""
    lock = (Path(tool.__file__).parent.parent / "requirements.lock").read_text()
    pinned = lock.partition(f"\n{tool.PACKAGE}==")[2].partition("\n    # via")[0]
    assert pinned.startswith(tool.VERSION)
    assert f"sha256:{tool.SDIST_SHA256}" in pinned


def test_a_lock_file_is_names_and_versions() -> None:
    """As a bill of materials is."""
    lock = b'[[package]]\nname = "a"\nversion = "1.0.0"\n\n[[package]]\nname = "b"\nversion = "2.0.0"\n'
    assert tool.locked(lock) == {("a", "1.0.0"), ("b", "2.0.0")}
    assert tool.shown(tool.locked(lock)) == "a 1.0.0, b 2.0.0"
    assert tool.shown([]) == "none"

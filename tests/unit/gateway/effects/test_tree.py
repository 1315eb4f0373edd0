"""Counting and removing a tree that somebody hostile has made."""

import os
from pathlib import Path

import pytest

from gateway.effects.tree import DEPTH_MAX, Extent, extent_of, remove_beneath

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY


@pytest.fixture
def root(tmp_path: Path) -> int:
    (tmp_path / "root").mkdir()
    return os.open(tmp_path / "root", DIRECTORY)


def open_count() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def nest(root: int, depth: int) -> None:
    """Make `depth` directories, one in the other, each with a file: deeper than any path reaches."""
    at = os.dup(root)
    for _ in range(depth):
        os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=at))
        os.mkdir("d", dir_fd=at)
        inner = os.open("d", DIRECTORY, dir_fd=at)
        os.close(at)
        at = inner
    os.close(at)


def test_everything_counts_once(tmp_path: Path, root: int) -> None:
    """Files and links by their own size, folders as entries; a link is not followed."""
    inside = tmp_path / "root"
    (inside / "a" / "b").mkdir(parents=True)
    (inside / "a" / "x").write_text("12345")
    (inside / "l").symlink_to(tmp_path)
    (inside / "e").write_text("")
    assert extent_of(root, entries_max=100) == Extent(
        entries=5, directories=2, size_bytes=5 + len(str(tmp_path)), whole=True
    )


def test_what_is_too_many_or_too_deep_is_not_whole(root: int) -> None:
    """The walk stops at its bound, with no descriptor left open."""
    nest(root, DEPTH_MAX + 10)
    before = open_count()
    assert not extent_of(root, entries_max=10_000).whole
    assert not extent_of(root, entries_max=5).whole
    assert open_count() == before


def test_any_depth_is_removed(root: int) -> None:
    """Without recursion, and with one descriptor at a time."""
    nest(root, 3_000)
    remove_beneath(root)
    assert os.listdir(root) == []


def test_names_that_stand_in_the_way_do_not(tmp_path: Path, root: int) -> None:
    """Also the very names that lifted directories get, as files, folders and links."""
    inside = tmp_path / "root"
    for name in (".lifted-1", "z"):
        (inside / name / ".lifted-2" / ".lifted-1").mkdir(parents=True)
        (inside / name / "f").write_text("")
    (inside / ".lifted-3").write_text("")
    (inside / ".lifted-4").symlink_to(tmp_path)
    remove_beneath(root)
    assert os.listdir(root) == []
    assert tmp_path.is_dir()


def test_folders_without_rights_are_opened_and_removed(tmp_path: Path, root: int) -> None:
    """Their owner gets in again."""
    shut = tmp_path / "root" / "shut"
    (shut / "in").mkdir(parents=True)
    (shut / "in" / "x").write_text("123")
    shut.chmod(0)
    assert extent_of(root, entries_max=10, mend=True) == Extent(entries=3, directories=2, size_bytes=3, whole=True)
    shut.chmod(0)
    remove_beneath(root)
    assert os.listdir(root) == []

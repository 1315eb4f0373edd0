"""Blobs: kept once, counted and bounded, read back as they were or not at all."""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine.values import JsonValue
from gateway.effects.blobs import BlobReference, MissionBlobs, content_fields, given_content
from gateway.effects.limits import EffectLimits
from gateway.effects.workspace import Workspaces
from gateway.errors import EffectError
from gateway.policy.redaction import Redaction
from tests.payload_keys import KEY

LIMITS = EffectLimits(blob_bytes_max=200_000, blobs_max=3, blobs_bytes_max=300_000)


@pytest.fixture
def workspaces(tmp_path: Path) -> Iterator[Workspaces]:
    workspaces = Workspaces.open(tmp_path)
    yield workspaces
    workspaces.close()


@pytest.fixture
def blobs(workspaces: Workspaces) -> MissionBlobs:
    return workspaces.create("m1", KEY).blobs


def stored(home: Path) -> list[Path]:
    return sorted(p for p in (home / "workspaces" / ".blobs").rglob("*") if p.is_file())


def code(call: object, *args: object) -> str:
    with pytest.raises(EffectError) as refused:
        call(*args)  # type: ignore[operator]
    return refused.value.code


@pytest.mark.parametrize("pointers", [["/outcome/body"], ["/outcome/*"], ["/outcome"], ["/outcome/*", "/outcome/a/b"]])
def test_of_what_nobody_will_see_no_blob_is_kept(blobs: MissionBlobs, tmp_path: Path, pointers: list[str]) -> None:
    """However policy has named it: by itself, with all members, or the outcome as a whole."""
    redaction = Redaction.of_outcome(pointers)
    fields = content_fields("body", os.urandom(70_000), blobs, LIMITS, redaction.names)
    assert (fields, stored(tmp_path)) == ({"body": ""}, [])


def test_a_content_comes_back_and_is_kept_once(blobs: MissionBlobs, tmp_path: Path) -> None:
    """Under its digest, private, and counted once however often it is put."""
    content = os.urandom(70_000)
    reference = blobs.put(content, LIMITS)
    assert reference == blobs.put(content, LIMITS)
    assert reference.document() == {"$blob": "sha256:" + hashlib.sha256(content).hexdigest(), "size": 70_000}
    assert blobs.get(reference) == content
    [file] = stored(tmp_path)
    assert file.stat().st_mode & 0o777 == 0o600
    assert not list((tmp_path / "workspaces" / ".staging").iterdir())


@pytest.mark.parametrize(("size", "inline"), [(64 * 1024, True), (64 * 1024 + 1, False)])
def test_over_64_kib_a_content_is_a_reference(blobs: MissionBlobs, size: int, inline: bool) -> None:
    """Exactly from there on; and what is given back by its reference is the content."""
    content = b"x" * size
    fields = content_fields("body", content, blobs, LIMITS)
    assert (fields == {"body": "x" * size}) is inline
    given = given_content(fields, "body")
    assert (blobs.get(given) if isinstance(given, BlobReference) else given) == content


def test_limits_name_themselves_and_hold_at_the_figure(blobs: MissionBlobs) -> None:
    """One blob, how many, and all together: the last that fits is kept, the next is refused by name."""
    with pytest.raises(EffectError) as large:
        blobs.put(b"x" * 200_001, LIMITS)
    assert large.value.code == "effect.too_large"
    assert "blob_bytes_max" in large.value.message
    blobs.put(b"a" * 200_000, LIMITS)
    blobs.put(b"b" * 100_000, LIMITS)
    with pytest.raises(EffectError) as full:
        blobs.put(b"c", LIMITS)
    assert full.value.code == "effect.blobs_full"
    assert "blobs_bytes_max" in full.value.message
    wide = EffectLimits(blobs_max=3)
    blobs.put(b"c", wide)
    with pytest.raises(EffectError) as many:
        blobs.put(b"d", wide)
    assert "blobs_max" in many.value.message
    assert blobs.put(b"c", LIMITS).size == 1, "what is there needs no room"


def test_two_writers_at_the_limit_are_not_both_let_through(blobs: MissionBlobs, tmp_path: Path) -> None:
    """However many threads put at once, as many as fit are kept."""

    def put(at: int) -> str:
        try:
            blobs.put(b"%d" % at * 70_000, EffectLimits(blobs_max=5))
        except EffectError as error:
            return error.code
        return "kept"

    with ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(put, range(40)))
    assert outcomes.count("kept") == len(stored(tmp_path)) == 5
    assert outcomes.count("effect.blobs_full") == 35


def test_a_restart_counts_what_is_there(workspaces: Workspaces, tmp_path: Path) -> None:
    """Bytes and number of an earlier process stand against the limits."""
    first = workspaces.create("m1", KEY)
    reference = first.blobs.put(b"a" * 200_000, LIMITS)
    first.close()
    again = workspaces.reopen("m1", KEY).blobs
    assert again.get(reference) == b"a" * 200_000
    assert code(again.put, b"b" * 100_001, LIMITS) == "effect.blobs_full"
    assert len(stored(tmp_path)) == 1


def test_another_mission_has_no_such_blob(workspaces: Workspaces) -> None:
    """A reference names a content of its own mission only, and only with its own size."""
    reference = workspaces.create("m1", KEY).blobs.put(b"a" * 70_000, LIMITS)
    assert code(workspaces.create("m2", KEY).blobs.get, reference) == "effect.blob_unknown"
    own = workspaces.reopen("m1", KEY).blobs
    assert code(own.get, BlobReference(reference.digest, 69_999)) == "effect.blob_unknown"
    assert code(own.get, BlobReference("sha256:" + "0" * 64, 1)) == "effect.blob_unknown"


def test_a_changed_blob_is_not_read(blobs: MissionBlobs, tmp_path: Path) -> None:
    """Its seal is looked at each time, and so is its digest."""
    reference = blobs.put(b"a" * 70_000, LIMITS)
    [file] = stored(tmp_path)
    sealed = file.read_bytes()
    file.write_bytes(sealed[:-1] + bytes([sealed[-1] ^ 1]))
    assert code(blobs.get, reference) == "effect.blob_damaged"
    file.unlink()
    file.symlink_to("/etc/passwd")
    assert code(blobs.get, reference) == "effect.path_refused"


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"$blob": "sha256:" + "0" * 64},
        {"$blob": "sha256:" + "0" * 64, "size": -1},
        {"$blob": "sha256:" + "0" * 64, "size": True},
        {"$blob": "sha256:" + "0" * 64, "size": 1.0},
        {"$blob": "../../etc/passwd", "size": 1},
        {"$blob": "sha256:" + "A" * 64, "size": 1},
        {"$blob": "sha256:" + "0" * 64, "size": 1, "more": 1},
    ],
)
def test_what_is_no_reference_is_refused(value: JsonValue) -> None:
    """By its form, before a file is looked for."""
    assert code(given_content, {"content": value}, "content") == "effect.arguments"


def test_on_the_disk_neither_content_nor_name_says_what_it_is(blobs: MissionBlobs, tmp_path: Path) -> None:
    """Not even to who guesses the content: the name is no digest of it."""
    reference = blobs.put(b"canary " * 10_000, LIMITS)
    [file] = stored(tmp_path)
    assert b"canary" not in file.read_bytes()
    assert file.name != reference.digest.removeprefix("sha256:")
    other = Workspaces.open(tmp_path)
    assert code(other.reopen("m1", b"another key".ljust(32)).blobs.get, reference) == "effect.blob_unknown"
    other.close()


def test_blobs_go_with_their_mission(workspaces: Workspaces, tmp_path: Path) -> None:
    """Removed with the workspace, and nobody else's."""
    for name in ("m1", "m2"):
        workspaces.create(name, KEY).blobs.put(b"a" * 70_000, LIMITS)
    workspaces.remove("m1")
    assert [file.parent.name for file in stored(tmp_path)] == ["m2"]
    assert workspaces.names() == ["m2"]


def test_a_failed_write_keeps_nothing(blobs: MissionBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a file nor a count: the next try has the room."""

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert code(blobs.put, b"a" * 70_000, LIMITS) == "effect.disk_full"
    assert stored(tmp_path) == []
    assert not list((tmp_path / "workspaces" / ".staging").iterdir())
    only = EffectLimits(blobs_max=1)
    assert blobs.put(b"b" * 70_000, only).size == 70_000

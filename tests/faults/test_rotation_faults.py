"""A rotation of the log's key that stops at each step: doing it again brings it to its end, and loses nothing."""

import shutil
from pathlib import Path

import orjson
import pytest

from engine.audit.errors import AuditRotationError, AuditTamperedError, AuditUnavailableError
from engine.audit.key_ring import KEY_ROTATED, KeyRing
from engine.audit.key_rotation import rotate_key
from engine.audit.keys import Ed25519Signer
from tests.audit_logs import NAME, SIGNER, TickingClock, append, counting_entropy, lines, open_log, write_log
from tests.disks import LOSSES, FailingFiles, Loss, UnpluggedFiles

NEW = Ed25519Signer(NAME, bytes([1]) * 32)
EVENTS = 3


async def rotate(directory: Path, files: FailingFiles | None = None, new: Ed25519Signer = NEW) -> None:
    """Rotate from the first key to the second."""
    await rotate_key(
        directory, SIGNER, new, clock=TickingClock(), files=files or FailingFiles(), entropy=counting_entropy()
    )


async def rotate_on(directory: Path, files: FailingFiles) -> bool:
    """Rotate on a disk that fails; return whether that went well."""
    try:
        await rotate(directory, files)
    except AuditUnavailableError:
        return False
    return True


async def opens_with(directory: Path, signer: Ed25519Signer) -> bool:
    """Whether the log opens with a key now. What shuts out the old key is the rotation; the new may be a stranger."""
    try:
        log = open_log(directory, signer=signer, files=FailingFiles())
    except AuditRotationError:
        return False
    except AuditTamperedError:
        assert signer is not SIGNER
        return False
    await log.close()
    return True


async def assert_one_key(directory: Path, name: str) -> None:
    """The log is the old key's, or nobody's, or the new key's."""
    copies = [shutil.copytree(directory, directory.parent / f"{name}-{n}") for n in range(2)]
    opens = [await opens_with(copy, signer) for copy, signer in zip(copies, (SIGNER, NEW), strict=True)]
    assert not all(opens), name


async def assert_finished(directory: Path, done: bool, name: str) -> None:
    """What was done stays done; once more, and the log is the new key's, with every event."""
    if done:
        assert await opens_with(directory, NEW), name
    await rotate(directory)
    assert not await opens_with(directory, SIGNER), name
    log = open_log(directory, signer=NEW, files=FailingFiles())
    append(log, 1)
    await log.close()
    events = [orjson.loads(line) for line in lines(directory)]
    assert [event["details"].get("n") for event in events[1:EVENTS]] == [1, 2], name
    assert sum(event["event_type"] == KEY_ROTATED for event in events) == 1, name
    assert len(KeyRing.load(directory, NEW.verifier_key()).rotations) == 1, name


async def test_a_rotation_finishes_after_any_failing_call(tmp_path: Path) -> None:
    """For each n, the n-th call fails: running it again ends with one rotation and the new key."""
    await write_log(tmp_path / "template", EVENTS)
    for fail_at in range(1_000):
        directory = shutil.copytree(tmp_path / "template", tmp_path / str(fail_at))
        files = FailingFiles(fail_at)
        done = await rotate_on(directory, files)
        await assert_one_key(directory, str(fail_at))
        await assert_finished(directory, done, str(fail_at))
        if files.calls <= fail_at:
            break
    assert done
    assert fail_at > 20


@pytest.mark.parametrize("names_last", [False, True])
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
async def test_a_rotation_finishes_after_any_power_cut(tmp_path: Path, loss: Loss, names_last: bool) -> None:
    """For each n, the power goes at the n-th call, with what was not synced: the same; and what was done stays done."""
    await write_log(tmp_path / "template", EVENTS)
    for fail_at in range(1_000):
        directory = shutil.copytree(tmp_path / "template", tmp_path / str(fail_at))
        files = UnpluggedFiles(fail_at, loss, names_last=names_last)
        done = await rotate_on(directory, files)
        files.pull_the_plug()
        await assert_finished(directory, done, str(fail_at))
        if files.calls <= fail_at:
            break
    assert done
    assert fail_at > 20


class Failing(Ed25519Signer):
    """A signer that fails from its n-th signature on."""

    left = 0

    def sign(self, note_text: bytes) -> bytes:
        if self.left == 0:
            raise ConnectionError("the token was pulled out")
        self.left -= 1
        return super().sign(note_text)


@pytest.mark.parametrize("left", range(2))
async def test_a_rotation_finishes_after_its_new_signer_has_failed(tmp_path: Path, left: int) -> None:
    """The new key signs twice, the statement and the checkpoint; where it fails at one of them, it is done again."""
    directory = tmp_path / "log"
    await write_log(directory, EVENTS)
    failing = Failing(NAME, bytes([1]) * 32)
    failing.left = left
    with pytest.raises(AuditUnavailableError, match="signer"):
        await rotate(directory, new=failing)
    assert await opens_with(directory, SIGNER) is (left == 0)
    await assert_finished(directory, False, "again")

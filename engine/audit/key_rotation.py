"""Rotating the signing key of a log, in steps of which each can be the last before a crash.

1. The log is opened with the old key, and thereby verified. The event `audit.key_rotated`, which holds the statement
   that both keys have signed, becomes durable under a checkpoint of the old key. The log is closed.
2. The statement is persisted at `rotations/<seq>.note`.
3. The checkpoint is signed anew, by both keys, and persisted.

After step 1 neither key opens the log (`audit.rotation_unfinished`) until all is done; calling `rotate_key` again with
the same keys goes on where it was broken off. From then on only the new key opens it.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from engine.audit.checkpoint import NOTE_BYTES_MAX, CheckpointError, open_checkpoint, signature_line
from engine.audit.commit import CHECKPOINT_NAME
from engine.audit.errors import AuditRotationError, AuditTamperedError, AuditUnavailableError
from engine.audit.files import Files, SystemFiles, ensure_directory, persist
from engine.audit.key_ring import (
    KEY_ROTATED,
    ROTATIONS,
    ROTATIONS_MAX,
    KeyRing,
    Rotation,
    finish,
    read_rotations,
    unfinished,
)
from engine.audit.keys import Signer, VerifierKey
from engine.audit.log import AuditLog, lock_log
from engine.audit.writer import AuditLimits
from engine.clock import Clock

_ACTOR: Final = "audit"
_DEFAULT_LIMITS: Final = AuditLimits()
_SYSTEM_FILES: Final = SystemFiles()


async def rotate_key(
    directory: Path,
    old: Signer,
    new: Signer,
    *,
    clock: Clock,
    limits: AuditLimits = _DEFAULT_LIMITS,
    files: Files = _SYSTEM_FILES,
    entropy: Callable[[int], bytes] | None = None,
) -> Rotation:
    """Hand the log in `directory` on from `old` to `new`, or bring to its end what was begun with these two.

    Doing it once more, with the same keys, changes nothing.

    Raises:
        AuditLockedError: somebody writes the log.
        AuditTamperedError: the files contradict the signed checkpoint.
        AuditRotationError: another rotation was broken off, `old` has given way to another key, or there were
            `ROTATIONS_MAX` already.
        AuditUnavailableError: the disk or one of the signers fails.
        ValueError: the keys have not one name, or `new` has been the log's before.
    """
    limits = replace(limits, quiet=True)  # no event of the log's own before the statement's, and none after it
    try:
        begun = _begun(directory, old.verifier_key(), new.verifier_key())
        if begun is None:
            log = AuditLog.open(directory, signer=old, clock=clock, limits=limits, files=files, entropy=entropy)
            begun = await _record(log, old, new)
        lock_fd = lock_log(directory)
        try:
            _keep_statement(directory, *begun, files)
            _sign_anew(directory, begun[0], old, new, files)
        finally:
            os.close(lock_fd)
    except OSError as error:
        raise AuditUnavailableError(f"the key of the audit log cannot be changed: {error}") from error
    return begun[0]


def _begun(directory: Path, old: str, new: str) -> tuple[Rotation, bytes] | None:
    """Return the rotation from `old` to `new` that the log knows of already, with its statement, or None."""
    if VerifierKey.parse(old).name != VerifierKey.parse(new).name:
        raise ValueError("the old and the new key have one name, which is the log's origin")
    rotations = read_rotations(directory)
    found = unfinished(directory)
    if found is None and rotations and rotations[-1].new == new:
        found = rotations[-1], rotations[-1].file(directory).read_bytes()
    if found is not None:
        if (found[0].old, found[0].new) != (old, new):
            raise AuditRotationError(finish(found[0]))
        return found
    if new == old or any(new in {each.old, each.new} for each in rotations):
        raise ValueError("the new key has been this log's before")
    if len(rotations) >= ROTATIONS_MAX:  # nobody would open a log with one more
        raise AuditRotationError(f"the log has been handed on {len(rotations)} times, and cannot be once more")
    return None


async def _record(log: AuditLog, old: Signer, new: Signer) -> tuple[Rotation, bytes]:
    """Make the event durable, and close the log."""
    try:
        made = Rotation(seq=log.size, old=old.verifier_key(), new=new.verifier_key())
        statement = _stated(made, old, new)
        details = {"statement": statement.decode()}
        seq = log.append(KEY_ROTATED, actor=_ACTOR, target=made.origin, details=details)
        if seq != made.seq:
            raise AuditUnavailableError("somebody else writes to the audit log")
        await log.durable(seq)
    finally:
        await log.close()
    return made, statement


def _stated(made: Rotation, old: Signer, new: Signer) -> bytes:
    """Return the signed statement, read back: a signer that does not match its public half must not get a log."""
    try:
        statement = made.signed(old, new)
        Rotation.parse(statement)
    except Exception as error:
        raise AuditUnavailableError("a signer of the audit log fails") from error
    return statement


def _keep_statement(directory: Path, made: Rotation, statement: bytes, files: Files) -> None:
    """Persist it; where it is there already, once more: that it is there does not say that it is durable."""
    folder = directory / ROTATIONS
    ensure_directory(files, folder)
    fd = files.open_directory(folder)
    try:
        persist(files, folder, fd, made.file(directory).name, statement)
    finally:
        files.close(fd)


def _sign_anew(directory: Path, made: Rotation, old: Signer, new: Signer, files: Files) -> None:
    """Put the checkpoint under both keys, unless the new one has signed it already."""
    ring = KeyRing.load(directory, made.new)
    path = directory / CHECKPOINT_NAME
    with path.open("rb") as file:
        note = file.read(NOTE_BYTES_MAX + 1)
    try:
        ring.opens_newest(note)
    except AuditRotationError:
        head = ring.opens(note)
    except CheckpointError as error:
        raise AuditTamperedError(f"{path}: {error}") from error
    else:
        return
    keys = VerifierKey.parse(made.old), VerifierKey.parse(made.new)
    text = head.text()
    try:
        lines = (signature_line(text, signer, key) for signer, key in zip((old, new), keys, strict=True))
        note = text + b"\n" + b"".join(lines)
        for key in keys:
            open_checkpoint(note, key)
    except Exception as error:
        raise AuditUnavailableError("a signer of the audit log fails") from error
    fd = files.open_directory(directory)
    try:
        persist(files, directory, fd, CHECKPOINT_NAME, note)
    finally:
        files.close(fd)

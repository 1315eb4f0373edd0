"""Changing who signs a gateway's log: the log is handed on, then the files follow; again, where it was broken off.

    keys/log.key          the key that signs
    keys/log.key.next     the key that will, from before the log hears of it until it takes the place of the first
    keys/log.key.retired  the key that did, from then on until it is destroyed, or kept under its id
    keys/log.vkey         the public half of the first

Where the log stands says what is left to do: a `next` that the log has not heard of is worth nothing, and made anew; an
`retired` beside the key that the log was handed on to is what a crash left to be destroyed.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.audit.errors import AuditLockedError, AuditRotationError, KeyFileError
from engine.audit.key_ring import Rotation, announced, finish
from engine.audit.key_rotation import rotate_key
from engine.audit.keyfile import KeyFile, destroy_key, read_private, save_key, sync_folder
from engine.audit.keys import Ed25519Signer, Signer, VerifierKey
from engine.audit.log import lock_log
from engine.audit.writer import AuditLimits
from engine.clock import Clock
from gateway.errors import ConfigurationError
from gateway.signing.passphrase import PassphraseSource
from gateway.signing.signers import KEY_FILE, VERIFIER_KEY_FILE

NEXT_KEY_FILE: Final = f"{KEY_FILE}.next"
RETIRED_KEY_FILE: Final = f"{KEY_FILE}.retired"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChange:
    """What was done. `kept` is where the old key is now, or None where it was destroyed."""

    rotation: Rotation
    resumed: bool
    kept: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogKeys:
    """The key files of a home, and the log that they sign."""

    home: Path
    log: Path
    passphrase: PassphraseSource  # of the key that signs, and of the one that comes

    async def change(self, clock: Clock, limits: AuditLimits, *, keep_old: bool) -> KeyChange:
        """Hand the log on to a new key, or bring to its end what was begun.

        Raises:
            AuditLockedError: the gateway runs, or somebody else changes the key.
            AuditRotationError: the log was handed on to a key that is not in the home.
            AuditTamperedError, AuditUnavailableError: the log does not verify, or cannot be written.
            KeyFileError: a key file cannot be used or written.
            ConfigurationError: `key.passphrase_missing`.
        """
        with self._alone():
            known = announced(self.log)
            current = KeyFile.read(self.home / KEY_FILE).verifier_key
            if known is not None and known.new == current and self._left_over(known):
                return KeyChange(rotation=known, resumed=True, kept=self._follow(known, keep_old=keep_old))
            resumed = known is not None and known.old == current
            if known is not None and not resumed and self._holds(NEXT_KEY_FILE, known.new):
                raise AuditRotationError(f"{KEY_FILE} is not the key {known.old}; {finish(known)}")
            old, new = self._pair(known if resumed else None)
            made = await rotate_key(self.log, old, new, clock=clock, limits=limits)
            self._swap()
            return KeyChange(rotation=made, resumed=resumed, kept=self._follow(made, keep_old=keep_old))

    async def move(self, old: Signer, new: Signer, clock: Clock, limits: AuditLimits) -> KeyChange:
        """Hand the log on between signers of which one at least is not the home's key file; no key is destroyed.

        Raises:
            as `change`; ConfigurationError: `config.signer`, the keys have not one name, or are the same.
        """
        with self._alone():
            known = announced(self.log)
            try:
                made = await rotate_key(self.log, old, new, clock=clock, limits=limits)
            except ValueError as error:
                raise ConfigurationError(f"audit.next_signer: {error}", code="config.signer") from error
            _write_public(self.home / VERIFIER_KEY_FILE, made.new)
            return KeyChange(rotation=made, resumed=made == known, kept=None)

    def _pair(self, known: Rotation | None) -> tuple[Ed25519Signer, Ed25519Signer]:
        """Return the key that signs and the one that comes: that of `known`, or one that is made now."""
        current, following = self.home / KEY_FILE, self.home / NEXT_KEY_FILE
        key = KeyFile.read(current)
        if known is None:
            destroy_key(following)
            if not key.encrypted:
                return key.signer(), _made(following, key.signer().name, None)
            with self.passphrase.reading(current) as phrase:
                old = key.signer(phrase)
                return old, _made(following, old.name, phrase)
        coming = KeyFile.read(following) if following.exists() else None
        if coming is None or coming.verifier_key != known.new:
            raise AuditRotationError(f"{following} is to hold the key {known.new}, and does not; {finish(known)}")
        if not key.encrypted:
            return key.signer(), coming.signer()
        with self.passphrase.reading(current) as phrase:
            return key.signer(phrase), coming.signer(phrase)

    def _holds(self, name: str, vkey: str) -> bool:
        """Whether a file is there, and its key is `vkey`."""
        path = self.home / name
        return path.exists() and KeyFile.read(path).verifier_key == vkey

    def _left_over(self, known: Rotation) -> bool:
        """Whether the key that gave way still has to be destroyed, or was overwritten and not removed yet."""
        return _is_overwritten(self.home / RETIRED_KEY_FILE) or self._holds(RETIRED_KEY_FILE, known.old)

    def _swap(self) -> None:
        """Put the new key in place; the old one keeps a second name, so that it can be destroyed."""
        current, following, retired = (self.home / name for name in (KEY_FILE, NEXT_KEY_FILE, RETIRED_KEY_FILE))
        with _faults(current):
            if following.exists():
                if not retired.exists():
                    retired.hardlink_to(current)
                elif not retired.samefile(current):  # else a crash came after it was given its second name
                    raise KeyFileError(f"{retired} is in the way, and not ours to remove", code="key.exists")
                sync_folder(current.parent)
                following.replace(current)
                sync_folder(current.parent)

    def _follow(self, made: Rotation, *, keep_old: bool) -> Path | None:
        """Write the public half; then destroy the old key, or keep it under its id."""
        retired, public = self.home / RETIRED_KEY_FILE, self.home / VERIFIER_KEY_FILE
        _write_public(public, made.new)
        if not keep_old or _is_overwritten(retired):
            destroy_key(retired)
            return None
        kept = self.home / f"{KEY_FILE}.{VerifierKey.parse(made.old).id.hex()}"
        with _faults(kept):
            if retired.exists():
                retired.rename(kept)
                sync_folder(kept.parent)
        return kept

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the folder of the keys against a second change, after a look at whether the log is free."""
        folder = (self.home / KEY_FILE).parent
        with _faults(folder):
            if self.log.exists():
                os.close(lock_log(self.log))
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise AuditLockedError(f"{folder}: another process changes the key") from error
            yield
        finally:
            os.close(fd)


def _is_overwritten(path: Path) -> bool:
    """Whether `destroy_key` has been at a file, and was stopped before it removed it."""
    return path.exists() and not read_private(path).strip(b"\0")


def _made(path: Path, name: str, passphrase: bytearray | None) -> Ed25519Signer:
    """Return a new key, once it is whole and durable at `path`."""
    signer = Ed25519Signer.generate(name)
    draft = path.with_name(f"{path.name}.tmp")
    destroy_key(draft)
    save_key(draft, signer, passphrase)
    with _faults(path):
        draft.replace(path)
        sync_folder(path.parent)
    return signer


def _write_public(path: Path, vkey: str) -> None:
    draft = path.with_name(f"{path.name}.tmp")
    with _faults(path):
        with draft.open("w") as file:
            file.write(vkey + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        sync_folder(path.parent)


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into a fault that names the file."""
    try:
        yield
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from error

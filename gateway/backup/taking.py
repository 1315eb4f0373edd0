"""Takes a backup: the log first, then what it points to, so that nothing in the copied log points into the void.

(1) The log, as one signed checkpoint covers it. (2) The databases, each as at one moment after that. (3) Everything
else but the secret files. (4) Those, sealed or in the clear, where they were asked for. (5) The copied log is verified,
offline. (6) The manifest, and then the name: a folder that has its name is whole, and on the disk.

A store that is newer than its log is what a crash leaves as well, and what a start is made for (docs/recovery.md).
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from engine.audit.files import SystemFiles, sync_directory
from engine.audit.keyfile import Passphrase
from engine.audit.verify import VerificationReport, verify_log
from engine.clock import Clock, rfc3339
from gateway.backup.copying import Target, copy_tree
from gateway.backup.databases import copy_database
from gateway.backup.log import copy_log
from gateway.backup.manifest import HOME, MANIFEST, SEALED_KEYS, Keys, Manifest
from gateway.backup.secret_files import FILES_MAX, SECRET_BYTES_MAX, SecretFiles, seal_files
from gateway.config import Config
from gateway.decisions.database import DATABASE_FILE
from gateway.errors import BackupError
from gateway.folders import AUDIT_FOLDER, STORE_FILE
from gateway.signing.signers import VERIFIER_KEY_FILE

DATABASES: Final = (STORE_FILE, DATABASE_FILE)
_FILES: Final = SystemFiles()
# Made anew where they are missing, or of the process that has them.
_LEFT_OUT: Final = (b".lock", b"-wal", b"-shm", b"-journal", b".tmp", b".sock")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is done about keys; by default they are left out."""

    passphrase: Passphrase | None = None  # they are sealed under it
    clear: bool = False  # they are copied as they are


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A backup that is whole."""

    folder: Path
    manifest: Manifest
    report: VerificationReport  # on the copied log


def take_backup(home: Path, config: Config, folder: Path, *, clock: Clock, wanted: Wanted) -> Taken:
    """Copy a home to a new folder, also while its gateway runs. Blocks.

    Raises:
        BackupError: `backup.exists`, `backup.inside`, `backup.unwritable`, and whatever keeps it from being whole.
        StoreError: a database cannot be read.
    """
    home, folder = home.resolve(), folder.absolute()
    if folder.exists() or folder.is_symlink():
        raise BackupError(f"{folder}: exists, and a backup never overwrites", code="backup.exists")
    if folder.resolve().is_relative_to(home):
        raise BackupError(f"{folder}: lies in the home itself", code="backup.inside")
    made = folder.with_name(f".{folder.name}.tmp")
    try:
        made.mkdir(mode=0o700)
        try:
            manifest, report = _fill(made, home, config, clock, wanted)
            made.rename(folder)
            sync_directory(_FILES, folder.parent)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
    except OSError as error:
        raise BackupError(f"{folder}: {error.strerror or error}", code="backup.unwritable") from error
    return Taken(folder=folder, manifest=manifest, report=report)


def _fill(made: Path, home: Path, config: Config, clock: Clock, wanted: Wanted) -> tuple[Manifest, VerificationReport]:
    key = _verifier_key(home)
    target = Target(made / HOME)
    target.folder.mkdir(mode=0o700)
    log = copy_log(home, target, key)  # (1)
    for name in DATABASES:  # (2)
        copy_database(home / name, name.encode(), target)
    held = _copy_rest(home, config, target)  # (3)
    keys = _keep_keys(made, target, held, wanted)  # (4)
    report = verify_log(target.folder / AUDIT_FOLDER, key)  # (5)
    if not report.ok:
        raise BackupError(f"the copied log does not verify: {report.message}", code="backup.log_damaged")
    manifest = Manifest(
        created=rfc3339(clock.now()),
        version=metadata.version("missiongate"),
        log=log,
        keys=keys,
        skipped=target.skipped,
        files=tuple(sorted(target.entries, key=lambda entry: entry.path)),
    )
    write_durably(made / MANIFEST, manifest.text())  # (6)
    sync_folders(made)
    return manifest, report


def _copy_rest(home: Path, config: Config, target: Target) -> dict[bytes, bytes]:
    """Copy what is neither log nor database; return the secret files, which were not."""
    secret = SecretFiles(home, config)
    held: dict[bytes, bytes] = {}

    def leave_out(path: bytes, opened: int) -> bool:
        if not secret.holds(path, opened):
            return False
        content = os.pread(opened, SECRET_BYTES_MAX + 1, 0)
        if len(content) > SECRET_BYTES_MAX or len(held) >= FILES_MAX:
            raise BackupError("a secret file is too large, or there are too many", code="backup.too_large")
        held[path] = content
        return True

    done = {AUDIT_FOLDER.encode(), *(name.encode() for name in DATABASES)}
    for name in sorted(os.fsencode(entry.name) for entry in home.iterdir()):
        if name not in done and not name.endswith(_LEFT_OUT):
            copy_tree(home, name, target, leave_out=leave_out)
    return held


def _keep_keys(made: Path, target: Target, held: Mapping[bytes, bytes], wanted: Wanted) -> Keys:
    if wanted.passphrase is not None:
        write_durably(made / SEALED_KEYS, seal_files(held, wanted.passphrase))
        return "sealed"
    if not wanted.clear:
        return "none"
    for path, content in held.items():
        target.take_bytes(path, content)
    return "clear"


def _verifier_key(home: Path) -> str:
    try:
        return (home / VERIFIER_KEY_FILE).read_text().strip()
    except OSError as error:
        message = f"{home / VERIFIER_KEY_FILE}: {error.strerror}; without it a copy could not be verified"
        raise BackupError(message, code="backup.no_key") from error


def write_durably(path: Path, content: bytes) -> None:
    """Write a new file, for its owner alone, and wait for the disk."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folders(top: Path) -> None:
    """Make the names in a folder, and in those below, durable."""
    for root, _, _ in os.walk(top, followlinks=False):
        sync_directory(_FILES, Path(root))

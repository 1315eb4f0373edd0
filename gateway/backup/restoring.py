"""Verifies a backup, and makes a home of it: everything is checked before the first file is written.

(1) The manifest is read, and every file held to its digest; what it does not name is not looked at, and the log has
nothing that it does not name. (2) The databases are whole. (3) The log verifies, against the key that whoever restores
knows, and against a checkpoint that was kept outside, where there is one. (4) A new folder is filled beside its place,
keys included, and gets its name when it is on the disk. A home that exists is never touched.
"""

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from engine.audit.files import SystemFiles, sync_directory
from engine.audit.verify import VerificationReport, VerifierKeyError, verify_log
from gateway.backup.copying import make_folders
from gateway.backup.databases import check_database
from gateway.backup.manifest import HOME, SEALED_KEYS, Entry, Manifest, copied, read_manifest
from gateway.backup.taking import DATABASES, sync_folders, write_durably
from gateway.errors import BackupError
from gateway.folders import AUDIT_FOLDER

_FILES: Final = SystemFiles()
_CHUNK: Final = 1024 * 1024
_NO_KEYS: Final[Mapping[bytes, bytes]] = MappingProxyType({})
_ROLLBACK: Final = "outside.rollback"
_SEALED_BYTES_MAX: Final = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A backup that is whole, and whose log verifies."""

    folder: Path
    manifest: Manifest
    report: VerificationReport
    key: str  # that the log was verified against
    key_from_outside: bool  # where not, the backup has vouched for itself
    rolled_back: bool  # a checkpoint from outside covers more than the copy has


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """What whoever restores knows from elsewhere than from the backup."""

    key: str = ""  # a verifier key of the log
    checkpoint: bytes = b""  # a signed checkpoint of it
    accept_rollback: bool = False  # the checkpoint may cover more than the copy


def check_backup(folder: Path, against: Against) -> Checked:
    """Verify a backup; nothing is written. Blocks.

    Raises:
        BackupError: `backup.changed`, a file is not what the manifest says; `backup.database`; `backup.log_damaged`,
            the log does not verify; `backup.rollback`, it does, and ends before the checkpoint; `backup.other_key`.
    """
    manifest = read_manifest(folder)
    if against.key and against.key != manifest.log.key:
        message = f"the backup is of the log {manifest.log.key}, and the key given is another one"
        raise BackupError(message, code="backup.other_key")
    for entry in manifest.files:  # (1)
        _check_file(folder / HOME, entry)
    _require_one_log(folder / HOME, manifest)
    for name in DATABASES:  # (2)
        if any(entry.path == name.encode() for entry in manifest.files):
            check_database(folder / HOME / name)
    key, log = against.key or manifest.log.key, folder / HOME / AUDIT_FOLDER
    report = _verified(log, key, against.checkpoint)  # (3)
    rolled_back = report.code == _ROLLBACK
    if rolled_back:
        if not against.accept_rollback:
            message = f"{report.message}: restoring it takes back what was signed since"
            raise BackupError(message, code="backup.rollback")
        report = _verified(log, key, b"")
    if not report.ok:
        raise BackupError(f"the log does not verify: {report.message} [{report.code}]", code="backup.log_damaged")
    if report.checkpoint_size != manifest.log.size:
        raise BackupError("the log is not the one that the manifest names", code="backup.changed")
    return Checked(
        folder=folder,
        manifest=manifest,
        report=report,
        key=key,
        key_from_outside=bool(against.key),
        rolled_back=rolled_back,
    )


def restore(checked: Checked, home: Path, *, keys: Mapping[bytes, bytes] = _NO_KEYS) -> None:
    """Make a home of a checked backup; `keys` are secret files by path, which the backup has only sealed.

    Raises:
        BackupError: `backup.home_exists`; `backup.changed`, a file has changed since the check; `backup.unwritable`.
    """
    home = home.absolute()
    if home.exists() or home.is_symlink():
        raise BackupError(f"{home}: exists, and a restore never overwrites", code="backup.home_exists")
    made = home.with_name(f".{home.name}.tmp")
    try:
        made.mkdir(mode=0o700)
        try:
            _fill(made, checked, keys)
            made.rename(home)
            sync_directory(_FILES, home.parent)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
    except OSError as error:
        raise BackupError(f"{home}: {error.strerror or error}", code="backup.unwritable") from error


def sealed_keys(folder: Path) -> bytes:
    """Return the content of `keys.sealed` of a backup.

    Raises:
        BackupError: `backup.unreadable`.
    """
    try:
        with (folder / SEALED_KEYS).open("rb") as file:
            return file.read(_SEALED_BYTES_MAX)
    except OSError as error:
        raise BackupError(f"{folder / SEALED_KEYS}: {error.strerror}", code="backup.unreadable") from error


def _fill(made: Path, checked: Checked, keys: Mapping[bytes, bytes]) -> None:
    for entry in checked.manifest.files:
        if entry.link is None:
            _copy(checked.folder / HOME, entry, made)
    for path, content in keys.items():
        place = made / os.fsdecode(path)
        make_folders(place.parent)
        write_durably(place, content)
    for entry in checked.manifest.files:  # last, so that nothing was written through one
        if entry.link is not None:
            place = made / os.fsdecode(entry.path)
            make_folders(place.parent)
            place.symlink_to(os.fsdecode(entry.link))
    sync_folders(made)


def _copy(source: Path, entry: Entry, made: Path) -> None:
    place = made / os.fsdecode(entry.path)
    make_folders(place.parent)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    reading = _open(source, entry)
    try:
        writing = os.open(place, flags, 0o600)
        try:
            found = copied(reading, writing)
            os.fsync(writing)
        finally:
            os.close(writing)
    finally:
        os.close(reading)
    if found != (entry.size, entry.sha256):
        raise _changed(entry)


def _require_one_log(home: Path, manifest: Manifest) -> None:
    """Return if the log in the folder, which is verified, is the one in the manifest, which is restored.

    Whoever writes a manifest anew could else leave out the end of a log, or put a link in its place.
    """
    top = AUDIT_FOLDER.encode()
    named = {entry.path for entry in manifest.files if entry.path == top or entry.path.startswith(top + b"/")}
    solid = named | {name.encode() for name in DATABASES}
    links = [entry for entry in manifest.files if entry.link is not None and entry.path in solid]
    differing = sorted(named ^ set(_files_below(home, top)))
    if links or differing:
        path = os.fsdecode(links[0].path if links else differing[0])
        raise BackupError(f"{path}: is not the same in the manifest and in the folder", code="backup.changed")


def _files_below(home: Path, top: bytes) -> Iterator[bytes]:
    """Yield the path of all that is no folder below one of a home; a link to a folder is none."""
    start = os.fsencode(home) + b"/"
    for root, folders, names, directory in os.fwalk(start + top):
        links = [each for each in folders if stat.S_ISLNK(os.lstat(each, dir_fd=directory).st_mode)]
        for each in (*names, *links):
            yield root.removeprefix(start) + b"/" + each


def _check_file(home: Path, entry: Entry) -> None:
    if entry.link is not None:
        return
    reading, digest, size = _open(home, entry), hashlib.sha256(), 0
    try:
        while part := os.read(reading, _CHUNK):
            digest.update(part)
            size += len(part)
    finally:
        os.close(reading)
    if (size, digest.hexdigest()) != (entry.size, entry.sha256):
        raise _changed(entry)


def _open(home: Path, entry: Entry) -> int:
    try:
        return os.open(home / os.fsdecode(entry.path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise BackupError(f"{os.fsdecode(entry.path)}: {error.strerror}", code="backup.changed") from error


def _changed(entry: Entry) -> BackupError:
    return BackupError(f"{os.fsdecode(entry.path)}: is not what the manifest says", code="backup.changed")


def _verified(log: Path, key: str, checkpoint: bytes) -> VerificationReport:
    try:
        return verify_log(log, key, checkpoint=(checkpoint,) if checkpoint else ())
    except VerifierKeyError as error:
        raise BackupError(f"no verifier key: {error}", code="backup.other_key") from error

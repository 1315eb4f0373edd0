"""The bundle as OPA takes it: one archive, the same bytes for the same files, put in place in one step."""

import gzip
import io
import os
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_MODE: Final = 0o644
_SIGNATURES: Final = ".signatures.json"


def exported(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the files that decide: without tests, and without signatures, which name the tests.

    The gateway has verified the signatures before a bundle comes here.
    """
    return {name: data for name, data in files.items() if name != _SIGNATURES and not name.endswith("_test.rego")}


def bundle_archive(files: Mapping[str, bytes]) -> bytes:
    """Return the files as a tar.gz: sorted, without times, owners and anything else of this machine."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name in sorted(files):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(files[name]), _MODE
            archive.addfile(member, io.BytesIO(files[name]))
    return packed.getvalue()


def read_archive(path: Path) -> bytes | None:
    """Return what lies at `path`; None: nothing does.

    Raises:
        OSError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def put_archive(path: Path, archive: bytes | None) -> None:
    """Put an archive in place, whole or not at all, durable; None takes it away.

    Raises:
        OSError: it cannot be written; what was there before still is.
    """
    if archive is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(archive)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

"""The bundle where an OPA takes it from: without its tests, put in place in one step."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gateway.policy.bundle_parts import SIGNATURES

_INCOMING: Final = ".incoming"  # OPA watches the folder itself, and would load the bundle anew with every write there


def exported(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the files that decide: without tests, and without signatures, which name the tests.

    The gateway has verified the signatures before a bundle comes here.
    """
    return {name: data for name, data in files.items() if name != SIGNATURES and not name.endswith("_test.rego")}


def read_if_there(path: Path) -> bytes | None:
    """Return what lies at `path`; None: nothing does.

    Raises:
        OSError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def put(path: Path, archive: bytes | None) -> None:
    """Put an archive in place, whole or not at all, durable, for nobody but us (0600); None takes it away.

    Raises:
        OSError: it cannot be written; what was there before still is.
    """
    if archive is None:
        path.unlink(missing_ok=True)
        return
    incoming = path.parent / _INCOMING
    incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=incoming)
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

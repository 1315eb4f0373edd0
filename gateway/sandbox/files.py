"""The files of a hook as bytes: read from a folder strictly and within bounds, before anything looks into them."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.audit.checkpoint import NOTE_BYTES_MAX
from gateway.errors import HookRefusedError
from gateway.sandbox.compile import MODULE_BYTES_MAX
from gateway.sandbox.manifest import MANIFEST_BYTES_MAX, parse_manifest

MANIFEST_NAME: Final = "hook.toml"
MODULE_NAME: Final = "module.wasm"
SIGNATURE_NAME: Final = "hook.sig"
SCHEMA_BYTES_MAX: Final = 256 * 1024
SIGNATURE_BYTES_MAX: Final = NOTE_BYTES_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class HookFiles:
    """What a hook consists of, byte for byte."""

    manifest: bytes
    module: bytes
    schema: bytes | None = None  # of a step alone
    signature: bytes | None = None


def read_files(folder: Path) -> HookFiles:
    """Return the files in `folder`: hook.toml, module.wasm, the schema that the manifest names, and hook.sig if any.

    Raises:
        HookRefusedError: `hook.unreadable`, `hook.too_large`, or what `parse_manifest` refuses.
    """
    manifest = _read(folder / MANIFEST_NAME, MANIFEST_BYTES_MAX)
    schema = parse_manifest(manifest).schema
    signature = folder / SIGNATURE_NAME
    return HookFiles(
        manifest=manifest,
        schema=None if schema is None else _read(folder / schema, SCHEMA_BYTES_MAX),
        module=_read(folder / MODULE_NAME, MODULE_BYTES_MAX),
        # A dangling link is there, too: what cannot be read is refused and not passed over.
        signature=_read(signature, SIGNATURE_BYTES_MAX) if os.path.lexists(signature) else None,
    )


def check_sizes(files: HookFiles) -> None:
    """Hold files that came another way to the bounds of those in a folder.

    Raises:
        HookRefusedError: `hook.too_large`; `field` names the file.
    """
    for name, data, bytes_max in (
        (MANIFEST_NAME, files.manifest, MANIFEST_BYTES_MAX),
        ("schema", files.schema, SCHEMA_BYTES_MAX),
        (SIGNATURE_NAME, files.signature, SIGNATURE_BYTES_MAX),
        (MODULE_NAME, files.module, MODULE_BYTES_MAX),
    ):
        if data is not None and len(data) > bytes_max:
            raise _too_large(name, bytes_max)


def _read(path: Path, bytes_max: int) -> bytes:
    """Return a regular file's bytes; what is no file cannot make this wait, and a large one is not read to its end."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise HookRefusedError(f"{path.name}: is not a file", code="hook.unreadable", field=path.name)
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                data = file.read(bytes_max + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        message = f"{path.name}: cannot be read: {error.strerror}"
        raise HookRefusedError(message, code="hook.unreadable", field=path.name) from error
    if len(data) > bytes_max:
        raise _too_large(path.name, bytes_max)
    return data


def _too_large(name: str, bytes_max: int) -> HookRefusedError:
    return HookRefusedError(f"{name}: has more than {bytes_max} bytes", code="hook.too_large", field=name)

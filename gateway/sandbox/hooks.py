"""Loads hooks from folders: a manifest, a parameter schema and a module, each read strictly and within bounds.

The module's bytes are measured and hashed here; whether they are a module that may run is for `compile` to say.
"""

import hashlib
import os
import stat
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from engine.errors import MissionInvalidError
from engine.json_text import read_json
from engine.mission import MissionLimits
from engine.values import JsonObject
from gateway.errors import ConfigurationError, HookRefusedError
from gateway.sandbox.compile import MODULE_BYTES_MAX
from gateway.sandbox.manifest import MANIFEST_BYTES_MAX, parse_manifest

MANIFEST_NAME: Final = "hook.toml"
MODULE_NAME: Final = "module.wasm"
SCHEMA_BYTES_MAX: Final = 256 * 1024
_SCHEMA_LIMITS: Final = MissionLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """A module with its manifest and the schema of its parameters, as loaded; not yet compiled."""

    name: str  # of a step, the step type that it implements
    version: str
    abi: int
    kind: str
    profile: str
    effects: tuple[str, ...]
    schema: JsonObject  # of a step's parameters; empty for the other kinds, which have none
    module: bytes
    sha256: str  # of `module`, lower-case hex
    at: str | None = None  # where a screen, a rewrite or an observer runs

    @property
    def key(self) -> str:
        """What a sandbox knows the module by."""
        return f"{self.name}@{self.version}"


def load_hook(folder: Path, *, sha256: str | None = None) -> Hook:
    """Return the hook in `folder`: hook.toml, module.wasm, and the schema file that the manifest names.

    Args:
        folder: where the three files are.
        sha256: the operator's pin of the module, lower-case hex, beside the one that the manifest may have.

    Raises:
        HookRefusedError: `hook.unreadable`, `hook.too_large`, `hook.schema_syntax`, `hook.pin_mismatch`, or what
            `parse_manifest` refuses; `field` names the file or the manifest's field.
    """
    manifest = parse_manifest(_read(folder / MANIFEST_NAME, MANIFEST_BYTES_MAX))
    schema = {} if manifest.schema is None else _schema(_read(folder / manifest.schema, SCHEMA_BYTES_MAX))
    module = _read(folder / MODULE_NAME, MODULE_BYTES_MAX)
    digest = hashlib.sha256(module).hexdigest()
    for pin in (manifest.sha256, sha256):
        if pin is not None and pin != digest:
            raise HookRefusedError(
                f"sha256: the module's is {digest}, and {pin} is pinned", code="hook.pin_mismatch", field="sha256"
            )
    return Hook(
        name=manifest.name,
        version=manifest.version,
        abi=manifest.abi,
        kind=manifest.kind,
        at=manifest.at,
        profile=manifest.profile,
        effects=manifest.effects,
        schema=schema,
        module=module,
        sha256=digest,
    )


def builtin_hooks() -> tuple[Hook, ...]:
    """Return the built-in step kinds, by name.

    Raises:
        ConfigurationError: `config.hooks_missing`, the package was not built.
        HookRefusedError: as `load_hook`.
    """
    return _packaged("steps")


def shipped_hooks() -> dict[str, Hook]:
    """Return, by name, the screens, rewrites and observers of the package: none runs before a site says so.

    Raises:
        ConfigurationError: `config.hooks_missing`, the package was not built.
        HookRefusedError: as `load_hook`.
    """
    return {hook.name: hook for group in ("screens", "rewrites", "observers") for hook in _packaged(group)}


def demo_hooks() -> tuple[Hook, ...]:
    """Return the misbehaving modules of the demonstration, by name.

    Raises:
        ConfigurationError: `config.hooks_missing`, the package was not built.
        HookRefusedError: as `load_hook`.
    """
    return _packaged("demo")


def _packaged(group: str) -> tuple[Hook, ...]:
    folder = Path(str(files("gateway"))) / "_hooks" / group
    hooks = tuple(load_hook(manifest.parent) for manifest in sorted(folder.glob(f"*/{MANIFEST_NAME}")))
    if not hooks:
        raise ConfigurationError(
            f"{folder} has no modules: build the package (pip install -e .)", code="config.hooks_missing"
        )
    return hooks


def _schema(data: bytes) -> JsonObject:
    try:
        value = read_json(data.decode(), _SCHEMA_LIMITS)
    except (UnicodeDecodeError, MissionInvalidError) as error:
        raise HookRefusedError(f"schema: {error}", code="hook.schema_syntax", field="schema") from error
    if not isinstance(value, dict):
        raise HookRefusedError("schema: must be an object", code="hook.schema_syntax", field="schema")
    return value


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
        raise HookRefusedError(f"{path.name}: has more than {bytes_max} bytes", code="hook.too_large", field=path.name)
    return data

"""Loads hooks: a manifest, a parameter schema, a module and perhaps a signature become one value.

The module's bytes are measured and hashed here; whether they are a module that may run is for `compile` to say.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from engine.errors import MissionInvalidError
from engine.json_text import read_json
from engine.mission import MissionLimits
from engine.values import JsonObject
from gateway.errors import ConfigurationError, HookRefusedError
from gateway.sandbox.files import MANIFEST_NAME, HookFiles, check_sizes, read_files
from gateway.sandbox.manifest import parse_manifest
from gateway.sandbox.signature import BUILTIN, SITE, Publisher, publisher_of

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
    publisher: str = SITE  # BUILTIN, SITE, or the name of the key that signed it

    @property
    def key(self) -> str:
        """What a sandbox knows the module by."""
        return f"{self.name}@{self.version}"


def load_hook(folder: Path, *, sha256: str | None = None, publishers: Sequence[Publisher] = ()) -> Hook:
    """Return the hook in `folder`: hook.toml, module.wasm, and the schema file that the manifest names.

    It is its publisher's where one of `publishers` has signed it, and else the site's own.

    Args:
        folder: where the files are.
        sha256: the operator's pin of the module, lower-case hex, beside the one that the manifest may have.
        publishers: whose signature is looked for in hook.sig. A wrong one refuses the hook, a stranger's does not.

    Raises:
        HookRefusedError: what `read_files`, `hook_of` or `publisher_of` refuses; `field` names the file or the
            manifest's field.
    """
    files = read_files(folder)
    publisher = SITE
    if files.signature is not None and publishers:
        try:
            publisher = publisher_of(files, publishers).name
        except HookRefusedError as error:
            if error.code != "hook.publisher_untrusted":
                raise
    return hook_of(files, publisher=publisher, sha256=sha256)


def hook_of(files: HookFiles, *, publisher: str, sha256: str | None = None) -> Hook:
    """Return what the files say; who ships them was found out before.

    Raises:
        HookRefusedError: `hook.too_large`, `hook.schema_syntax`, `hook.schema_missing`, `hook.pin_mismatch`, or what
            `parse_manifest` refuses.
    """
    check_sizes(files)
    manifest = parse_manifest(files.manifest)
    if (files.schema is None) != (manifest.schema is None):
        raise HookRefusedError(
            "schema: the manifest names a schema, or there is one, but not both",
            code="hook.schema_missing",
            field="schema",
        )
    digest = hashlib.sha256(files.module).hexdigest()
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
        schema={} if files.schema is None else _schema(files.schema),
        module=files.module,
        sha256=digest,
        publisher=publisher,
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
    folders = [manifest.parent for manifest in sorted(folder.glob(f"*/{MANIFEST_NAME}"))]
    hooks = tuple(hook_of(read_files(each), publisher=BUILTIN) for each in folders)
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

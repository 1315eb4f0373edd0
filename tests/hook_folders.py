"""Hooks for tests: folders, files, keys and publishers."""

from pathlib import Path

from wasmtime import wat2wasm

from engine.audit.keys import Ed25519Signer, VerifierKey
from gateway.sandbox.files import HookFiles
from gateway.sandbox.signature import Publisher, sign_hook
from tests.unit.gateway.sandbox.modules import answering

ACME = Ed25519Signer("acme.example/hooks", bytes(range(32)))
OTHER = Ed25519Signer("other.example/hooks", bytes(range(1, 33)))
STRANGER = Ed25519Signer("stranger.example", bytes(range(2, 34)))
SCHEMA = b'{"type":"object","additionalProperties":false}'
_KIND_LINES = {
    "step": 'effects = [{effects}]\nschema = "parameters.schema.json"\n',
    "screen": 'at = "mission"\n',
    "rewrite": 'at = "parameters"\n',
    "observe": 'at = "output"\n',
}


def publisher(signer: Ed25519Signer, **limits: object) -> Publisher:
    """Return the publisher that a signer is."""
    return Publisher(key=VerifierKey.parse(signer.verifier_key()), **limits)


def manifest_of(
    name: str = "resize", version: str = "1.0.0", *, kind: str = "step", profile: str = "wasm", effects: str = ""
) -> bytes:
    """Return a manifest; `effects` is the inside of the TOML list."""
    head = f'name = "{name}"\nversion = "{version}"\nabi = 1\nkind = "{kind}"\nprofile = "{profile}"\n'
    return (head + _KIND_LINES[kind].format(effects=effects)).encode()


def saying(text: str) -> bytes:
    """Return a module whose output is always `{"said": text}`: a version that can be told from another."""
    return answering(f'{{"output":{{"said":"{text}"}}}}')


def files_of(
    name: str = "resize",
    version: str = "1.0.0",
    *,
    module: bytes | None = None,
    signer: Ed25519Signer | None = ACME,
    kind: str = "step",
    profile: str = "wasm",
    effects: str = "",
) -> HookFiles:
    """Return a whole hook, signed unless there is no signer; its module says its version."""
    files = HookFiles(
        manifest=manifest_of(name, version, kind=kind, profile=profile, effects=effects),
        module=saying(version) if module is None else module,
        schema=SCHEMA if kind == "step" else None,
    )
    return files if signer is None else signed(files, signer)


def signed(files: HookFiles, signer: Ed25519Signer) -> HookFiles:
    """Return the same files with another signature."""
    note = sign_hook(files, signer)
    return HookFiles(manifest=files.manifest, module=files.module, schema=files.schema, signature=note)


def write_folder(folder: Path, files: HookFiles) -> Path:
    """Write a hook as its author has it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hook.toml").write_bytes(files.manifest)
    (folder / "module.wasm").write_bytes(files.module)
    if files.schema is not None:
        (folder / "parameters.schema.json").write_bytes(files.schema)
    if files.signature is not None:
        (folder / "hook.sig").write_bytes(files.signature)
    return folder


def importing() -> bytes:
    """Return a module that wants something of its host."""
    return bytes(wat2wasm('(module (import "env" "open" (func)))'))

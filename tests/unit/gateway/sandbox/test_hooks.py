"""Loading hooks from folders."""

import hashlib
import os
from pathlib import Path

import pytest

from gateway.errors import ConfigurationError, HookRefusedError
from gateway.sandbox import hooks as hooks_module
from gateway.sandbox.compile import MODULE_BYTES_MAX
from gateway.sandbox.files import SCHEMA_BYTES_MAX
from gateway.sandbox.hooks import builtin_hooks, demo_hooks, load_hook
from gateway.sandbox.manifest import MANIFEST_BYTES_MAX, Manifest, parse_manifest
from gateway.sandbox.profile import profiles_from
from gateway.sanitizer.schema import ParameterSchema

MODULE = b"\0asm\1\0\0\0"
PIN = hashlib.sha256(MODULE).hexdigest()
FIELDS = {
    "name": '"resize"',
    "version": '"1.20.3"',
    "abi": "1",
    "kind": '"step"',
    "profile": '"wasm"',
    "effects": '["file.read", "file.write"]',
    "schema": '"parameters.schema.json"',
}


def manifest(**changes: str | None) -> bytes:
    """Return a manifest with fields replaced by TOML text, or left out."""
    fields = {name: value for name, value in {**FIELDS, **changes}.items() if value is not None}
    return "".join(f"{name} = {value}\n" for name, value in fields.items()).encode()


def folder(
    path: Path, *, toml: bytes | None = None, schema: bytes = b'{"type":"object"}', module: bytes = MODULE
) -> Path:
    (path / "hook.toml").write_bytes(manifest() if toml is None else toml)
    (path / "parameters.schema.json").write_bytes(schema)
    (path / "module.wasm").write_bytes(module)
    return path


def refusal(path: Path, *, sha256: str | None = None) -> tuple[str, str]:
    with pytest.raises(HookRefusedError) as caught:
        load_hook(path, sha256=sha256)
    return caught.value.code, caught.value.field


def test_loads_all_that_the_folder_says(tmp_path: Path) -> None:
    """A hook is its manifest's fields, its schema, its module's bytes and their digest."""
    hook = load_hook(folder(tmp_path, toml=manifest(sha256=f'"{PIN}"')), sha256=PIN)
    assert (hook.name, hook.version, hook.abi, hook.kind, hook.profile) == ("resize", "1.20.3", 1, "step", "wasm")
    assert hook.effects == ("file.read", "file.write")
    assert hook.schema == {"type": "object"}
    assert (hook.module, hook.sha256) == (MODULE, PIN)


def test_a_manifest_needs_no_pin_and_no_effects() -> None:
    """The pin is optional, and a pure step declares an empty list of effects."""
    parsed = parse_manifest(manifest(effects="[]"))
    assert isinstance(parsed, Manifest)
    assert (parsed.effects, parsed.sha256) == ((), None)


@pytest.mark.parametrize("name", FIELDS)
def test_each_field_is_required(name: str) -> None:
    """A manifest that leaves a field out is refused, and the refusal names it."""
    with pytest.raises(HookRefusedError) as caught:
        parse_manifest(manifest(**{name: None}))
    assert (caught.value.code, caught.value.field) == ("hook.missing_field", name)


@pytest.mark.parametrize("name", ["signature", "Name", "effect", "x-type"])
def test_an_unknown_field_is_refused(name: str) -> None:
    """A field that this gateway does not know might change what the hook means, so it is not ignored."""
    with pytest.raises(HookRefusedError) as caught:
        parse_manifest(manifest() + f'{name} = "x"\n'.encode())
    assert (caught.value.code, caught.value.field) == ("hook.unknown_field", name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, "{}") for name in FIELDS),
        *((name, "7") for name in FIELDS if name != "abi"),
        ("abi", "1.0"),
        ("abi", "true"),
        ("abi", '"1"'),
        ("effects", '"file.read"'),
        ("sha256", "1"),
    ],
)
def test_a_field_of_another_type_is_refused(name: str, value: str) -> None:
    """No field is converted: a version is no number, and true is not 1."""
    with pytest.raises(HookRefusedError) as caught:
        parse_manifest(manifest(**{name: value}))
    assert (caught.value.code, caught.value.field) == ("hook.wrong_type", name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", '""'),
        ("name", '"Resize"'),
        ("name", '"1st"'),
        ("name", '"re-size"'),
        ("name", '"größe"'),
        ("name", '"resize\\n"'),
        ("name", f'"{"a" * 65}"'),
        ("version", '"1.0"'),
        ("version", '"01.0.0"'),
        ("version", '"1.0.0-rc1"'),
        ("version", '"1.0.0\\n"'),
        ("abi", "2"),
        ("abi", "0"),
        ("kind", '"filter"'),
        ("at", '"step"'),
        ("kind", '"Step"'),
        ("profile", '"no profile"'),
        ("schema", '"../parameters.schema.json"'),
        ("schema", '"/etc/passwd"'),
        ("schema", '"a/b.json"'),
        ("schema", '".hidden"'),
        ("schema", '""'),
        ("schema", '"a\\u0000"'),
        ("effects", str([f"a.b{n}" for n in range(65)])),
        ("effects", '["file.read", "file.read"]'),
        ("sha256", f'"{PIN.upper()}"'),
        ("sha256", f'"sha256:{PIN}"'),
        ("sha256", '""'),
    ],
)
def test_a_value_that_is_not_of_its_form_is_refused(name: str, value: str) -> None:
    """Names, versions, files and digests have one form each."""
    with pytest.raises(HookRefusedError) as caught:
        parse_manifest(manifest(**{name: value}))
    assert (caught.value.code, caught.value.field) == ("hook.bad_value", name)


@pytest.mark.parametrize(
    ("effect", "rule"), [("7", "wrong_type"), ('"read"', "bad_value"), ('"file.*"', "bad_value"), ('"*"', "bad_value")]
)
def test_an_effect_is_named_in_full(effect: str, rule: str) -> None:
    """There are no wildcards: a hook names each effect that it may ask for."""
    with pytest.raises(HookRefusedError) as caught:
        parse_manifest(manifest(effects=f'["file.read", {effect}]'))
    assert (caught.value.code, caught.value.field) == (f"hook.{rule}", "effects[1]")


@pytest.mark.parametrize(
    "data",
    [
        b"\xff",
        b"name",
        manifest() + b'name = "again"\n',
        manifest() + b"x = " + b"[" * 20_000,
        b"#" * (MANIFEST_BYTES_MAX + 1),
    ],
    ids=["encoding", "syntax", "twice", "nesting", "size"],
)
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    """Bytes that are not TOML, or too many, are a refusal of the whole file."""
    with pytest.raises(HookRefusedError) as caught:
        parse_manifest(data)
    assert (caught.value.code, caught.value.field) == ("hook.manifest_syntax", "")


@pytest.mark.parametrize(
    "schema", [b"", b"[]", b"1", b"{", b"\xff", b'{"a":1,"a":2}', b'{"a":NaN}', b"[" * 1_000 + b"]" * 1_000]
)
def test_a_schema_is_strict_json(tmp_path: Path, schema: bytes) -> None:
    """A schema is one JSON object; a name that stands twice could hide a rule."""
    assert refusal(folder(tmp_path, schema=schema)) == ("hook.schema_syntax", "schema")


@pytest.mark.parametrize("name", ["hook.toml", "parameters.schema.json", "module.wasm"])
def test_a_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    """Each of the three files must be there, and the refusal names the one that is not."""
    (folder(tmp_path) / name).unlink()
    assert refusal(tmp_path) == ("hook.unreadable", name)


@pytest.mark.parametrize("name", ["hook.toml", "parameters.schema.json", "module.wasm"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, name: str) -> None:
    """A pipe without a writer does not make the gateway wait, and a folder is not read."""
    (folder(tmp_path) / name).unlink()
    os.mkfifo(tmp_path / name)
    assert refusal(tmp_path) == ("hook.unreadable", name)
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    assert refusal(tmp_path) == ("hook.unreadable", name)


@pytest.mark.parametrize(
    ("name", "bytes_max"),
    [
        ("hook.toml", MANIFEST_BYTES_MAX),
        ("parameters.schema.json", SCHEMA_BYTES_MAX),
        ("module.wasm", MODULE_BYTES_MAX),
    ],
)
def test_a_large_file_is_refused_before_it_is_read_to_its_end(tmp_path: Path, name: str, bytes_max: int) -> None:
    """Each file has a maximum, and a sparse file of a terabyte costs no more than that."""
    os.truncate(folder(tmp_path) / name, bytes_max + 1)
    assert refusal(tmp_path) == ("hook.too_large", name)
    os.truncate(tmp_path / name, 1 << 40)
    assert refusal(tmp_path) == ("hook.too_large", name)


def test_a_pin_must_match_the_module(tmp_path: Path) -> None:
    """The operator's pin and the manifest's each hold the module to its digest."""
    other = "0" * 64
    assert refusal(folder(tmp_path), sha256=other) == ("hook.pin_mismatch", "sha256")
    assert refusal(folder(tmp_path, toml=manifest(sha256=f'"{other}"')), sha256=PIN) == ("hook.pin_mismatch", "sha256")
    changed = folder(tmp_path, toml=manifest(sha256=f'"{PIN}"'), module=MODULE + b"\0")
    assert refusal(changed) == ("hook.pin_mismatch", "sha256")


def test_the_package_holds_the_step_kinds() -> None:
    """The built-in hooks come by name, each with a profile that exists and a schema that compiles."""
    hooks = builtin_hooks()
    assert [hook.name for hook in hooks] == [
        "approval",
        "command",
        "create_file",
        "delay",
        "http",
        "mission",
        "read_file",
        "transform",
    ]
    for hook in hooks:
        assert hook.profile in profiles_from({})
        ParameterSchema.compile(hook.schema)
        assert hook.sha256 == hashlib.sha256(hook.module).hexdigest()
    assert {hook.name: hook.effects for hook in hooks} == {
        "approval": ("approval.request",),
        "command": ("command.run",),
        "create_file": ("file.write",),
        "delay": ("timer.sleep",),
        "http": ("http.request",),
        "mission": ("mission.run",),
        "read_file": ("file.read",),
        "transform": (),
    }


def test_the_demonstration_has_its_own_hooks() -> None:
    """Modules that misbehave are no step kinds: they are loaded only where they are asked for."""
    assert [hook.name for hook in demo_hooks()] == ["hoard", "spin"]
    assert not {hook.name for hook in demo_hooks()} & {hook.name for hook in builtin_hooks()}


def test_a_package_that_was_not_built_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without modules there is no gateway: the fault says what to do."""
    monkeypatch.setattr(hooks_module, "files", lambda _package: tmp_path)
    with pytest.raises(ConfigurationError, match="build the package") as caught:
        builtin_hooks()
    assert caught.value.code == "config.hooks_missing"

"""The example hooks, compiled by their real toolchains, tried by the author's command in real workers."""

import tomllib

import pytest

from gateway.cli.hook.folder import Language, open_folder
from gateway.sandbox.hooks import load_hook
from gateway.sandbox.shape import read_shape
from gateway.sanitizer.schema import ParameterSchema
from tests.cli_runner import run
from tests.toolchains import EXAMPLES, ROOT, built_example, built_once, environment, need

NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/hook.toml"))


@pytest.fixture(autouse=True)
def compilers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile the same source once a run: the tests here are about what becomes of it."""
    monkeypatch.setattr("gateway.cli.hook.authoring.build_module", built_once)
    for name, value in environment().items():
        monkeypatch.setenv(name, value)


def language_of(name: str) -> Language:
    language = open_folder(EXAMPLES / name).language
    assert language is not None
    need(language)
    return language


def test_there_is_one_in_each_language_and_it_is_documented() -> None:
    """Folders are named for the language and the hook, and the guide names each."""
    guide = (ROOT / "docs" / "hooks.md").read_text()
    assert {name.partition("-")[0] for name in NAMES} == set(Language)
    for name in NAMES:
        manifest = tomllib.loads((EXAMPLES / name / "hook.toml").read_text())
        assert name == f"{open_folder(EXAMPLES / name).language}-{manifest['name']}"
        assert f"wasm-hooks/examples/{name}" in guide


@pytest.mark.parametrize("name", NAMES)
def test_its_cases_pass_in_the_sandbox(name: str) -> None:
    """`hook test` builds it, and every case gets the answer that is written beside it, within half of its limits."""
    language_of(name)
    done = run("hook", "test", EXAMPLES / name, "-o", "json")
    assert done.code == 0, done.out
    assert done.json["failed"] == 0
    for case in done.json["cases"]:
        assert case["fuel_used"] <= done.json["limits"]["fuel_max"] // 2
        assert case["memory_bytes"] <= done.json["limits"]["memory_bytes_max"] // 2


@pytest.mark.parametrize("name", NAMES)
def test_it_would_be_registered(name: str) -> None:
    """Its folder loads as a hook, its schema is of the sanitizer's dialect, and its module imports nothing."""
    language_of(name)
    module = built_example(name)
    (EXAMPLES / name / "module.wasm").write_bytes(module)
    hook = load_hook(EXAMPLES / name)
    if hook.kind == "step":
        ParameterSchema.compile(hook.schema)
    assert read_shape(module).violation() is None
    assert read_shape(module).imports == ()
    assert len(module) <= 51_200

"""The build of the modules: the same bytes anywhere, and a clear word where it fails."""

import shutil
from pathlib import Path

import pytest

import hatch_build
from tests.depth import some
from tests.step_modules import SOURCES, hooks


def copy_of(path: Path, *kept: str) -> Path:
    """Copy the SDK and the named modules to `path`."""
    for name in ("sdk", *kept):
        shutil.copytree(SOURCES / name, path / name)
    return path


def built(path: Path, *kept: str) -> Path:
    """Build the named modules in the folder `path` with fresh caches, over an older build; return what it made."""
    sources, target = copy_of(path / "sources", *kept), path / "built"
    (target / "steps" / "old").mkdir(parents=True)
    hatch_build.build_hooks(sources, target)
    return target


def test_the_bytes_do_not_depend_on_the_place(tmp_path: Path) -> None:
    """Built in two other folders, with fresh caches, a module has the digest of the one that is installed.

    In `make test`, one module in one other folder. And sources, test cases and caches are not shipped, and what an
    earlier build left is gone.
    """
    modules = some(["steps/delay"], ["steps/delay", "demo/spin"])
    for place in some(["another folder/deeper"], ["a", "another folder/deeper"]):
        target = built(tmp_path / place, *modules)
        for module in modules:
            assert (target / module / "module.wasm").read_bytes() == hooks()[module.partition("/")[2]].module
        files = sorted(str(path.relative_to(target / "steps")) for path in (target / "steps").rglob("*.*"))
        assert files == [f"delay/{name}" for name in ("hook.toml", "module.wasm", "parameters.schema.json")]
        assert sorted(path.name for path in (tmp_path / place).iterdir()) == ["built", "sources"]
        assert not (target / "steps" / "old").exists()


def test_a_source_that_does_not_compile_says_where(tmp_path: Path) -> None:
    """The error has the module's name and the compiler's words, and the last good build stays."""
    sources = copy_of(tmp_path / "a", "steps/delay")
    target = tmp_path / "built"
    (target / "steps" / "kept").mkdir(parents=True)
    with (sources / "steps" / "delay" / "main.zig").open("a") as file:
        file.write("const broken: u8 = true;\ncomptime {\n    _ = broken;\n}\n")
    with pytest.raises(hatch_build.ModuleBuildError, match=r"steps/delay(?s:.*)expected type 'u8'"):
        hatch_build.build_hooks(sources, target)
    assert (target / "steps" / "kept").is_dir()


def test_a_missing_compiler_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the build environment has no Zig, the error says which package is missing."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(hatch_build.ModuleBuildError, match="ziglang"):
        hatch_build.build_hooks(copy_of(tmp_path / "a", "steps/delay"), tmp_path / "built")


def test_no_sources_are_an_error(tmp_path: Path) -> None:
    """A source archive that lacks the modules does not become a package that lacks them."""
    with pytest.raises(hatch_build.ModuleBuildError, match="no modules"):
        hatch_build.build_hooks(tmp_path, tmp_path / "built")

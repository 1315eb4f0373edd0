"""A hook's folder: what is in it, and which SDK it is built with."""

from pathlib import Path

import pytest

from gateway.cli.hook.folder import Language, open_folder, packaged_sdk
from gateway.errors import ConfigurationError, HookRefusedError

MANIFEST = 'name = "mine"\nversion = "1.0.0"\nabi = 1\nkind = "observe"\nat = "output"\nprofile = "wasm"\n'


def made(folder: Path, *names: str) -> Path:
    (folder / "hook.toml").write_text(MANIFEST)
    for name in names:
        (folder / name).touch()
    return folder


@pytest.mark.parametrize("language", list(Language))
def test_the_language_is_told_by_the_source(tmp_path: Path, language: Language) -> None:
    """Each has a file of its own."""
    assert open_folder(made(tmp_path, language.source)).language is language


def test_a_folder_may_hold_a_module_alone(tmp_path: Path) -> None:
    """A hook that was made elsewhere can be tested, though not built."""
    assert open_folder(made(tmp_path, "module.wasm")).language is None


def test_two_sources_are_one_too_many(tmp_path: Path) -> None:
    """Which of them is the hook nobody can say."""
    with pytest.raises(ConfigurationError, match=r"main\.zig, main\.c: one of them has to go"):
        open_folder(made(tmp_path, "main.c", "main.zig"))


def test_a_manifest_is_needed_and_has_to_be_in_order(tmp_path: Path) -> None:
    """Without one it is no hook's folder; with a wrong one the field is named."""
    with pytest.raises(ConfigurationError, match=r"hook\.toml: No such file"):
        open_folder(tmp_path)
    made(tmp_path)
    (tmp_path / "hook.toml").write_text(MANIFEST.replace("output", "outputs"))
    with pytest.raises(HookRefusedError, match="at: must be one of"):
        open_folder(tmp_path)


def test_a_folders_own_sdk_goes_before_the_packages(tmp_path: Path) -> None:
    """What is in the folder is what is built; without one, the SDKs that came with the program are taken."""
    folder = open_folder(made(tmp_path, "main.zig"))
    assert folder.sdk == packaged_sdk()
    assert (packaged_sdk() / "zig" / "mission.zig").is_file()
    (tmp_path / "sdk").mkdir()
    assert folder.sdk == tmp_path / "sdk"

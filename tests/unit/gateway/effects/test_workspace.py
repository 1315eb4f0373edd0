"""The directories of missions."""

import os
from pathlib import Path

import pytest

from gateway.effects import openat2
from gateway.effects.workspace import Workspaces
from gateway.errors import ConfigurationError, EffectError
from tests.payload_keys import KEY


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_directories_are_private(tmp_path: Path) -> None:
    """Everything from `workspaces` down is 0700."""
    workspaces = Workspaces.open(tmp_path)
    workspace = workspaces.create("m1", KEY)
    for path in (tmp_path / "workspaces", tmp_path / "workspaces/.staging", workspace.path):
        assert path.stat().st_mode & 0o777 == 0o700
    workspace.close()
    workspaces.close()


def test_a_directory_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    """A home whose workspaces are open to others does not start a gateway."""
    (tmp_path / "workspaces").mkdir(mode=0o755)
    with pytest.raises(ConfigurationError) as refused:
        Workspaces.open(tmp_path)
    assert refused.value.code == "config.workspaces"


def test_a_link_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    """`workspaces` may not be a symbolic link to elsewhere."""
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "workspaces").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError):
        Workspaces.open(tmp_path)


def test_half_written_files_of_a_killed_gateway_are_dropped(tmp_path: Path) -> None:
    """The staging directory is empty after a start."""
    Workspaces.open(tmp_path).close()
    (tmp_path / "workspaces/.staging/half").write_text("ha")
    Workspaces.open(tmp_path).close()
    assert list((tmp_path / "workspaces/.staging").iterdir()) == []


@pytest.mark.parametrize("mission_id", ["", ".staging", "..", "a/b", "a b", "a" * 65, "a\0", "-a", "é"])
def test_an_unsafe_mission_id_names_no_directory(tmp_path: Path, mission_id: str) -> None:
    """Only letters, digits, - and _ become a directory's name."""
    workspaces = Workspaces.open(tmp_path)
    with pytest.raises(EffectError) as refused:
        workspaces.create(mission_id, KEY)
    assert refused.value.code == "effect.workspace_unavailable"
    workspaces.close()


def test_a_workspace_is_made_once(tmp_path: Path) -> None:
    """No mission gets the directory of another."""
    workspaces = Workspaces.open(tmp_path)
    workspaces.create("m1", KEY).close()
    with pytest.raises(EffectError) as refused:
        workspaces.create("m1", KEY)
    assert refused.value.code == "effect.workspace_unavailable"
    workspaces.close()


def test_a_kernel_without_openat2_is_a_configuration_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the boundary cannot be held, the gateway does not start: there is no weaker fallback."""
    monkeypatch.setattr(openat2, "_SYS_OPENAT2", 100_000)
    with pytest.raises(ConfigurationError) as refused:
        Workspaces.open(tmp_path)
    assert refused.value.code == "config.kernel"


def test_descriptors_are_given_back(tmp_path: Path) -> None:
    """Opening, holding and closing leave as many open files as before, and a held one outlives `close`."""
    before = open_files()
    workspaces = Workspaces.open(tmp_path)
    workspace = workspaces.create("m1", KEY)
    with workspace.hold() as held:
        workspace.close()
        workspace.close()
        assert os.fstat(held.root).st_ino == workspace.path.stat().st_ino
    with pytest.raises(EffectError), workspace.hold():
        pass
    workspaces.close()
    assert open_files() == before


def test_a_workspace_that_cannot_be_made_holds_no_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When descriptors run out half-way, what was opened is given back: missions that fail must not make it worse."""
    workspaces = Workspaces.open(tmp_path)

    def scarce(_: int) -> int:
        raise OSError(24, "Too many open files")

    before = open_files()
    with monkeypatch.context() as patch:
        patch.setattr(os, "dup", scarce)
        with pytest.raises(EffectError) as refused:
            workspaces.create("m1", KEY)
    assert refused.value.code == "effect.workspace_unavailable"
    assert open_files() == before
    workspaces.close()

"""Hooks of a configuration: which are accepted, and what place they get."""

import datetime as dt
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Config, HookConfig
from gateway.errors import HookRefusedError
from gateway.hookset import PLACED_MAX, PlacedHook
from gateway.placing import load_site_hooks
from gateway.registry.placement import SETTINGS_BYTES_MAX
from gateway.rules import load_rules
from gateway.sandbox.abi_hooks import ANSWER_BYTES_MAX
from gateway.sandbox.hooks import shipped_hooks
from gateway.sandbox.routing import RoutedSandbox

MODULE = b"\0asm\1\0\0\0"
PIN = hashlib.sha256(MODULE).hexdigest()
RULES = load_rules(None, Config())
PROFILES = RULES.profiles
NOWHERE = RoutedSandbox({})


def folder(home: Path, name: str, kind: str = "screen", at: str | None = "step", profile: str = "fast") -> HookConfig:
    """Make a hook of the site's own, and return its entry."""
    path = home / name
    path.mkdir()
    (path / "module.wasm").write_bytes(MODULE)
    lines = [f'name = "{name}"', 'version = "1.0.0"', "abi = 1", f'kind = "{kind}"', f'profile = "{profile}"']
    lines += [f'at = "{at}"'] if at else ["effects = []", 'schema = "s.json"']
    (path / "s.json").write_text("{}")
    (path / "hook.toml").write_text("\n".join(lines))
    return HookConfig(path=name, sha256=PIN)


def place(home: Path, *entries: HookConfig) -> tuple[PlacedHook, ...]:
    return RULES.compose([*RULES.base, *load_site_hooks(home, entries, ())], NOWHERE).placed


def refusal(home: Path, *entries: HookConfig) -> tuple[str, str]:
    with pytest.raises(HookRefusedError) as refused:
        place(home, *entries)
    return refused.value.code, refused.value.field


def test_an_entry_says_when_a_hook_runs(tmp_path: Path) -> None:
    """Order, scope, settings; the profile that it names goes before the hook's own."""
    entry = folder(tmp_path, "s").model_copy(
        update={
            "order": 3,
            "step_types": ["http"],
            "labels": {"a": "b"},
            "settings": {"z": 1, "a": []},
            "profile": "wasm",
        }
    )
    [placed] = place(tmp_path, entry)
    assert (placed.hook.key, placed.order, placed.step_types, placed.labels) == ("s@1.0.0", 3, {"http"}, {"a": "b"})
    assert placed.profile == PROFILES["wasm"]
    assert placed.settings == b'{"a":[],"z":1}'
    assert placed.constraints.output_bytes_max == ANSWER_BYTES_MAX
    assert placed.constraints.fuel_max == PROFILES["wasm"].fuel_max


def test_only_screens_and_observers_fail_open(tmp_path: Path) -> None:
    """A screen as its profile says, an observer always, a rewrite never; a rewrite may answer as much as a step."""
    kinds = {"closed": ("screen", "step", "fast"), "opened": ("screen", "step", "semantic")}
    kinds |= {"rewrites": ("rewrite", "output", "semantic"), "observes": ("observe", "output", "fast")}
    entries = [folder(tmp_path, name, *kind) for name, kind in kinds.items()]
    found = {placed.hook.name: placed for placed in place(tmp_path, *entries)}
    assert [name for name, placed in found.items() if placed.fails_open] == ["observes", "opened"]
    semantic = PROFILES["semantic"]
    assert found["rewrites"].profile == semantic
    assert found["rewrites"].constraints == replace(semantic, retries_max=0)
    assert semantic.output_bytes_max > ANSWER_BYTES_MAX == found["closed"].constraints.output_bytes_max


@pytest.mark.parametrize("name", ["drop_output_fields", "large_output", "mission_limits", "no_private_key_material"])
def test_what_the_package_ships_is_named_by_name(tmp_path: Path, name: str) -> None:
    """Without a path and a pin; what it is, its manifest says."""
    [placed] = place(tmp_path, HookConfig(builtin=name))
    assert placed.hook == shipped_hooks()[name]
    assert placed.hook.kind in {"screen", "rewrite", "observe"}


def test_a_step_kind_is_not_placed(tmp_path: Path) -> None:
    """It is loaded beside the others; with a scope, its entry is a mistake."""
    entry = folder(tmp_path, "k", "step", None)
    assert place(tmp_path, entry) == ()
    assert [each.hook.name for each in load_site_hooks(tmp_path, [entry], ())] == ["k"]
    for update in (
        {"order": 1},
        {"step_types": ["http"]},
        {"labels": {"a": "b"}},
        {"settings": {"a": 1}},
        {"profile": "fast"},
    ):
        assert refusal(tmp_path, entry.model_copy(update=update)) == ("hook.placement", "hooks[0]")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"profile": "nowhere"}, "hook.unknown_profile"),
        ({"step_types": ["http", "htpt"]}, "hook.unknown_step_type"),
        ({"settings": {"n": float("nan")}}, "hook.placement"),
        ({"settings": {"n": 2**64}}, "hook.placement"),
        ({"settings": {"n": "x" * SETTINGS_BYTES_MAX}}, "hook.placement"),
        ({"sha256": "0" * 64}, "hook.pin_mismatch"),
        ({"path": "elsewhere"}, "hook.unreadable"),
        ({"path": None, "sha256": None, "builtin": "nothing"}, "hook.unknown_builtin"),
    ],
)
def test_an_entry_that_cannot_be_followed_stops_the_start(tmp_path: Path, change: Any, code: str) -> None:
    """A mistyped step kind would leave a screen with nothing to do, and nobody would know."""
    good = folder(tmp_path, "good")
    bad = folder(tmp_path, "bad").model_copy(update=change)
    assert refusal(tmp_path, good, bad) == (code, "hooks[1]")


def test_dates_are_no_settings(tmp_path: Path) -> None:
    """TOML has more types than JSON."""
    entry = folder(tmp_path, "s").model_copy(update={"settings": {"since": dt.date(2026, 1, 1)}})
    assert refusal(tmp_path, entry) == ("hook.placement", "hooks[0]")


def test_names_are_unique_and_hooks_bounded(tmp_path: Path) -> None:
    """Reasons and events name a hook by its name; a verdict lists all that ran."""
    entry = folder(tmp_path, "s")
    assert refusal(tmp_path, entry, entry) == ("hook.duplicate", "hooks[1]")
    many = [folder(tmp_path, f"s{n}") for n in range(PLACED_MAX + 1)]
    assert refusal(tmp_path, *many) == ("hook.too_many", "hooks")


def test_settings_keep_what_json_can_say(tmp_path: Path) -> None:
    """Numbers, text, lists and tables arrive as they are."""
    settings = {"a": [1, 2.5, True, "é"], "b": {"c": {}}}
    [placed] = place(tmp_path, folder(tmp_path, "s").model_copy(update={"settings": settings}))
    assert json.loads(placed.settings) == settings

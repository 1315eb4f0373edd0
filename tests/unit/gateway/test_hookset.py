"""Sets of hooks: what a step that begins finds, and what fits together."""

import pytest

from gateway.config import Config
from gateway.errors import HookRefusedError
from gateway.hookset import ActiveHook
from gateway.registry.placement import Placement
from gateway.rules import load_rules
from gateway.sandbox.abi_hooks import ANSWER_BYTES_MAX
from gateway.sandbox.hooks import Hook, hook_of
from gateway.sandbox.routing import RoutedSandbox
from gateway.sandbox.signature import SITE
from tests.hook_folders import files_of

RULES = load_rules(None, Config())
NOWHERE = RoutedSandbox({})


def hook(name: str = "resize", **changes: str) -> Hook:
    return hook_of(files_of(name, **changes), publisher=SITE)


def refusal(*hooks: Hook) -> str:
    with pytest.raises(HookRefusedError) as caught:
        RULES.compose([ActiveHook(hook=each) for each in hooks], NOWHERE)
    return caught.value.code


def test_a_set_has_kinds_and_placed_hooks_in_order() -> None:
    """Steps by their type; everything else by order, then by name."""
    screens = [hook(name, kind="screen") for name in ("b", "c", "a")]
    active = [ActiveHook(hook=each, order=order) for each, order in zip(screens, (5, 1, 5), strict=True)]
    made = RULES.compose([ActiveHook(hook=hook(effects='"file.read"')), *active], NOWHERE)
    assert made.effects == {"resize": ("file.read",)}
    assert [placed.hook.name for placed in made.placed] == ["c", "a", "b"]
    wasm = RULES.profiles["wasm"]
    assert made.placed[0].profile == wasm
    assert made.placed[0].constraints == wasm.narrow_by({"output_bytes_max": ANSWER_BYTES_MAX})


def test_names_that_missions_may_spell_alike_are_one_name() -> None:
    """`CreateFile` is create_file, and nobody's create__file; a screen shares the names of steps."""
    assert refusal(hook("create_file"), hook("create__file")) == "hook.duplicate"
    assert refusal(hook("a_b"), hook("a_b_")) == "hook.duplicate"
    assert refusal(hook("a"), hook("a", kind="screen")) == "hook.duplicate"


def test_profiles_and_effects_must_exist() -> None:
    """For every kind: a screen without a profile would run without bounds."""
    assert refusal(hook(profile="unbounded")) == "hook.unknown_profile"
    assert refusal(hook(kind="screen", profile="unbounded")) == "hook.unknown_profile"
    assert refusal(hook(effects='"disk.format"')) == "hook.unknown_effect"


def test_a_step_begins_only_with_what_its_mission_was_admitted_for() -> None:
    """Less is fine; an effect more would bring data whose taint nobody has computed."""
    admitted = {"resize": ("file.read", "http.request")}

    def kind_of(effects: str) -> Hook:
        return RULES.compose([ActiveHook(hook=hook(effects=effects))], NOWHERE).kind_of("resize", admitted).hook

    for effects in ("", '"file.read"', '"http.request", "file.read"'):
        assert kind_of(effects).name == "resize"
    with pytest.raises(HookRefusedError) as caught:
        kind_of('"file.read", "file.write"')
    assert caught.value.code == "hook.effects_grew"
    with pytest.raises(HookRefusedError) as caught:
        RULES.compose([], NOWHERE).kind_of("resize", admitted)
    assert caught.value.code == "hook.disabled"


@pytest.mark.parametrize("place", [{"order": 1}, {"step_types": ("a",)}, {"labels": {"a": "b"}}])
def test_a_step_has_no_place(place: dict[str, object]) -> None:
    """A scope that nothing looks at would be a promise that nobody keeps."""
    placement = Placement(**{"labels": {}, **place})
    assert placement.of(hook(kind="screen")).order == place.get("order", 0)
    with pytest.raises(HookRefusedError) as caught:
        placement.of(hook())
    assert caught.value.code == "hook.placement"

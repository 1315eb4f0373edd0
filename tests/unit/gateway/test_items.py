"""Fan-outs on their way through the gateway: each item is resolved, decided and recorded as a step of its own."""

import asyncio

import pytest

from tests.worlds import World, mission, step


def test_policy_sees_each_item_with_its_own_parameters() -> None:
    """The step is decided once for each item, under its number; a step that is no fan-out has none."""
    world = World()
    rows = step("rows", output={"rows": ["x", "$${variables.v}"]})
    each = step("each", "rows", path="${item}") | {"foreach": {"items": "${steps.rows.output.rows}"}}
    view = asyncio.run(world.run(mission(rows, each)))
    assert view.result is not None
    asked = [
        (d["step"]["id"], d["step"]["item"], d["parameters"].get("path")) for e, d in world.policy.asked if e == "step"
    ]
    assert sorted(asked, key=str) == [("each", 0, "x"), ("each", 1, "${variables.v}"), ("rows", None, None)]


@pytest.mark.parametrize("path", ["../x", "/etc/passwd"])
def test_an_item_is_an_untrusted_input(path: str) -> None:
    """A written item is no parameter before it is put there, and is sanitized then: one bad item halts the mission."""
    world = World()
    each = step("each", path="${item}") | {"foreach": {"items": ["fine", path], "parallel_limit": 1}}
    view = asyncio.run(world.run(mission(each)))
    assert view.result is not None
    assert view.result["step_results"]["each"]["status"] == "Failed"
    assert [d["parameters"]["path"] for e, d in world.policy.asked if e == "step"] == ["fine"]


def test_a_condition_keeps_a_step_from_policy() -> None:
    """A step that is not to run is not decided, and nothing is recorded of it but that it was skipped."""
    world = World()
    never = step("never", "first") | {"when": {"exists": ["${steps.first.output.nothing}"]}}
    view = asyncio.run(world.run(mission(step("first"), never)))
    assert view.result is not None
    assert view.result["step_results"]["never"]["status"] == "Skipped"
    assert [d["step"]["id"] for e, d in world.policy.asked if e == "step"] == ["first"]

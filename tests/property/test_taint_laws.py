"""Laws of taint, over random missions: an upper bound that grows with the mission and never loses a label."""

import re
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from engine.loader import load_mission
from engine.mission import MissionLimits
from engine.plan import Plan
from gateway.taint import CLIENT, NETWORK, WORKSPACE, taint_of

EFFECTS = {
    "write": ("file.write",),
    "read": ("file.read",),
    "get": ("http.request",),
    "pure": (),
    "both": ("file.read", "file.write"),
}


@st.composite
def missions(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draw steps in an order in which each may refer to those before it."""
    steps: list[dict[str, Any]] = []
    for n in range(draw(st.integers(1, 12))):
        earlier = draw(st.sets(st.sampled_from(range(n)), max_size=3)) if n else set()
        referred = {e for e in earlier if draw(st.booleans())}
        texts = [f"${{steps.s{e}.output.x}}" for e in sorted(referred)]
        if draw(st.booleans()):
            texts.append("${variables.v}")
        named = [f"${{steps.s{e}.output.x}}" for e in sorted(earlier)] + ["${variables.v}"]
        control: dict[str, Any] = {}
        if draw(st.booleans()):
            asked = draw(st.lists(st.sampled_from(named), min_size=1, max_size=3))
            control["when"] = {"all": [{"not": {"exists": [reference]}} for reference in asked]}
        if draw(st.booleans()):
            control["foreach"] = {"items": draw(st.sampled_from(named) | st.just([1, 2]))}
            texts += ["${item.x}"]
        steps.append(
            {
                "id": f"s{n}",
                "name": "n",
                "step_type": draw(st.sampled_from(sorted(EFFECTS))),
                "depends_on": [f"s{e}" for e in sorted(earlier)],
                "parameters": {"texts": texts},
                **control,
            }
        )
    return steps


def referred_to(step: dict[str, Any]) -> list[str]:
    """Return every reference to a step or a variable, by a reading of its own: as text, anywhere."""
    return re.findall(r"\$\{(?:steps|variables)[^}]*\}", orjson.dumps(step).decode())


def plan_of(steps: list[dict[str, Any]]) -> Plan:
    document = {"version": "1.0", "name": "m", "variables": {"v": {"x": 1}}, "steps": steps}
    return load_mission(orjson.dumps(document), limits=MissionLimits(), step_types=EFFECTS)


def taint(steps: list[dict[str, Any]]) -> dict[str, frozenset[str]]:
    return {step["id"]: labels for step, labels in zip(steps, taint_of(plan_of(steps), EFFECTS), strict=True)}


def simulate(steps: list[dict[str, Any]]) -> dict[str, set[str]]:
    """Return the labels that data really carries when the steps run in this order: a slow, literal reading."""
    files = {WORKSPACE}
    carried: dict[str, set[str]] = {}
    for step in steps:
        own: set[str] = set()
        ops = EFFECTS[step["step_type"]]
        for text in referred_to(step):
            own |= {CLIENT} if "variables" in text else carried[text.split(".")[1]]
        if "http.request" in ops:
            own.add(NETWORK)
        if "file.read" in ops:
            own |= files
        if "file.write" in ops:
            files |= own
        carried[step["id"]] = own
    return carried


@given(missions())
def test_taint_is_an_upper_bound_of_what_data_carries(steps: list[dict[str, Any]]) -> None:
    """Whatever order the steps run in, a step's data carries no label that the host had not computed for it."""
    bound = taint(steps)
    for step_id, labels in simulate(steps).items():
        assert labels <= bound[step_id]


@given(missions())
def test_a_reference_carries_every_label(steps: list[dict[str, Any]]) -> None:
    """A step has at least the labels of each step that it refers to."""
    bound = taint(steps)
    for step in steps:
        for text in referred_to(step):
            assert (bound[text.split(".")[1]] if "steps." in text else {CLIENT}) <= bound[step["id"]]


@given(missions(), st.data())
def test_more_steps_never_take_a_label_away(steps: list[dict[str, Any]], data: st.DataObject) -> None:
    """Taint grows with the mission: a part of it has no label that the whole lacks."""
    part = steps[: data.draw(st.integers(1, len(steps)))]
    whole = taint(steps)
    assert all(labels <= whole[step_id] for step_id, labels in taint(part).items())


@given(missions(), st.randoms(use_true_random=False))
def test_the_order_in_the_document_does_not_matter(steps: list[dict[str, Any]], random: Any) -> None:
    """The same steps in another order have the same labels."""
    shuffled = list(steps)
    random.shuffle(shuffled)
    assert taint(shuffled) == taint(steps)


@given(missions())
def test_no_label_comes_from_nowhere(steps: list[dict[str, Any]]) -> None:
    """A label is in a mission only if a source of it is."""
    found = frozenset().union(*taint(steps).values())
    kinds = {op for step in steps for op in EFFECTS[step["step_type"]]}
    texts = {text for step in steps for text in referred_to(step)}
    assert (NETWORK in found) == ("http.request" in kinds)
    assert (WORKSPACE in found) == ("file.read" in kinds)
    assert (CLIENT in found) == ("${variables.v}" in texts)

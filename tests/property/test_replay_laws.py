"""Laws of replay: what was recorded comes out the same, whatever a mission did, and a kill makes no difference."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import EffectError
from gateway.replay.outcome import StepOutcome, Verdict
from tests.depth import times
from tests.placed import rewrite
from tests.replay_worlds import replay
from tests.virtual_time import VirtualTimeLoop, run
from tests.worlds import World, mission, step, write

POST = {"op": "http.request", "args": {"url": "https://example.com/", "method": "POST"}}
SLEEP = {"op": "timer.sleep", "args": {"ms": 5}}
CALLS = st.sampled_from([write("a.txt"), write("b.txt"), POST])
BATCHES = st.lists(st.lists(CALLS, min_size=1, max_size=3), max_size=3)
ERROR = {"code": "acting.no", "message": "no", "retryable": True}


@st.composite
def missions(draw: Any) -> dict[str, Any]:
    """Draw up to five steps: effects in batches, references, items, conditions, retries, failures."""
    steps: list[dict[str, Any]] = []
    for at in range(draw(st.integers(1, 5))):
        before = [each["id"] for each in steps]
        fields: dict[str, Any] = {}
        depends = draw(st.lists(st.sampled_from(before), unique=True, max_size=2)) if before else []
        value: Any = draw(st.sampled_from([1, "text", None, {"k": [1.5, "x"]}, "${variables.v}"]))
        if depends and draw(st.booleans()):
            value = f"${{steps.{depends[0]}.output}}"
        if draw(st.booleans()):
            fields["continue_on_error"] = True
        if draw(st.integers(0, 3)) == 0:
            fields["foreach"] = {"items": draw(st.lists(st.integers(0, 9), max_size=3))}
            value = [value, "${item}"]
        if draw(st.integers(0, 3)) == 0:
            fields["retry"] = {"max_attempts": 2, "base_ms": 1}
            fields["idempotent"] = True
        if depends and draw(st.integers(0, 3)) == 0:
            fields["when"] = {"exists": [f"${{steps.{depends[0]}.output.k}}"]}
        if draw(st.integers(0, 4)) == 0:
            fields["error"] = ERROR
        kind = draw(st.sampled_from(["pure", "acting", "sleeping"]))
        if kind == "acting":
            fields["batches"] = draw(BATCHES)
        elif kind == "sleeping":
            fields["batches"] = [[SLEEP, write("c.txt")]]
        steps.append(step(f"s{at}", *depends, kind=kind, output=value, **fields))
    return mission(*steps, variables={"v": {"w": 1}}, config={"fail_fast": False})


def failing(at: int, *, in_doubt: bool) -> tuple[int, EffectError]:
    return at, EffectError("it failed", code="effect.connect_failed", in_doubt=in_doubt)


FAILURES = st.lists(st.builds(failing, st.integers(0, 8), in_doubt=st.booleans()), max_size=3)


def judged(outcomes: list[StepOutcome]) -> Counter[str]:
    """Return the counts of the verdicts; none differs, and of the rest the reason is that it never ran."""
    assert [each for each in outcomes if each.verdict is Verdict.DIFFERS] == []
    rest = [each.message for each in outcomes if each.verdict is Verdict.NOT_REPRODUCIBLE]
    assert all(message.startswith("it never ran") for message in rest), rest
    return Counter(each.verdict.value for each in outcomes)


@settings(max_examples=times(50, 200))
@given(form=missions(), failures=FAILURES, rewritten=st.booleans(), fuel=st.sampled_from([1, 30_000_000]))
def test_a_recorded_mission_is_the_same(
    form: dict[str, Any], failures: list[tuple[int, EffectError]], *, rewritten: bool, fuel: int
) -> None:
    """With failing effects, doubts, retries, rewrites of inputs and outputs, and fuel that runs out between rounds."""

    async def main() -> None:
        placed = (rewrite("inputs", "parameters"), rewrite("outputs", "output")) if rewritten else ()
        world = World(placed=placed)
        world.sandbox.fuel_used = fuel
        world.sandbox.hooks["inputs@1.0.0"] = lambda asked: {"parameters": {**asked["parameters"], "seen": 1}}
        world.sandbox.hooks["outputs@1.0.0"] = lambda asked: {"output": {"was": asked["output"], "seed": asked["seed"]}}
        for at, error in failures:
            world.faults.put("effects.perform", error, at)
        view = await world.run(form)
        outcomes = await replay(world, view.mission_id)
        counts = judged(outcomes)
        assert counts.total() == len(form["steps"])

    run(main())


@pytest.mark.parametrize("repeatable", [False, True])
def test_a_kill_makes_no_difference(*, repeatable: bool) -> None:
    """At every turn of the loop: what the next gateway brings to its end is never said to differ.

    In `make test` at every fourth turn.
    """
    form = mission(
        step("a", kind="acting", batches=[[write("a"), POST], [write("b")]], output={"k": 1}, continue_on_error=True),
        step("b", "a", kind="acting", batches=[[POST]], foreach={"items": [1, 2]}, output="${item}"),
        step("c", "b", output="${steps.b.output}"),
        config={"fail_fast": False},
    )
    snapshots: list[tuple[Any, ...]] = []
    world = World()

    def snap() -> None:
        snapshots.append((world.log.events[: world.log.size], world.store.connection.serialize()))

    async def first() -> None:
        await world.run(form)

    loop = VirtualTimeLoop()
    loop.acts = dict.fromkeys(range(1, 1_000), snap)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(first())
    seen: Counter[str] = Counter()

    async def restart(events: list[Any], database: bytes) -> None:
        after = World()
        after.performer.is_repeatable = repeatable
        after.log.events, after.log.size = list(events), len(events)
        after.store.connection.deserialize(database)
        recovered = await after.desk.recover()
        await after.settled()
        for mission_id in recovered.resumed:
            outcomes = await replay(after, mission_id)
            assert [each for each in outcomes if each.verdict is Verdict.DIFFERS] == []
            seen.update(each.verdict.value for each in outcomes)

    assert len(snapshots) > 20
    for events, database in snapshots[:: times(4, 1)]:
        run(restart(events, database))
    assert seen["same"] > seen["not_reproducible"]

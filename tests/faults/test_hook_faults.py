"""Hooks in the pipeline, when things go wrong around them: no place fails open, but where policy data says so."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from engine.errors import FaultError, RefusalError
from engine.result import MissionState
from gateway.errors import SandboxError
from tests.placed import observer, rewrite, screen
from tests.virtual_time import run
from tests.worlds import World, hang, mission, step, write

MISSION = mission(
    step("a", kind="acting", batches=[[write("a")]], output={"n": 1}),
    step("b", "a", output="${steps.a.output}"),
    config={"parallel_limit": 1},
)
ERRORS: dict[str, Callable[[], BaseException]] = {
    "limit": lambda: SandboxError("spent", code="constraint.cpu_exceeded"),
    "crash": lambda: SandboxError("gone", code="sandbox.crashed"),
    "overload": lambda: SandboxError("busy", code="sandbox.unavailable"),
    "refusal": lambda: RefusalError("no"),
    "fault": lambda: FaultError("cannot say"),
    "bug": lambda: RuntimeError("a bug, with a secret in its text"),
    "timeout": lambda: TimeoutError("late"),
    "key": lambda: KeyError("secret"),
    "cancelled": asyncio.CancelledError,
}
SANDBOX = {"limit", "crash", "overload"}
PLACES = ["hook.screen.mission", "hook.screen.step", "hook.rewrite.parameters", "hook.rewrite.output"]
OBSERVED = ["hook.observe.mission", "hook.observe.step", "hook.observe.output"]


def echo(document: Any) -> Any:
    if document["kind"] == "screen":
        return {"verdict": "allow"}
    return {document["at"]: document[document["at"]]} if document["kind"] == "rewrite" else {}


def world_of(on_violation: str = "closed", retries: int = 0) -> World:
    """Return a world with a hook in every place."""
    fields = {"on_violation": on_violation, "retries": retries}
    world = World(
        placed=(
            *(screen(f"s_{at}", at, **fields) for at in ("mission", "step")),
            *(rewrite(f"r_{at}", at, **fields) for at in ("parameters", "output")),
            *(observer(f"o_{at}", at) for at in ("mission", "step", "output")),
        )
    )
    world.sandbox.hooks = dict.fromkeys((placed.hook.key for placed in world.placed), echo)
    return world


async def outcome(world: World) -> Any:
    """Run the mission; return its view, or the error that its submission ended with."""
    try:
        return await world.run(MISSION)
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - it is what is looked at
        return error
    finally:
        await world.observers.close(1)


@pytest.mark.parametrize("on_violation", ["closed", "open"])
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("place", PLACES)
def test_no_place_fails_open_but_a_screen_of_a_profile_that_does(place: str, error: str, on_violation: str) -> None:
    """A screen that broke a limit or crashed abstains where its profile is open; everything else is a no.

    Bugs of the gateway itself and faults around the sandbox are none of the screen's failures, and never pass.
    """
    world = world_of(on_violation)
    world.faults.put(place, ERRORS[error]())
    found = run(outcome(world))
    opens = on_violation == "open" and error in SANDBOX and place.startswith("hook.screen")
    assert (getattr(found, "state", None) is MissionState.COMPLETED) is opens
    assert bool(world.log.of("hook.failed_open")) is opens
    if not opens and place in {"hook.screen.mission", "hook.screen.step", "hook.rewrite.parameters"}:
        assert world.sandbox.runs == []
        assert world.performer.performed == []
    assert "secret" not in str(world.log.events)
    world.laws_hold()


@pytest.mark.parametrize("place", PLACES)
def test_a_fault_of_any_call_fails_that_call(place: str) -> None:
    """The n-th call of a place fails, for every n: what has happened before stands, and nothing after it is done."""
    nth = 0
    while True:
        world = world_of()
        world.faults.put(place, SandboxError("spent", code="constraint.cpu_exceeded"), nth)
        found = run(outcome(world))
        world.laws_hold()
        if world.faults.calls[place] <= nth:
            break
        assert getattr(found, "state", None) is not MissionState.COMPLETED
        nth += 1
    assert nth == (1 if place == "hook.screen.mission" else 2)


@pytest.mark.parametrize("place", PLACES)
def test_a_hook_that_hangs_can_be_stopped(place: str) -> None:
    """Closing the desk, or cancelling the call, ends it; nothing is done afterwards."""

    async def main() -> None:
        world = world_of()
        world.faults.put(place, hang, 0)
        submitting = asyncio.create_task(world.submit(MISSION))
        await asyncio.sleep(1)
        if not submitting.done():
            submitting.cancel()
            for call in world.desk._calls._tasks:
                call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await submitting
            assert world.sandbox.runs == []
        await world.desk.close(drain_seconds=1)
        assert world.desk.running == 0
        runs = len(world.sandbox.runs)
        await asyncio.sleep(10)
        assert len(world.sandbox.runs) == runs
        world.laws_hold()

    run(main())


@pytest.mark.parametrize("place", OBSERVED)
@pytest.mark.parametrize("error", [*ERRORS, "hangs"])
def test_an_observer_takes_nothing_with_it(place: str, error: str) -> None:
    """Whatever becomes of its runs, missions end as they would without it."""
    world = world_of()
    world.faults.put(place, hang if error == "hangs" else ERRORS[error]())
    found = run(outcome(world))
    assert found.state is MissionState.COMPLETED
    assert len(world.sandbox.runs) == 3
    world.laws_hold()


@pytest.mark.parametrize("kind", ["hook.failed_open", "step.output_rewritten"])
def test_a_log_that_does_not_take_an_event_of_a_hook(kind: str) -> None:
    """A failure that was open costs its count and no more; an output that cannot be told of is not let through."""
    world = world_of("open")
    if kind == "hook.failed_open":
        world.faults.put("hook.screen.step", SandboxError("spent", code="constraint.cpu_exceeded"))
    world.faults.put(f"audit.append:{kind}", FaultError("full"))
    found = run(outcome(world))
    assert (found.state is MissionState.COMPLETED) is (kind == "hook.failed_open")


def test_a_killed_gateway_goes_on_with_the_rewritten_output() -> None:
    """What is stored is what was rewritten: the next start gives it to dependents, and runs no module for it again."""

    async def main() -> None:
        world = world_of()
        world.sandbox.hooks["r_output@1.0.0"] = lambda _: {"output": {"rewritten": True}}
        world.faults.put("policy.step", hang, 1)  # of the second step
        await world.submit(MISSION)
        await asyncio.sleep(5)
        assert [len(world.store.results_of(mission_id)) for mission_id in world.store.missions] == [1]
        world.faults.plan.clear()
        runs = len(world.sandbox.runs)
        world.open_desk()
        await world.desk.recover()
        await world.settled()
        [record] = world.store.missions.values()
        outputs = {result.step_id: result.output for result in world.store.results_of(record.id)}
        assert outputs == {"a": {"rewritten": True}, "b": {"rewritten": True}}
        [(_, document, _)] = world.sandbox.runs[runs:]
        assert document["parameters"]["output"] == {"rewritten": True}
        assert len([key for key, _, _ in world.sandbox.hook_runs if key == "s_mission@1.0.0"]) == 2

    run(main())

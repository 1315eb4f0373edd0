"""Quotas never leak: a submission that is given up, refused or fails, at any moment, leaves nothing counted."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import orjson
import pytest

from engine.errors import EngineError
from gateway.errors import DeadlineError, PolicyDeniedError, Reason, StoreError
from gateway.limits_config import LimitsConfig
from tests.virtual_time import VirtualTimeLoop
from tests.worlds import ANN, World, laws_hold, mission, step

FORM = mission(step("a"), step("b", "a"))
NOTHING = {"missions": 0, "steps": 0, "principals": 0, "tenants": 0}
TURNS_MAX = 400


def assert_nothing_is_left(world: World) -> None:
    assert world.quotas.document() == NOTHING
    assert world.quotas.used(("acme", "ann")) == (0, 0, 0, 0)
    assert (world.ground.slots.held, world.ground.slots._tenants) == (0, {})
    assert world.desk._floor._starting == 0


def submitted(world: World, at: int, act: Callable[[asyncio.Task[Any]], object]) -> bool:
    """Submit, with `act` before turn `at` of the loop, and see the end of all; return whether that turn came."""
    loop, came = VirtualTimeLoop(), []

    async def story() -> None:
        calling = asyncio.create_task(world.submit(FORM))

        def interfere() -> None:
            if not calling.done():
                came.append(at)
                act(calling)

        loop.acts = {at: interfere}
        await asyncio.wait([calling])
        loop.acts = {}
        if not calling.cancelled():
            calling.exception()
        await world.desk._calls.settled()
        await world.settled()

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(story())
    return bool(came)


def test_a_call_that_is_cancelled_at_any_turn_of_the_loop() -> None:
    """What it has set going goes on to its end; where nothing was, nothing is counted."""
    turns = 0
    for at in range(1, TURNS_MAX):
        world = World()
        came = submitted(world, at, lambda calling: calling.cancel())
        assert_nothing_is_left(world)
        laws_hold(world.log.events)
        turns += came
        if turns and not came:
            break
    assert turns > 5


def test_work_that_is_cancelled_inside_of_a_call_at_any_turn() -> None:
    """The task that admits, not only its caller: as if the process stopped in the middle."""
    turns = 0
    for at in range(1, TURNS_MAX):
        world = World()

        def act(_calling: Any, world: World = world) -> None:
            for task in tuple(world.desk._calls._tasks):
                task.cancel()

        came = submitted(world, at, act)
        assert_nothing_is_left(world)
        turns += came
        if turns and not came:
            break
    assert turns > 5


@pytest.mark.parametrize("seconds", [0.0, 0.5, 1.5, 2.0, 2.5, 3.5, 9.0])
def test_a_deadline_at_any_moment_admits_or_leaves_nothing(seconds: float) -> None:
    """Before the admission it is refused, after it the mission runs to its end: never half of both."""

    async def story(world: World) -> None:
        for point in ("policy.mission", "store.create", "audit.durable:mission.admitted"):
            world.faults.put(point, lambda: asyncio.sleep(1))
        until = asyncio.get_running_loop().time() + seconds
        submitting = world.desk.submit(ANN, orjson.dumps(FORM), "r", until=until)
        [outcome] = await asyncio.gather(submitting, return_exceptions=True)
        assert isinstance(outcome, DeadlineError) == (seconds < 1.5)
        assert bool(world.store.missions) == (seconds >= 1.5)
        await world.settled()
        assert all(record.ended_at is not None for record in world.store.missions.values())

    world = World()
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(story(world))
    assert_nothing_is_left(world)


@pytest.mark.parametrize(
    ("point", "fault"),
    [
        ("policy.mission", PolicyDeniedError([Reason("site.no", "no")])),
        ("store.find", StoreError("gone")),
        ("store.create", StoreError("gone")),
        ("store.mark", StoreError("gone")),
        ("store.finish", StoreError("gone")),
        ("audit.append:mission.admitted", StoreError("gone")),
        ("audit.durable:mission.admitted", StoreError("gone")),
        ("audit.durable:mission.ended", StoreError("gone")),
    ],
)
def test_a_fault_at_any_port_leaves_nothing_counted(point: str, fault: Exception) -> None:
    """The next submission finds all the room that there was, though there is room for one only."""
    one = {"missions_running_max": 1, "steps_submitted_max": 2}

    async def story(world: World) -> None:
        world.faults.put(point, fault, 0)
        with suppress(EngineError):
            await world.submit(FORM)
        await world.settled()
        assert_nothing_is_left(world)
        world.faults.plan.clear()
        await world.submit(FORM, "again")
        await world.settled()

    allowances = LimitsConfig.model_validate({"principal": one, "tenant": one}).allowances()
    world = World(allowances=allowances)
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(story(world))
    assert_nothing_is_left(world)

"""Quotas of missions, steps and stored bytes, and deadlines of submissions, where missions begin."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from engine.result import MissionState
from gateway.errors import DeadlineError, LimitedError
from gateway.limits.amounts import Allowances
from gateway.limits_config import LimitsConfig
from tests import virtual_time
from tests.worlds import ANN, BOB, EVE, World, hang, mission, step

NOTHING = {"missions": 0, "steps": 0, "principals": 0, "tenants": 0}
ONE = mission(step("a"))
INNER = mission(step("inner"))
NESTING = mission(step("outer", kind="nesting", batches=[[{"op": "mission.run", "args": {"mission": INNER}}]]))


def allowances(**tables: Any) -> Allowances:
    return LimitsConfig.model_validate(tables).allowances()


def run(story: Callable[[World], Awaitable[None]], **settings: Any) -> World:
    """Run a story in a new world, in virtual time, and check the laws of its log, and that nothing is left."""
    world = World(**settings)
    virtual_time.run(story(world))
    world.laws_hold()
    assert world.quotas.document() == NOTHING
    assert (world.ground.slots.held, world.ground.slots._tenants) == (0, {})
    return world


async def refused(call: Awaitable[Any]) -> LimitedError:
    with pytest.raises(LimitedError) as caught:
        await call
    return caught.value


def test_a_principal_at_its_quota_is_refused_under_a_checkpoint_and_others_are_not() -> None:
    """The end of a mission makes room; so does its cancellation."""

    async def story(world: World) -> None:
        world.faults.put("sandbox.run", hang)
        first = await world.submit(ONE, "one")
        error = await refused(world.submit(ONE, "two"))
        assert (error.code, error.limit) == ("limits.missions", "principal.missions_running_max")
        [event] = world.log.of("mission.refused")
        assert (event.details["code"], event.seq < world.log.size) == ("limits.missions", True)
        await world.submit(ONE, "two", BOB)
        assert (await refused(world.submit(ONE, "three", BOB))).limit == "principal.missions_running_max"
        await world.submit(ONE, "four", EVE)
        await world.desk.cancel(ANN, first.mission_id, "")
        again = await world.submit(ONE, "two")
        assert world.store.missions[again.mission_id].ended_at is None
        await world.desk.close(0)

    run(story, allowances=allowances(principal={"missions_running_max": 1}))


def test_submissions_at_once_do_not_slip_past_a_quota() -> None:
    """Places are held while policy thinks."""

    async def story(world: World) -> None:
        world.faults.put("policy.mission", lambda: asyncio.sleep(1))
        outcomes = await asyncio.gather(*(world.submit(ONE, f"r{n}") for n in range(10)), return_exceptions=True)
        assert sum(isinstance(outcome, LimitedError) for outcome in outcomes) == 7
        await world.settled()

    run(story, allowances=allowances(tenant={"missions_running_max": 3}))


def test_a_mission_that_is_begun_anew_needs_room_as_well() -> None:
    """For who has submitted it, not for who asks; it stays as it ended."""

    async def story(world: World) -> None:
        world.faults.put("sandbox.run", RuntimeError("broken"), 0)
        failed = await world.run(ONE, "failed")
        assert failed.state is MissionState.FAILED
        world.faults.put("sandbox.run", hang)
        other = await world.submit(ONE, "other")
        retry = world.desk.retry(BOB, failed.mission_id, repeat_in_doubt=False)
        assert (await refused(retry)).limit == "principal.missions_running_max"
        await world.desk.cancel(ANN, other.mission_id, "")
        world.faults.plan.clear()
        await world.desk.retry(BOB, failed.mission_id, repeat_in_doubt=False)
        await world.settled()
        assert world.store.missions[failed.mission_id].state is MissionState.COMPLETED

    run(story, allowances=allowances(principal={"missions_running_max": 1}))


def test_a_part_of_a_mission_is_counted_and_not_refused() -> None:
    """What runs is not broken by a quota that its own whole has used up."""

    async def story(world: World) -> None:
        view = await world.run(NESTING)
        assert view.state is MissionState.COMPLETED
        assert len(world.store.missions) == 2

    one = {"missions_running_max": 1, "steps_submitted_max": 1}
    run(story, allowances=allowances(principal=one, tenant=one))


def test_what_an_earlier_process_left_counts_from_the_start() -> None:
    """A restart is no way to have more, and does not refuse what was admitted, also under lower quotas."""

    async def story(world: World) -> None:
        world.faults.put("sandbox.run", hang)
        for name in ("one", "two"):
            await world.submit(ONE, name)
        await world.desk.close(0)
        world.allowances = allowances(principal={"missions_running_max": 1})
        world.open_desk()
        await world.desk.recover()
        assert world.quotas.used(("acme", "ann")) == (2, 2, 2, 2)
        await refused(world.submit(ONE, "three"))
        await world.desk.close(0)

    run(story)


def test_stored_bytes_are_asked_about_where_a_mission_begins() -> None:
    """Of the principal and of the tenant, files of what runs included; erasing makes room."""

    async def story(world: World) -> None:
        form = mission(step("a", output={"x": "y" * 4_000}))
        first = await world.submit(form, "first")
        await world.settled()
        error = await refused(world.submit(ONE, "second"))
        assert (error.code, error.limit, error.value) == ("limits.stored_bytes", "principal.stored_bytes_max", 9_000)
        await world.desk.erase(ANN, first.mission_id, "")
        second = await world.submit(ONE, "second")
        await world.settled()
        world.faults.put("sandbox.run", hang)
        third = await world.submit(ONE, "third", BOB)
        await asyncio.sleep(2)
        world.workspaces.made[third.mission_id].held_bytes = 50_000
        await asyncio.sleep(2)
        error = await refused(world.submit(ONE, "fourth", EVE_IN_ACME))
        assert error.limit == "tenant.stored_bytes_max"
        await world.desk.cancel(BOB, third.mission_id, "")
        assert (await world.store.stored_bytes(("acme", "bob"))).principal > 50_000
        assert world.store.missions[second.mission_id].state is MissionState.COMPLETED

    limits = allowances(principal={"stored_bytes_max": 9_000}, tenant={"stored_bytes_max": 40_000})
    run(story, allowances=limits)


EVE_IN_ACME = type(ANN)(subject="eve", tenant="acme", roles=ANN.roles, known_as=EVE.known_as)


@pytest.mark.parametrize("table", ["principal", "tenant"])
def test_steps_that_run_at_once_are_bounded_and_wait_their_turn(table: str) -> None:
    """Nothing is refused: the others wait, and another tenant's do not."""
    most: dict[str, int] = {}
    running = SimpleNamespace(ours=0)

    async def work() -> None:
        running.ours += 1
        most["ours"] = max(most.get("ours", 0), running.ours)
        await asyncio.sleep(1)
        running.ours -= 1

    async def story(world: World) -> None:
        world.faults.put("sandbox.run", work)
        began = asyncio.get_running_loop().time()
        await world.submit(mission(*(step(f"s{n}") for n in range(6))))
        await world.settled()
        assert asyncio.get_running_loop().time() - began >= 3
        assert most == {"ours": 2}

    run(story, allowances=allowances(**{table: {"steps_running_max": 2}}))


@pytest.mark.parametrize("stage", ["policy.mission", "turn"])
def test_what_nobody_waits_for_any_more_is_not_admitted(stage: str) -> None:
    """The call's deadline ends the wait for policy, or for another request of the same id; the log has why."""

    async def story(world: World) -> None:
        world.faults.put("policy.mission", lambda: asyncio.sleep(10))
        loop = asyncio.get_running_loop()
        first = asyncio.ensure_future(world.submit(ONE, "r")) if stage == "turn" else None
        await asyncio.sleep(0.1)
        with pytest.raises(DeadlineError) as caught:
            await world.desk.submit(ANN, orjson.dumps(ONE), "r", until=loop.time() + 3)
        assert loop.time() == pytest.approx(3.1)
        assert caught.value.code == "call.deadline_exceeded"
        assert world.log.of("mission.refused")[-1].details["code"] == "call.deadline_exceeded"
        if first is not None:
            await first
        await world.settled()
        assert len(world.store.missions) == int(stage == "turn")

    run(story)


def test_what_was_admitted_is_not_cancelled_by_a_deadline() -> None:
    """From the moment at which it is in the store it goes on, however long the log takes and the mission runs."""

    async def story(world: World) -> None:
        world.faults.put("audit.durable:mission.admitted", lambda: asyncio.sleep(10))
        world.faults.put("sandbox.run", lambda: asyncio.sleep(100))
        until = asyncio.get_running_loop().time() + 1
        submission = await world.desk.submit(ANN, orjson.dumps(ONE), "r", until=until)
        await world.settled()
        assert world.store.missions[submission.mission_id].state is MissionState.COMPLETED

    run(story)

"""A mission that uses everything, stopped and killed at every turn of the loop: nothing is lost, or left over.

It has a step that is tried again, a fan-out with effects, an approval in the middle of a batch, a sub-mission, and a
concurrency key that another mission waits for. In one of its forms policy wants people to agree to all of that too.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from engine.errors import RefusalError, SuspendedError
from engine.result import MissionState
from gateway.identity import Principal
from gateway.policy.obligations import ApprovalDemand
from tests.depth import times
from tests.subjects import known
from tests.virtual_time import VirtualTimeLoop
from tests.worlds import ANN, YES, World, laws_hold, mission, scripted, step, write

LEE = known(Principal(subject="lee", tenant="acme", roles=("approver",)))
ASK = {"op": "approval.request", "args": {"message": "Go?"}}
INNER = mission(step("inner", kind="acting", batches=[[write("inner")]]), step("last", "inner"))
KEYED = {"concurrency_key": "deploy", "parallel_limit": 3}


def everything(retry: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    return mission(
        step("flaky", kind="acting", batches=[[write("flaky")]], retry=retry),
        step(
            "each", kind="acting", batches=[[write("${item}"), write("x${item}")]], foreach={"items": ["p", "q", "r"]}
        ),
        step("asks", kind="guarded", batches=[[write("one"), ASK, write("two")]]),
        step("outer", "flaky", kind="nesting", batches=[[{"op": "mission.run", "args": {"mission": INNER}}]]),
        step("all", "each", "asks", "outer", output={"n": 1}),
        config=config,
    )


LEVELS = {"strategy": "levels", "supervision": {"strategy": "one_for_all", "max_restarts": 5, "within_seconds": 60}}
FORMS = {
    "parallel": everything({"max_attempts": 3, "base_ms": 10}, KEYED),
    "levels anew": everything({"max_attempts": 1}, {**KEYED, **LEVELS}),
    "people": everything({"max_attempts": 3, "base_ms": 10}, KEYED),
}
SECOND = mission(step("second"), config=KEYED)
PATHS = {"flaky", "p", "q", "r", "xp", "xq", "xr", "one", "two", "inner"}


def new_world(form: str) -> World:
    """Return a world in which a step fails once after its effect; a level that is begun anew needs effects that may be.

    A step of that level is recalled in the middle of whatever it does, and would be in doubt.
    """
    world = World(steps_running_max=2)
    world.performer.is_repeatable = form == "levels anew"
    failed: list[str] = []
    if form == "people":
        wanted = replace(YES, require_approval=ApprovalDemand())
        world.policy.answers = {
            "mission": lambda asked: wanted if asked["mission"]["steps"][0]["id"] in {"flaky", "inner"} else YES,
            "step": lambda asked: wanted if asked["step"]["id"] in {"flaky", "asks", "each", "last"} else YES,
            "effect": lambda asked: wanted if asked["effect"]["index"] == 1 else YES,
        }

    def answer(asked: Mapping[str, Any]) -> Any:
        if asked["step"]["id"] == "flaky" and asked["journal"] and not failed:
            failed.append("flaky")
            return {"error": {"code": "site.flaky", "message": "once", "retryable": True}}
        return scripted(asked)

    world.sandbox.answer = answer
    return world


async def approving(world: World) -> None:
    """Say yes to whatever is asked."""
    while True:
        for asked in await world.desk.list_approvals(LEE, None, pending_only=True):
            try:
                await world.desk.decide_approval(
                    LEE, asked.mission_id, asked.approval_id, approve=True, digest=asked.digest, comment=""
                )
            except RefusalError:
                continue  # its mission has ended meanwhile
        await asyncio.sleep(0.5)


async def finished(world: World, *, seconds: float = 60.0) -> None:
    """Return when everything has ended; somebody approves what is asked."""
    person = asyncio.create_task(approving(world))
    try:
        async with asyncio.timeout(seconds):
            while world.desk.running:
                await world.settled()
                await asyncio.sleep(0)
    finally:
        person.cancel()
        await asyncio.wait([person])


def assert_nothing_is_left(world: World) -> None:
    assert all(record.ended_at is not None for record in world.store.missions.values())
    assert not any(record.paused for record in world.store.missions.values())
    assert world.store.connection.execute("SELECT id FROM approvals WHERE state = 'pending'").fetchall() == []
    assert (world.ground.slots.held, world.ground.slots._members) == (0, 0)
    assert world.ground.slots._tenants == {}
    assert world.quotas.document() == {"missions": 0, "steps": 0, "principals": 0, "tenants": 0}
    kept = world.store.connection.execute("SELECT tenant, submitter, bytes FROM stored_bytes").fetchall()
    anew = world.store.connection.execute("SELECT tenant, submitter, sum(bytes) FROM mission_bytes GROUP BY 1, 2")
    assert list(map(tuple, kept)) == list(map(tuple, anew))
    assert world.ground.keys._queues == {}
    assert all(space.closed for space in world.workspaces.made.values())
    assert world.approvals._waiters == {}
    assert world.approvals._asking == set()
    assert world.children._cancelling == {}


def run(main: Awaitable[None], acts: Mapping[int, Callable[[], object]] | None = None) -> VirtualTimeLoop:
    loop = VirtualTimeLoop()
    loop.acts = dict(acts or {})
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main)
    assert loop.complaints == []
    return loop


async def both(world: World, form: str) -> None:
    await world.submit(FORMS[form], "first")
    await world.submit(SECOND, "second")


def turns(form: str) -> int:
    """Return how often the loop turns until both missions have ended as they should."""
    seen = 0

    async def main() -> None:
        nonlocal seen
        world = new_world(form)
        await both(world, form)
        await finished(world)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        seen = loop.iterations
        assert {record.state for record in world.store.missions.values()} == {MissionState.COMPLETED}
        assert {request.args["path"] for request in world.performer.performed} == PATHS
        assert len(world.performer.performed) == len(PATHS)
        world.laws_hold()
        assert_nothing_is_left(world)

    run(main())
    return seen


async def guarded(work: Awaitable[object]) -> None:
    try:
        await work
    except (RefusalError, SuspendedError):
        return  # it had not begun, has ended, or is left to the next start


async def paused_for_a_while(world: World, mission_id: str) -> None:
    await world.desk.pause(ANN, mission_id, "")
    await asyncio.sleep(1)
    await world.desk.resume(ANN, mission_id)


async def cancelled_and_retried(world: World, mission_id: str) -> None:
    await world.desk.cancel(ANN, mission_id, "")
    await world.desk.retry(ANN, mission_id, repeat_in_doubt=True)


DISTURBANCES: dict[str, Callable[[World], list[Awaitable[object]]]] = {
    "cancel": lambda world: [world.desk.cancel(ANN, m, "stop") for m in world.store.missions],
    "cancel the whole": lambda world: [world.desk.cancel(ANN, m, "stop") for m in list(world.store.missions)[:1]],
    "cancel and retry": lambda world: [cancelled_and_retried(world, m) for m in list(world.store.missions)[:1]],
    "pause": lambda world: [paused_for_a_while(world, m) for m in list(world.store.missions)[:1]],
    "close": lambda world: [world.desk.close(0)],
    "close slowly": lambda world: [world.desk.close(5)],
}


DISTURBED = {
    "parallel": tuple(DISTURBANCES),
    "levels anew": ("cancel the whole", "close"),
    "people": ("cancel and retry", "pause", "close"),
}


def moments(name: str, form: str) -> range:
    """Return the turns at which to disturb: of each form a ninth, others for each disturbance; in `make fuzz`, all."""
    every = times(9, 1)
    first = 4 * DISTURBED[form].index(name) % every
    return range(1 + first, turns(form) + 1, every)


@pytest.mark.parametrize(("name", "form"), [(name, form) for form, names in DISTURBED.items() for name in names])
def test_disturbed_at_every_turn(name: str, form: str) -> None:
    """Every mission ends, in this process or the next, every law holds, and nothing is held on to."""
    states: Counter[MissionState] = Counter()
    for moment in moments(name, form):
        world = new_world(form)
        disturbing: list[asyncio.Task[None]] = []

        def act(world: World = world, disturbing: list[asyncio.Task[None]] = disturbing) -> None:
            disturbing += [asyncio.ensure_future(guarded(work)) for work in DISTURBANCES[name](world)]

        async def main(world: World = world, disturbing: list[asyncio.Task[None]] = disturbing) -> None:
            await guarded(both(world, form))
            person = asyncio.create_task(finished(world))
            await asyncio.wait([person])
            await asyncio.gather(*disturbing)
            await finished(world)
            world.laws_hold()
            if name.startswith("close"):
                world.open_desk()
                await world.desk.recover()
                await finished(world)
                world.laws_hold()
            assert_nothing_is_left(world)
            states.update(record.state for record in world.store.missions.values())
            assert name != "pause" or states.keys() == {MissionState.COMPLETED}
            for key, count in Counter(request.key for request in world.performer.performed).items():
                assert count == 1 or name == "cancel and retry", f"{key} was performed twice"

        run(main(), {moment: act})
    assert states[MissionState.COMPLETED] > 0


@pytest.mark.parametrize("form", FORMS)
def test_killed_at_every_turn(form: str) -> None:
    """A gateway that starts on what is there ends everything: no effect twice, none forgotten, nothing left over."""
    world = new_world(form)
    snapshots: list[tuple[Any, ...]] = []

    def snap() -> None:
        snapshot = (
            world.log.events[: world.log.size],
            world.store.connection.serialize(),
            [request.key for request in world.performer.performed],
        )
        if snapshots[-1:] != [snapshot]:  # a turn that left everything as it was: the same start once more
            snapshots.append(snapshot)

    async def main() -> None:
        await both(world, form)
        await finished(world)

    run(main(), dict.fromkeys(range(1, 2_000), snap))
    states: Counter[MissionState] = Counter()

    async def restart(events: Any, database: bytes, performed: list[str]) -> None:
        after = new_world(form)
        after.log.events, after.log.size = list(events), len(events)
        after.store.connection.deserialize(database)
        settled = {
            row["key"] for row in after.store.connection.execute("SELECT key FROM effects WHERE state = 'performed'")
        }
        assert not (await after.desk.recover()).interrupted
        await finished(after)
        assert_nothing_is_left(after)
        again = [request.key for request in after.performer.performed]
        assert len(again) == len(set(again))
        assert not {*settled, *performed} & set(again)
        doubted = {e.details["key"] for e in after.log.of("effect.failed") if e.details["code"] == "effect.in_doubt"}
        assert set(performed) - settled <= doubted | _kept_in_doubt(after)
        states.update(record.state for record in after.store.missions.values())
        laws_hold(after.log.events, killed=True)

    assert len(snapshots) > 20
    for snapshot in snapshots[:: times(3, 1)]:
        run(restart(*snapshot))
    assert states[MissionState.COMPLETED] > 0


def _kept_in_doubt(world: World) -> set[str]:
    told = [effect for e in world.log.of("mission.effects_kept") for effect in e.details["effects"]]
    return {effect["key"] for effect in told if effect.get("code") == "effect.in_doubt"}

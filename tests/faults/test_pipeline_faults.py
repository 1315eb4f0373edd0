"""No stage fails open: whatever goes wrong, wherever, the caller gets a no, the log has it first, nothing is done."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from engine.audit.errors import AuditOverloadedError, AuditUnavailableError
from engine.errors import FaultError, RefusalError
from engine.result import MissionState
from gateway.errors import Reason, StoreError
from gateway.policy.decision import Decision
from tests.virtual_time import VirtualTimeLoop
from tests.worlds import ANN, BUNDLE, Event, Faults, World, code_of, hang, laws_hold, mission, step, write

MISSION = mission(
    step("a", kind="acting", batches=[[write("a"), write("b")], [write("c")]], output={"n": 1}),
    step("b", "a", output="${steps.a.output}"),
    step("c"),
    config={"parallel_limit": 2},
)

ERRORS: dict[str, Callable[[], BaseException]] = {
    "refusal": lambda: RefusalError("no"),
    "fault": lambda: FaultError("cannot say"),
    "bug": lambda: RuntimeError("a bug, with a secret in its text"),
    "timeout": lambda: TimeoutError("late"),
    "key": lambda: KeyError("secret"),
    "cancelled": asyncio.CancelledError,
}
BEFORE_ADMISSION = ["store.find", "policy.mission", "store.create"]
BEFORE_ANY_RUN = ["store.mark", "workspaces.create", "policy.step", "audit.append:step.allowed"]
BEFORE_ANY_EFFECT = [
    *BEFORE_ANY_RUN,
    "sandbox.run",
    "policy.effect",
    "audit.append:effect.allowed",
    "store.intend",
    "audit.append:effect.intended",
    "audit.durable:effect.intended",
]
AFTER = [
    "effects.perform",
    "store.settle",
    "audit.append:effect.performed",
    "audit.append:step.ended",
    "store.results",
    "store.events",
]
WAITS = [
    point
    for point in [*BEFORE_ADMISSION, "audit.durable:mission.admitted", *BEFORE_ANY_EFFECT, *AFTER]
    if not point.startswith("audit.append") and point != "workspaces.create"
]


def run(main: Awaitable[None], acts: dict[int, Callable[[], object]] | None = None) -> VirtualTimeLoop:
    """Run in virtual time; what the loop would only log is an error."""
    loop = VirtualTimeLoop()
    loop.acts = acts or {}
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main)
    assert loop.complaints == []
    return loop


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("point", BEFORE_ADMISSION)
def test_what_fails_before_admission_is_a_recorded_no(point: str, error: str) -> None:
    """The caller gets the error, the log has the refusal under a checkpoint first, and nothing has run."""

    async def main() -> None:
        world = World()
        fault = ERRORS[error]()
        world.faults.put(point, fault)
        with pytest.raises(type(fault)):
            await world.submit(MISSION)
        assert world.sandbox.runs == []
        assert world.desk.running == 0
        if error != "cancelled":  # a call that was cancelled has no verdict
            [refused] = world.log.of("mission.refused")
            assert refused.seq < world.log.size
            assert refused.details["code"] == code_of(fault)
            assert "secret" not in str(refused)
        world.faults.plan.clear()
        assert (await world.run(MISSION)).state is MissionState.COMPLETED  # the same request id, now that it works
        world.laws_hold()

    run(main())


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("point", [*BEFORE_ANY_EFFECT, *AFTER])
def test_what_fails_in_a_mission_stops_it(point: str, error: str) -> None:
    """The mission does not succeed, says so, keeps the laws, and nothing happens for which its stage was not passed."""

    async def main() -> None:
        world = World()
        world.faults.put(point, ERRORS[error]())
        view = await world.run(MISSION)
        assert view.result is None or view.result["overall_status"] != "Success"
        if point in BEFORE_ANY_RUN:
            assert world.sandbox.runs == []
        if point in BEFORE_ANY_EFFECT:
            assert world.performer.performed == []
        assert "secret" not in str(view) + str(world.log.events)
        if not point.startswith("audit.append:effect"):
            world.laws_hold()
        assert all(space.closed for space in world.workspaces.made.values())

    run(main())


@pytest.mark.parametrize("point", ["policy.step", "policy.effect"])
@pytest.mark.parametrize("error", ["refusal", "fault", "bug", "timeout", "key"])
def test_a_stage_that_cannot_answer_is_recorded_as_a_no(point: str, error: str) -> None:
    """An error of the policy engine is a refusal in the log, with its code and without its text."""

    async def main() -> None:
        world = World()
        fault = ERRORS[error]()
        world.faults.put(point, fault)
        await world.run(MISSION)
        refused = world.log.of(point.removeprefix("policy.") + ".refused")
        assert {e.details["code"] for e in refused} == {code_of(fault)}
        assert world.performer.performed == []

    run(main())


@pytest.mark.parametrize("point", WAITS)
def test_what_hangs_can_be_stopped(point: str) -> None:
    """Wherever a port hangs: closing the desk, or cancelling the call, ends it; every intent has its end."""

    async def main() -> None:
        world = World()
        world.faults.put(point, hang, 0)
        submitting = asyncio.create_task(world.submit(MISSION))
        await asyncio.sleep(1)
        if not submitting.done():
            submitting.cancel()
            for call in world.desk._calls._tasks:
                call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await submitting
            assert world.desk.running == 0
            assert world.sandbox.runs == []
            return
        if point.startswith("store"):  # the store answers in the end, or the process is killed: waiting is right
            return
        await world.desk.close(drain_seconds=1)
        assert world.desk.running == 0
        world.laws_hold()

    run(main())


@pytest.mark.parametrize("kind", ["dies", "overflows", "cannot sync"])
def test_a_log_that_fails_at_any_moment_stops_the_work(kind: str) -> None:
    """The log fails at its n-th call, for every n: nothing is done unrecorded, nothing is acknowledged unrecorded."""

    async def one(nth: int) -> bool:
        world = World()
        point = "audit.durable" if kind == "cannot sync" else "audit.append"

        def fail() -> None:
            if kind == "overflows":
                raise AuditOverloadedError("full")
            world.log.dead = True
            raise AuditUnavailableError("dead")

        world.faults.put(point, fail, nth)
        try:
            view = await world.run(MISSION)
        except FaultError:
            assert world.acknowledged == []
            view = None
        reached = world.faults.calls[point] > nth
        if reached and view is not None:
            assert view.state is not MissionState.COMPLETED
        if world.log.dead:
            runs = len(world.sandbox.runs)
            with pytest.raises(AuditUnavailableError):
                await world.submit(MISSION, "another")
            assert len(world.sandbox.runs) == runs
        elif reached:
            world.faults.plan.clear()
            again = await world.run(MISSION)  # the same request id: what was never acknowledged is started now
            assert again.mission_id in {e.target for e in world.log.of("mission.admitted")}
        return reached

    nth = 0
    while True:
        reached = False

        async def main(n: int = nth) -> None:
            nonlocal reached
            reached = await one(n)

        run(main())
        if not reached:
            break
        nth += 1
    assert nth > 3


@pytest.mark.parametrize("point", ["store.mark", "store.results", "store.events", "store.finish"])
@pytest.mark.parametrize("lasts", [True, False], ids=["for good", "once"])
def test_a_store_that_fails_stops_the_mission_and_the_log_says_so(point: str, lasts: bool) -> None:
    """Progress that cannot be kept ends the mission as Failed, in the log too; nothing more is performed."""

    async def main() -> None:
        world = World()
        world.faults.put(point, StoreError("full", code="store.full"), None if lasts else 0)
        view = await world.run(MISSION)
        [ended] = world.log.of("mission.ended")
        if point != "store.finish":
            assert ended.details["state"] == "Failed"
            assert ended.details["code"] == "store.full"
        if view.result is not None:
            assert view.state is MissionState.FAILED
            assert view.result["error"]["code"] == "store.full"
            assert set(view.result["step_results"]) == {"a", "b", "c"}
        else:  # the next start makes the store agree: it goes on where the store has it
            world.faults.plan.clear()
            world.open_desk()
            assert (await world.desk.recover()).resumed == (view.mission_id,)
            await world.settled()
            assert (await world.desk.get(ANN, view.mission_id)).state is not MissionState.EXECUTING
        world.laws_hold()

    run(main())


def iterations() -> int:
    """Return how often the loop turns for the mission of these tests, its own end left out."""
    turns = 0

    async def main() -> None:
        nonlocal turns
        await World().run(MISSION)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        turns = loop.iterations

    run(main())
    return turns


STOPS: dict[str, Callable[[World], object]] = {
    "cancel": lambda world: [world.desk.cancel(ANN, m, "stop") for m in world.store.missions],
    "close": lambda world: [world.desk.close(0)],
}


@pytest.mark.parametrize("stop", STOPS)
def test_stopping_at_any_moment_keeps_the_laws(stop: str) -> None:
    """A mission is cancelled, or its gateway closed, at every turn of the loop: every law of the log holds."""

    async def guarded(work: Awaitable[object]) -> None:
        try:
            await work
        except RefusalError:
            return  # it had not begun, or has ended

    seen = set()
    for moment in range(1, iterations() + 1):
        world = World()
        stopping: list[asyncio.Task[None]] = []

        def act(world: World = world, stopping: list[asyncio.Task[None]] = stopping) -> None:
            stopping += [asyncio.ensure_future(guarded(work)) for work in STOPS[stop](world)]

        async def main(world: World = world, stopping: list[asyncio.Task[None]] = stopping) -> None:
            try:
                await world.submit(MISSION)
            except RefusalError:
                assert stop == "close"
            await asyncio.gather(*stopping)
            await world.settled()
            world.laws_hold()
            seen.update(record.state for record in world.store.missions.values())
            world.open_desk()  # what was suspended goes on, whatever it was in the middle of
            await world.desk.recover()
            await world.settled()
            world.laws_hold()
            assert all(record.ended_at is not None for record in world.store.missions.values())

        run(main(), {moment: act})
    assert MissionState.COMPLETED in seen
    assert (MissionState.CANCELLED if stop == "cancel" else MissionState.EXECUTING) in seen


@dataclass(frozen=True)
class Snapshot:
    """What a kill leaves, and what callers and the far end know."""

    events: list[Event]  # under a checkpoint
    database: bytes
    acknowledged: frozenset[str]
    performed: frozenset[str]  # keys

    @classmethod
    def of(cls, world: World) -> "Snapshot":
        return cls(
            events=world.log.events[: world.log.size],
            database=world.store.connection.serialize(),
            acknowledged=frozenset(world.acknowledged),
            performed=frozenset(request.key for request in world.performer.performed),
        )

    def world(self, *, repeatable: bool) -> World:
        """Return the world in which the next gateway starts."""
        after = World()
        after.performer.is_repeatable = repeatable
        after.log.events, after.log.size = list(self.events), len(self.events)
        after.store.connection.deserialize(self.database)
        return after


@pytest.mark.parametrize("repeatable", [False, True], ids=["in doubt", "repeatable"])
def test_a_kill_at_any_moment_loses_nothing_and_repeats_nothing(*, repeatable: bool) -> None:
    """At every turn of the loop a snapshot, of the log up to its checkpoint, of the store, of what callers heard.

    A gateway that starts on the snapshot has every acknowledged mission, and ends each. No effect of which the store
    has an outcome is performed again; one that was begun and has none is named as in doubt, or repeated where that
    leaves the world as once would. Steps that have their result are not run again.
    """
    world = World()
    snapshots: list[Snapshot] = []

    async def main() -> None:
        await asyncio.gather(*(world.submit(MISSION, f"r{i}") for i in range(3)))
        await world.settled()

    run(main(), dict.fromkeys(range(1, 2_000), lambda: snapshots.append(Snapshot.of(world))))
    assert len(snapshots) > 30
    endings: Counter[str] = Counter()
    for snapshot in snapshots:
        run(restart(snapshot, endings, repeatable=repeatable))
    assert endings["Completed"] > 3
    assert bool(endings["Failed"]) is not repeatable


async def restart(snapshot: Snapshot, endings: Counter[str], *, repeatable: bool) -> None:
    """Start a gateway on a snapshot, let its missions end, and hold it to what the test claims."""
    after = snapshot.world(repeatable=repeatable)
    known = {m: {r.step_id for r in after.store.results_of(m)} for m in after.store.missions}
    settled = after.store.connection.execute("SELECT key FROM effects WHERE state = 'performed'").fetchall()
    recovered = await after.desk.recover()
    assert not recovered.interrupted
    await after.settled()
    missions = after.store.missions
    assert snapshot.acknowledged <= {e.target for e in after.log.of("mission.admitted")}
    assert snapshot.acknowledged <= set(missions)
    assert snapshot.performed <= {e.details["key"] for e in after.log.of("effect.intended")}
    assert all(record.ended_at is not None for record in missions.values())
    again = [request.key for request in after.performer.performed]
    assert len(again) == len(set(again))
    assert not {row["key"] for row in settled} & set(again)
    assert repeatable or not snapshot.performed & set(again)
    for mission_id in recovered.resumed:
        results = {r.step_id: r for r in after.store.results_of(mission_id)}
        assert set(results) == {"a", "b", "c"}
        decided = [asked for point, asked in after.policy.asked if point == "step"]
        assert not known[mission_id] & {a["step"]["id"] for a in decided if a["mission"]["id"] == mission_id}
        codes = {r.error.code for r in results.values() if r.error is not None}
        assert codes <= {"effect.in_doubt", "mission.fail_fast", "step.dependency_failed"}
        endings[missions[mission_id].state.value] += 1
    laws_hold(after.log.events, killed=True)


def test_a_kill_during_recovery_is_recovered_from() -> None:
    """The log hears of a mission that may not go on before the store ends it; what may go on does so later."""

    async def main() -> None:
        world = World()
        world.faults.put("sandbox.run", hang)
        await world.submit(MISSION)
        await asyncio.sleep(1)
        world.open_desk()
        world.policy.answers["mission"] = Decision(allow=False, bundle=BUNDLE, reasons=(Reason("site.no", "no"),))
        world.faults.put("store.interrupt", StoreError("killed"))
        with pytest.raises(StoreError):
            await world.desk.recover()
        assert len(world.log.of("mission.interrupted")) == 1
        world.faults.plan.clear()
        assert (await world.desk.recover()).interrupted == tuple(world.store.missions)
        assert (await world.desk.recover()).interrupted == ()
        [record] = world.store.missions.values()
        assert record.error is not None
        assert (record.state, record.error.code) == (MissionState.FAILED, "site.no")

    run(main())


def test_faults_are_where_the_tests_think_they_are() -> None:
    """Every point that these tests put a fault at is passed by the mission that they run."""

    async def main() -> None:
        world = World()
        await world.run(MISSION)
        points = {*BEFORE_ADMISSION, *BEFORE_ANY_EFFECT, *AFTER, *WAITS, "store.finish"}
        assert points <= set(world.faults.calls)
        assert isinstance(world.faults, Faults)

    run(main())

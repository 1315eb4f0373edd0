"""A later start of the gateway: missions go on where they were, are decided again, and end where they no longer may."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from engine.errors import FaultError
from engine.result import MissionState
from gateway.errors import Reason
from gateway.missions.earlier import RESUMED, RETRIED, read_earlier
from gateway.missions.views import MissionEvent
from gateway.policy.decision import Decision
from gateway.store.records import NewMission
from tests import virtual_time
from tests.inline_store import InlineStore
from tests.virtual_time import EPOCH
from tests.worlds import ANN, BUNDLE, YES, Faults, StandingClock, World, hang, laws_hold, mission, step, write

ONE = mission(step("a"), step("b", "a"))
NO = Decision(allow=False, bundle=BUNDLE, reasons=(Reason("site.no", "no"),))


def run(story: Callable[[World], Awaitable[None]], **settings: Any) -> World:
    """Run a story in a new world, in virtual time, and check the laws of its log.

    They are checked before the loop ends, which would let the tasks of a killed gateway write their last words.
    """
    world = World(**settings)

    async def main() -> None:
        await story(world)
        laws_hold(world.log.events, killed=True)

    virtual_time.run(main())
    return world


async def killed(world: World, form: Any, *, seconds: float = 1.0, request_id: str = "r") -> str:
    """Submit, and kill the gateway a moment later: a new desk stands on what the store and the log have."""
    mission_id: str = (await world.submit(form, request_id)).mission_id
    await asyncio.sleep(seconds)
    world.faults.plan.clear()
    world.open_desk()
    return mission_id


def hang_second_run(world: World) -> None:
    world.faults.put("sandbox.run", hang, 1)


class TestGoingOn:
    def test_finished_steps_are_not_run_again(self) -> None:
        """The one that had ended keeps its result, the other one runs, and the log says that it went on."""

        async def story(world: World) -> None:
            hang_second_run(world)
            mission_id = await killed(world, ONE)
            assert (await world.desk.recover()).resumed == (mission_id,)
            await world.settled()
            view = await world.desk.get(ANN, mission_id)
            assert view.state is MissionState.COMPLETED
            assert [asked["step"]["id"] for _, asked, _ in world.sandbox.runs] == ["a", "b", "b"]
            [resumed] = world.log.of("mission.resumed")
            assert (resumed.target, resumed.details["kept"]) == (mission_id, 1)
            assert resumed.details["bundle"] == BUNDLE
            assert view.result is not None
            assert view.result["audit_summary"] == {"integrity_verified": True}

        run(story)

    def test_watchers_see_one_story(self) -> None:
        """Events go on without a gap, and whoever comes back with an index misses nothing."""

        async def story(world: World) -> None:
            hang_second_run(world)
            mission_id = await killed(world, ONE)
            await world.desk.recover()
            events = [event async for event in world.desk.watch(ANN, mission_id, 2)]
            assert [event.index for event in events] == list(range(2, 2 + len(events)))
            kinds = [event.kind for event in events]
            assert kinds[-4:] == ["mission.executing", "step.executing", "step.completed", "mission.completed"]
            assert "mission.resumed" in kinds

        run(story)

    def test_a_failure_stays_one_and_stops_the_mission_as_it_did(self) -> None:
        """Killed between a failure and the end that it causes: the failed step is not tried again."""

        async def story(world: World) -> None:
            form = mission(step("a", error={"code": "site.bad", "message": "no"}), step("b", "a"), step("c"))
            world.faults.put("store.finish", FaultError("killed"))
            mission_id = await killed(world, form)
            runs = len(world.sandbox.runs)
            await world.desk.recover()
            await world.settled()
            view = await world.desk.get(ANN, mission_id)
            assert (view.state, len(world.sandbox.runs)) == (MissionState.FAILED, runs)
            assert view.result is not None
            assert view.result["step_results"]["a"]["error"]["code"] == "site.bad"

        run(story)

    def test_a_halted_mission_stays_halted(self) -> None:
        """A violation in a mission that goes on after errors: what ran beside it is not begun again after a kill."""

        async def story(world: World) -> None:
            world.policy.answers["step"] = lambda asked: (
                NO if asked["step"]["id"] == "b" else Decision(allow=True, bundle=BUNDLE)
            )
            world.faults.put("sandbox.run", hang)
            world.faults.put("store.finish", FaultError("killed"))
            form = mission(
                step("a"),
                step("b", when={"exists": ["${variables.x}"]}),
                variables={"x": 1},
                config={"fail_fast": False},
            )
            mission_id = await killed(world, form, seconds=100)
            world.policy.answers.clear()
            runs = len(world.sandbox.runs)
            await world.desk.recover()
            await world.settled()
            view = await world.desk.get(ANN, mission_id)
            assert (view.state, len(world.sandbox.runs)) == (MissionState.FAILED, runs)

        run(story)

    def test_a_cancelled_mission_stays_cancelled(self) -> None:
        """Killed between a cancellation and its end."""

        async def story(world: World) -> None:
            world.faults.put("sandbox.run", hang)
            world.faults.put("store.finish", FaultError("killed"))
            mission_id = (await world.submit(ONE)).mission_id
            await asyncio.sleep(1)
            await world.desk.cancel(ANN, mission_id, "enough")
            world.faults.plan.clear()
            world.open_desk()
            await world.desk.recover()
            await world.settled()
            view = await world.desk.get(ANN, mission_id)
            assert view.state is MissionState.CANCELLED
            assert view.result is not None
            assert view.result["error"] == {"code": "mission.cancelled", "message": "enough"}

        run(story)

    def test_a_paused_mission_stays_paused(self) -> None:
        """A restart starts nothing that somebody has stopped."""

        async def story(world: World) -> None:
            hang_second_run(world)
            mission_id = (await world.submit(ONE)).mission_id
            await world.desk.pause(ANN, mission_id, "wait")
            mission_id = await killed(world, ONE)
            await world.desk.recover()
            await asyncio.sleep(1_000)
            view = await world.desk.get(ANN, mission_id)
            assert (view.state, view.paused) == (MissionState.EXECUTING, True)
            await world.desk.resume(ANN, mission_id)
            await world.settled()
            assert (await world.desk.get(ANN, mission_id)).state is MissionState.COMPLETED

        run(story)

    def test_a_mission_that_nobody_heard_of_goes_on_as_well(self) -> None:
        """Killed between the store and the log: its submitter repeats the request, and finds it running."""

        async def story(world: World) -> None:
            world.faults.put("audit.append:mission.admitted", FaultError("killed"))
            with pytest.raises(FaultError):
                await world.submit(ONE)
            world.faults.plan.clear()
            world.open_desk()
            [mission_id] = (await world.desk.recover()).resumed
            answer = await world.desk.submit(ANN, await world.store.get_document(mission_id), "r")
            assert (answer.mission_id, answer.created) == (mission_id, False)
            await world.settled()
            assert world.store.missions[mission_id].state is MissionState.COMPLETED

        run(story)


class TestNoLonger:
    def test_what_policy_no_longer_allows_ends(self) -> None:
        """It is asked again, about the principal as it was; the end names policy's reason, and every step has one."""

        async def story(world: World) -> None:
            hang_second_run(world)
            mission_id = await killed(world, ONE)
            world.policy.answers["mission"] = NO
            assert (await world.desk.recover()).interrupted == (mission_id,)
            assert world.policy.asked[-1][1]["principal"]["roles"] == ["submitter"]
            view = await world.desk.get(ANN, mission_id)
            assert view.result is not None
            assert view.result["error"]["code"] == "site.no"
            statuses = {name: step["status"] for name, step in view.result["step_results"].items()}
            assert statuses == {"a": "Completed", "b": "Failed"}
            [event] = world.log.of("mission.interrupted")
            assert event.details["reasons"][0]["code"] == "site.no"

        run(story)

    def test_a_step_is_decided_again(self) -> None:
        """What was allowed before the restart may not be after it: the step is refused, and nothing runs."""

        async def story(world: World) -> None:
            world.faults.put("sandbox.run", hang)
            mission_id = await killed(world, ONE)
            world.policy.answers["step"] = NO
            runs = len(world.sandbox.runs)
            await world.desk.recover()
            await world.settled()
            view = await world.desk.get(ANN, mission_id)
            assert (view.state, len(world.sandbox.runs)) == (MissionState.FAILED, runs)

        run(story)

    def test_a_policy_that_cannot_answer_ends_nothing(self) -> None:
        """The gateway does not start, and the next try finds everything."""

        async def story(world: World) -> None:
            world.faults.put("sandbox.run", hang)
            mission_id = await killed(world, ONE)
            world.faults.put("policy.mission", FaultError("down"), world.faults.calls["policy.mission"])
            with pytest.raises(FaultError):
                await world.desk.recover()
            assert (await world.desk.recover()).resumed == (mission_id,)
            await world.settled()
            assert world.store.missions[mission_id].state is MissionState.COMPLETED

        run(story)


class TestEffects:
    def test_a_batch_goes_on_after_what_was_performed(self) -> None:
        """Two effects, killed in the second: the first is told again, the second, repeatable, is performed again."""

        async def story(world: World) -> None:
            world.performer.is_repeatable = True
            world.faults.put("effects.perform", hang, 1)
            form = mission(step("a", kind="acting", batches=[[write("one"), write("two")]], output=1))
            mission_id = await killed(world, form)
            await world.desk.recover()
            await world.settled()
            assert (await world.desk.get(ANN, mission_id)).state is MissionState.COMPLETED
            assert [request.args["path"] for request in world.performer.performed] == ["one", "two"]
            assert len(world.log.of("effect.replayed")) == 1
            first, second = world.sandbox.runs[0][1], world.sandbox.runs[1][1]
            assert (first["now"], first["seed"]) == (second["now"], second["seed"])

        run(story)

    def test_what_nobody_knows_is_named_and_not_repeated(self) -> None:
        """The step is Failed with effect.in_doubt, in the result and in the log."""

        async def story(world: World) -> None:
            world.faults.put("effects.perform", hang, 0)
            mission_id = await killed(world, mission(step("a", kind="acting", batches=[[write()]])))
            await world.desk.recover()
            await world.settled()
            view = await world.desk.get(ANN, mission_id)
            assert view.result is not None
            assert view.result["step_results"]["a"]["error"]["code"] == "effect.in_doubt"
            assert world.performer.performed == []
            assert world.log.of("effect.failed")[-1].details["code"] == "effect.in_doubt"

        run(story)

    def test_a_step_that_says_that_it_may_be_repeated_is(self) -> None:
        """`idempotent` is the client's word that twice is as once."""

        async def story(world: World) -> None:
            world.faults.put("effects.perform", hang, 0)
            await killed(world, mission(step("a", kind="acting", batches=[[write()]], idempotent=True)))
            await world.desk.recover()
            await world.settled()
            assert [request.args["path"] for request in world.performer.performed] == ["a.txt"]

        run(story)


class TestParts:
    CHILD = mission(step("inner"))

    def test_a_sub_mission_is_found_again(self) -> None:
        """Parent and part go on together: one sub-mission, whose inner step is run once more and no oftener."""

        async def story(world: World) -> None:
            world.faults.put("sandbox.run", hang, 1)
            asks = [{"op": "mission.run", "args": {"mission": self.CHILD, "outputs": ["inner"]}}]
            parent = await killed(world, mission(step("outer", kind="nesting", batches=[asks], output=1)))
            assert len((await world.desk.recover()).resumed) == 2
            await world.settled()
            assert len(world.store.missions) == 2
            assert {record.state for record in world.store.missions.values()} == {MissionState.COMPLETED}
            child = next(r for r in world.store.missions.values() if r.id != parent)
            assert (child.parent_id, child.root_id, child.depth) == (parent, parent, 1)

        run(story)

    def test_taint_goes_into_a_part_and_stays_there(self) -> None:
        """What the parent's step may have from a network, every step of its sub-mission may have, restart or not."""

        async def story(world: World) -> None:
            world.faults.put("sandbox.run", hang, 2)
            asks = [{"op": "mission.run", "args": {"mission": self.CHILD}}]
            form = mission(
                step("fetch", kind="posting"),
                step("outer", "fetch", kind="nesting", batches=[asks], from_="${steps.fetch.output}"),
            )
            await killed(world, form)
            await world.desk.recover()
            await world.settled()
            inner = [asked for point, asked in world.policy.asked if point == "step" and asked["step"]["id"] == "inner"]
            assert len(inner) == 2
            assert [asked["taint"] for asked in inner] == [["network"], ["network"]]

        run(story)

    @pytest.mark.parametrize("where", ["admission", "step"])
    def test_a_violation_in_a_part_halts_the_whole(self, where: str) -> None:
        """Whatever the error modes: a client cannot try out, part by part, what policy would let through."""

        async def story(world: World) -> None:
            child = mission(step("inner"), config={"fail_fast": False})
            asks = [{"op": "mission.run", "args": {"mission": child}}]
            outer = step("outer", kind="nesting", batches=[asks], continue_on_error=True)
            if where == "admission":
                world.policy.answers["mission"] = lambda asked: NO if len(asked["mission"]["steps"]) == 1 else YES
            else:
                world.policy.answers["step"] = lambda asked: NO if asked["step"]["id"] == "inner" else YES
            view = await world.run(mission(outer, step("after", "outer"), config={"fail_fast": False}))
            results = view.result["step_results"]
            assert view.state is MissionState.FAILED
            assert results["after"]["error"]["code"] == "mission.halted"
            code = "effect.mission_refused" if where == "admission" else "effect.mission_stopped"
            assert results["outer"]["error"]["code"] == code

        run(story)

    def test_a_part_that_is_given_nothing_has_no_taint(self) -> None:
        """A mission that is written out whole inherits nothing, though running one may bring anything back."""

        async def story(world: World) -> None:
            asks = [{"op": "mission.run", "args": {"mission": self.CHILD}}]
            await world.run(mission(step("outer", kind="nesting", batches=[asks], output=1)))
            taint = {a["step"]["id"]: a["taint"] for point, a in world.policy.asked if point == "step"}
            assert taint == {"outer": ["client", "command", "network", "workspace"], "inner": []}

        run(story)

    def test_a_part_of_what_has_ended_is_cancelled(self) -> None:
        """Killed after the parent's end and before its part's: nobody waits for that any more."""

        async def story(world: World) -> None:
            hang_second_run(world)
            asks = [{"op": "mission.run", "args": {"mission": self.CHILD}}]
            form = mission(step("outer", kind="nesting", batches=[asks], output=1))
            parent = await killed(world, form)
            world.store.connection.execute(
                "UPDATE missions SET state = 'Failed', overall_status = 'Failed', ended_at = created_at WHERE id = ?",
                (parent,),
            )
            [child] = (await world.desk.recover()).resumed
            await world.settled()
            assert world.store.missions[child].state is MissionState.CANCELLED

        run(story)


class TestReading:
    async def events(self, *told: tuple[str, float]) -> InlineStore:
        store = InlineStore(Faults(), StandingClock())
        await store.create_mission(
            NewMission(
                id="m",
                tenant="t",
                submitter="s",
                request_id=None,
                request_digest="d",
                mission_digest="d",
                name="m",
                document=b"{}",
                steps_total=1,
            )
        )
        events = [
            MissionEvent(index=at, timestamp=EPOCH + timedelta(seconds=seconds), kind=kind, details={})
            for at, (kind, seconds) in enumerate(told)
        ]
        await store.append_events("m", 0, [event.to_bytes() for event in events])
        return store

    @pytest.mark.parametrize(
        ("told", "seconds"),
        [
            ([], 0.0),
            ([("mission.executing", 0), ("step.executing", 4)], 4.0),
            ([("mission.executing", 0), ("mission.paused", 3), ("step.completed", 9)], 3.0),
            ([("mission.executing", 0), ("mission.paused", 3), ("mission.unpaused", 50), ("step.completed", 52)], 5.0),
            ([("mission.executing", 0), ("step.executing", 4), ("mission.resumed", 900), ("step.completed", 901)], 5.0),
            ([("mission.executing", 0), ("mission.paused", 3), ("mission.resumed", 900), ("step.completed", 901)], 3.0),
            ([("mission.executing", 0), ("mission.paused", 3), ("mission.resumed", 900), ("mission.executing", 900),
              ("step.completed", 950)], 3.0),
            ([("mission.executing", 0), ("mission.failed", 70), ("mission.retried", 99), ("mission.executing", 100),
              ("step.executing", 101)], 1.0),
            ([("mission.executing", 9), ("step.executing", 4)], 0.0),
        ],
        ids=["nothing", "killed", "paused", "unpaused", "resumed", "resumed paused",
             "begun paused", "retried", "clock stepped back"],
    )  # fmt: skip
    async def test_time_is_what_was_executed(self, told: list[tuple[str, float]], seconds: float) -> None:
        """Neither pauses nor the time without a gateway count against a mission's timeout."""
        store = await self.events(*told)
        earlier = await read_earlier(store, "m", RESUMED)
        assert (earlier.spent_seconds, earlier.events) == (seconds, len(told))
        assert (await read_earlier(store, "m", RETRIED)).spent_seconds == 0.0

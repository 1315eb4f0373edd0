"""Bad moments and bad modules: what a crash, a stop or a stranger's module could get out of a gateway."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

from engine.errors import FaultError
from engine.result import MissionState, StepFailure
from gateway.errors import ConflictError, StoreError
from gateway.identity import Principal
from gateway.missions.floor import Floor
from gateway.policy.decision import Decision
from gateway.store.approval_records import ApprovalState
from tests import virtual_time
from tests.subjects import known
from tests.virtual_time import LoopClock
from tests.worlds import ANN, BUNDLE, World, hang, laws_hold, mission, step, write

LEE = known(Principal(subject="lee", tenant="acme", roles=("approver",)))
ASK = {"op": "approval.request", "args": {"message": "Go?"}}
INNER = mission(step("inner"))
RETRY = {"max_attempts": 3, "backoff": "fixed", "base_ms": 0}


def run(story: Callable[[World], Awaitable[None]], *, laws: bool = True, **settings: Any) -> World:
    """Run a story in a new world, in virtual time, and check the laws of its log."""
    world = World(**settings)
    virtual_time.run(story(world))
    if laws:
        world.laws_hold()
    return world


def nests(inner: Any = INNER) -> list[list[dict[str, Any]]]:
    return [[{"op": "mission.run", "args": {"mission": inner}}]]


def ran(world: World) -> list[str]:
    return [asked["step"]["id"] for _, asked, _ in world.sandbox.runs]


def sleeps(seconds: float) -> Callable[[], Awaitable[None]]:
    return lambda: asyncio.sleep(seconds)


async def approve(world: World, mission_id: str) -> None:
    [asked] = await world.desk.list_approvals(LEE, mission_id, pending_only=True)
    await world.desk.decide_approval(LEE, mission_id, asked.approval_id, approve=True, digest=asked.digest, comment="")


class TestEffects:
    def test_an_outcome_that_the_store_did_not_take_is_in_doubt(self) -> None:
        """It was performed, and a later attempt cannot know: the log says so, and holds no second `performed`."""

        async def story(world: World) -> None:
            world.performer.is_repeatable = True
            world.faults.put("store.settle", StoreError("full", code="store.overloaded"), 0)
            view = await world.run(mission(step("a", kind="acting", batches=[[write()]], output=1, retry=RETRY)))
            assert view.state is MissionState.COMPLETED
            assert [event.details["code"] for event in world.log.of("effect.failed")] == ["effect.in_doubt"]
            assert len(world.log.of("effect.performed")) == 1

        run(story)

    @pytest.mark.parametrize("point", ["store.intend", "audit.durable:effect.intended"])
    def test_what_was_only_intended_is_in_no_doubt(self, point: str) -> None:
        """The step's time is over while the disk is slow: nothing was begun, and the next attempt does it."""

        async def story(world: World) -> None:
            world.faults.put(point, sleeps(10), 0)
            form = mission(step("a", kind="acting", batches=[[write("x"), write("y")]], timeout_seconds=5, retry=RETRY))
            view = await world.run(form)
            assert view.state is MissionState.COMPLETED
            assert [request.args["path"] for request in world.performer.performed] == ["x", "y"]

        run(story)

    def test_an_older_doubt_outlives_a_second_intent(self) -> None:
        """It may be repeated, and was stopped before that was done: it is as much in doubt as before."""

        async def story(world: World) -> None:
            world.performer.is_repeatable = True
            world.faults.put("effects.perform", hang, 0)
            world.faults.put("audit.durable:effect.intended", sleeps(100), 1)
            form = mission(
                step("a", kind="acting", batches=[[write()]], timeout_seconds=5, retry={**RETRY, "max_attempts": 2})
            )
            mission_id = (await world.run(form)).mission_id
            assert world.store.effects_of(mission_id) == [("a", 0, "intended")]

        run(story)

    def test_what_stands_behind_a_wait_in_a_batch_is_decided_after_it(self) -> None:
        """A module that asks for an approval and a write at once: policy has changed meanwhile, nothing is written."""

        async def story(world: World) -> None:
            form = mission(step("a", kind="guarded", batches=[[ASK, write()]], output=1))
            mission_id = (await world.submit(form)).mission_id
            await asyncio.sleep(1)
            world.policy.answers["effect"] = lambda asked: Decision(
                allow=asked["effect"]["op"] != "file.write", bundle=BUNDLE
            )
            await approve(world, mission_id)
            await world.settled()
            assert world.performer.performed == []
            assert world.log.of("effect.refused")[-1].details["again"] is True

        run(story)

    def test_a_time_is_a_wait_as_well(self) -> None:
        """A module that sleeps for a minute before it writes: it is asked about after that minute."""

        async def story(world: World) -> None:
            nap = {"op": "timer.sleep", "args": {"ms": 60_000}}
            mission_id = (await world.submit(mission(step("a", kind="sleeping", batches=[[nap, write()]])))).mission_id
            await asyncio.sleep(30)
            world.policy.answers["step"] = Decision(allow=False, bundle=BUNDLE)
            await world.settled()
            assert world.performer.performed == []
            assert world.store.missions[mission_id].state is MissionState.FAILED

        run(story)

    def test_a_batch_with_a_wait_is_performed_whole(self) -> None:
        """In its order, each effect once, and the module hears of all of it at once."""

        async def story(world: World) -> None:
            batch = [write("one"), ASK, write("two"), write("three")]
            form = mission(step("a", kind="guarded", batches=[batch], output=1))
            mission_id = (await world.submit(form)).mission_id
            await asyncio.sleep(1)
            assert [request.args["path"] for request in world.performer.performed] == ["one"]
            await approve(world, mission_id)
            await world.settled()
            assert (await world.desk.get(ANN, mission_id)).state is MissionState.COMPLETED
            assert [request.args["path"] for request in world.performer.performed] == ["one", "two", "three"]
            assert [len(asked["journal"]) for _, asked, _ in world.sandbox.runs] == [0, 4]

        run(story)

    def test_a_no_ends_its_batch(self) -> None:
        """Nothing behind a denied approval is decided, intended or done."""

        async def story(world: World) -> None:
            form = mission(step("a", kind="guarded", batches=[[ASK, write()]], output=1))
            mission_id = (await world.submit(form)).mission_id
            await asyncio.sleep(1)
            [asked] = await world.desk.list_approvals(LEE, mission_id, pending_only=True)
            await world.desk.decide_approval(
                LEE, mission_id, asked.approval_id, approve=False, digest=asked.digest, comment=""
            )
            await world.settled()
            assert world.performer.performed == []
            assert [len(asked["journal"]) for _, asked, _ in world.sandbox.runs] == [0, 1]
            assert [event.details["op"] for event in world.log.of("effect.intended")] == ["approval.request"]

        run(story)

    def test_a_yes_is_not_told_again_about_something_else(self) -> None:
        """Approved with one input, retried with another: the old yes is not taken for it."""

        async def story(world: World) -> None:
            refused = {"code": "site.bad", "message": "no"}
            form = mission(
                step("source", error=refused, continue_on_error=True),
                step("a", "source", kind="guarded", batches=[[ASK]], error=refused, content="${steps.source.output}"),
            )
            mission_id = (await world.submit(form)).mission_id
            await asyncio.sleep(1)
            await approve(world, mission_id)
            await world.settled()
            scripted = world.sandbox.answer
            world.sandbox.answer = lambda asked: (
                {"output": "other"} if asked["step"]["id"] == "source" else scripted(asked)
            )
            await world.desk.retry(ANN, mission_id, repeat_in_doubt=False)
            await world.settled()
            view = await world.desk.get(ANN, mission_id)
            assert view.result is not None
            assert view.result["step_results"]["a"]["error"]["code"] == "effect.diverged"

        run(story)


class TestTime:
    def test_after_a_wait_the_minute_is_the_one_in_which_the_step_goes_on(self) -> None:
        """Step and effects behind the wait are decided for that minute; the module is told what it was given."""

        async def story(world: World) -> None:
            world.clock.now = LoopClock().now  # type: ignore[method-assign]
            nap = {"op": "timer.sleep", "args": {"ms": 600_000}}
            await world.run(mission(step("a", kind="sleeping", batches=[[nap, write()]], output=1)))
            asked = [(entry, doc["time"]["rfc3339"][11:16]) for entry, doc in world.policy.asked if entry != "mission"]
            before, after = "12:00", "12:10"
            assert asked == [
                ("step", before),
                ("effect", before),
                ("effect", before),
                ("step", after),
                ("effect", after),
            ]
            assert len({document["now"] for _, document, _ in world.sandbox.runs}) == 1

        run(story)

    def test_an_attempt_after_one_that_acted_is_decided_for_its_own_minute(self) -> None:
        """It is given the clock of the first, so that its module does the same; its decisions are not of the past."""

        async def story(world: World) -> None:
            world.clock.now = LoopClock().now  # type: ignore[method-assign]
            error = {"code": "site.busy", "message": "later", "retryable": True}
            retry = {"max_attempts": 2, "backoff": "fixed", "base_ms": 120_000}
            await world.run(mission(step("a", kind="acting", batches=[[write()]], error=error, retry=retry)))
            steps = [doc for entry, doc in world.policy.asked if entry == "step"]
            assert [doc["step"]["attempt"] for doc in steps] == [1, 2]
            assert [doc["time"]["minute_of_day"] for doc in steps] == [720, 722]
            assert len({document["now"] for _, document, _ in world.sandbox.runs}) == 1

        run(story)

    def test_an_approval_is_about_the_same_in_another_minute(self) -> None:
        """A gateway that was stopped asks again ten minutes later, and the yes that was given meanwhile counts."""

        async def story(world: World) -> None:
            world.clock.now = LoopClock().now  # type: ignore[method-assign]
            error = {"code": "site.busy", "message": "later", "retryable": True}
            retry = {"max_attempts": 2, "backoff": "fixed", "base_ms": 600_000}
            form = mission(step("a", kind="guarded", batches=[[ASK]], error=error, retry=retry))
            mission_id = (await world.submit(form)).mission_id
            await asyncio.sleep(1)
            await approve(world, mission_id)
            await world.settled()
            view = await world.desk.get(ANN, mission_id)
            assert view.result is not None
            assert view.result["step_results"]["a"]["error"]["code"] == "site.busy"  # not effect.approval_unbound
            assert len(await world.desk.list_approvals(LEE, mission_id, pending_only=False)) == 1

        run(story)


class TestVerdicts:
    def test_an_attempt_whose_journal_cannot_be_read_has_one(self) -> None:
        """A refusal, with the store's code: an attempt without a verdict would be a hole in the log."""

        async def story(world: World) -> None:
            error = {"code": "site.bad", "message": "no", "retryable": True}
            world.faults.put("store.effects", StoreError("gone"), 0)
            form = mission(
                step("a", kind="acting", batches=[[write()]], error=error, retry={**RETRY, "max_attempts": 2})
            )
            await world.run(form)
            assert [event.details["code"] for event in world.log.of("step.refused")] == ["store.unavailable"]

        run(story)


class TestParts:
    def test_a_second_attempt_does_not_meet_the_end_of_the_first(self) -> None:
        """The step's time is over, its sub-mission is being cancelled, and the next attempt begins at once."""

        async def story(world: World) -> None:
            world.clock.now = LoopClock().now  # type: ignore[method-assign]
            world.faults.put("sandbox.run", sleeps(100), 1)
            form = mission(step("outer", kind="nesting", batches=nests(), output=1, timeout_seconds=10, retry=RETRY))
            view = await world.run(form)
            assert view.state is MissionState.COMPLETED
            assert {record.state for record in world.store.missions.values()} == {MissionState.COMPLETED}
            assert len(world.store.missions) == 2

        run(story)

    def test_a_part_that_a_person_has_to_look_at_is_not_begun_again_by_a_module(self) -> None:
        """Halted by a violation: a module that calls that retryable gets the same answer, until a person retries."""

        async def story(world: World) -> None:
            world.clock.now = LoopClock().now  # type: ignore[method-assign]
            world.faults.put("sandbox.run", sleeps(1))
            scripted = world.sandbox.answer

            def stubborn(asked: Any) -> Any:
                answer = scripted(asked)
                if "error" in answer:
                    answer["error"]["retryable"] = True
                return answer

            world.sandbox.answer = stubborn
            world.policy.answers["step"] = lambda asked: Decision(allow=asked["step"]["id"] != "inner", bundle=BUNDLE)
            view = await world.run(mission(step("outer", kind="nesting", batches=nests(), output=1, retry=RETRY)))
            assert view.result["step_results"]["outer"]["error"]["code"] == "effect.mission_stopped"
            child = next(record for record in world.store.missions.values() if record.parent_id)
            assert child.run == 1
            world.policy.answers.clear()
            await world.desk.retry(ANN, view.mission_id, repeat_in_doubt=False)
            await world.settled()
            assert (await world.desk.get(ANN, view.mission_id)).state is MissionState.COMPLETED
            assert world.store.missions[child.id].run == 2

        run(story)

    def test_a_part_that_is_asked_for_while_the_gateway_stops_is_begun_by_the_next_start(self) -> None:
        """Neither the step nor its mission fails because of a restart."""

        async def story(world: World) -> None:
            world.faults.put("sandbox.run", sleeps(10), 0)
            mission_id = (
                await world.submit(mission(step("outer", kind="nesting", batches=nests(), output=1)))
            ).mission_id
            await asyncio.sleep(1)
            await world.desk.close(30)
            assert asyncio.get_running_loop().time() < 12, "the drain does not wait for what only waits"
            assert world.store.missions[mission_id].state is MissionState.EXECUTING
            world.open_desk()
            await world.desk.recover()
            await world.settled()
            assert world.store.missions[mission_id].state is MissionState.COMPLETED

        run(story)

    def test_an_attempt_to_take_a_part_up_while_the_gateway_stops_fails_nothing_either(self) -> None:
        """The part has failed before, and would be retried: the next start does that."""

        async def story(world: World) -> None:
            inner = mission(step("inner", error={"code": "site.bad", "message": "no"}))
            scripted = world.sandbox.answer
            world.sandbox.answer = lambda asked: (
                {"output": 1} if len(world.sandbox.runs) > 4 else _retryable(scripted(asked))
            )
            form = mission(
                step("outer", kind="nesting", batches=nests(inner), output=1, retry={**RETRY, "max_attempts": 2})
            )
            world.faults.put("sandbox.run", sleeps(10), 3)  # the second attempt
            mission_id = (await world.submit(form)).mission_id
            await asyncio.sleep(1)
            await world.desk.close(30)
            assert world.store.missions[mission_id].state is MissionState.EXECUTING
            world.open_desk()
            await world.desk.recover()
            await world.settled()
            assert world.store.missions[mission_id].state is MissionState.COMPLETED

        run(story)

    def test_a_part_that_may_not_be_begun_anew_says_why(self) -> None:
        """Policy has changed between two attempts: a refusal, and nothing is in doubt."""

        async def story(world: World) -> None:
            scripted = world.sandbox.answer
            world.sandbox.answer = lambda asked: _retryable(scripted(asked))
            inner = mission(step("inner", error={"code": "site.bad", "message": "no"}), name="inner")
            world.policy.answers["mission"] = lambda asked: Decision(
                allow=asked["mission"]["name"] == "m" or len(world.sandbox.runs) < 2, bundle=BUNDLE
            )
            view = await world.run(mission(step("outer", kind="nesting", batches=nests(inner), retry=RETRY)))
            assert view.result["step_results"]["outer"]["error"]["code"] == "effect.mission_refused"

        run(story)

    def test_a_part_whose_end_is_not_recorded_leaves_nothing_in_doubt(self) -> None:
        """The store fails at that moment: the step has failed, and another attempt may find the part again."""

        async def story(world: World) -> None:
            world.faults.put("store.finish", StoreError("gone"), 0)
            view = await world.run(mission(step("outer", kind="nesting", batches=nests())))
            assert view.result["step_results"]["outer"]["error"]["code"] == "effect.unavailable"

        run(story)

    def test_parts_are_found_in_whatever_order_they_were_begun(self) -> None:
        """A person may have begun the innermost first; those that have ended are not found any more."""

        async def story() -> None:
            floor = Floor(running_max=10, quotas=World().quotas, on_ended=lambda _: None)
            begun = {"inner": "middle", "other": "stranger", "middle": "root", "root": None, "second": "root"}
            ends = {mission_id: asyncio.Event() for mission_id in begun}
            for mission_id, parent_id in begun.items():
                fields = {"execute": ends[mission_id].wait, "owner": ("t", "ann"), "steps_total": 1, "suspended": True}
                execution: Any = SimpleNamespace(mission_id=mission_id, parent_id=parent_id, **fields)
                floor.start(execution)
            assert [each.mission_id for each in floor.below("root")] == ["middle", "second", "inner"]
            assert [each.mission_id for each in floor.apart()] == ["other"]
            for mission_id, left in {"second": ["middle", "inner"], "inner": ["middle"], "middle": []}.items():
                ends[mission_id].set()
                await asyncio.sleep(0.01)
                assert [each.mission_id for each in floor.below("root")] == left
            for event in ends.values():
                event.set()
            await asyncio.sleep(0.01)
            assert len(floor) == 0

        asyncio.run(story())

    def test_a_part_ends_with_its_whole(self) -> None:
        """A person has begun it anew, no step waits for it, and the mission of which it is a part ends."""

        async def story(world: World) -> None:
            inner = mission(step("inner", error={"code": "site.bad", "message": "no"}))
            form = mission(
                step("outer", kind="nesting", batches=nests(inner)), step("slow"), config={"fail_fast": False}
            )
            world.faults.put("sandbox.run", sleeps(50), 1)  # the step that is slow
            world.faults.put("sandbox.run", hang, 4)  # the second run of the part
            parent = (await world.submit(form)).mission_id
            await asyncio.sleep(10)
            child = next(record for record in world.store.missions.values() if record.parent_id)
            assert child.state is MissionState.FAILED
            await world.desk.retry(ANN, child.id, repeat_in_doubt=False)
            await world.settled()
            assert world.store.missions[parent].ended_at is not None
            assert world.store.missions[child.id].state is MissionState.CANCELLED

        run(story)

    def test_a_pause_holds_parts_that_are_begun_in_it(self) -> None:
        """The step was at work when its mission was paused; what it starts waits for the end of the pause."""

        async def story(world: World) -> None:
            world.faults.put("sandbox.run", sleeps(5), 0)
            parent = (await world.submit(mission(step("outer", kind="nesting", batches=nests(), output=1)))).mission_id
            await asyncio.sleep(1)
            await world.desk.pause(ANN, parent, "")
            await asyncio.sleep(100)
            assert ran(world) == ["outer"]
            child = next(record for record in world.store.missions.values() if record.parent_id)
            assert child.paused
            assert [event.target for event in world.log.of("mission.paused")] == [parent, child.id]
            await world.desk.resume(ANN, parent)
            await world.settled()
            assert {record.state for record in world.store.missions.values()} == {MissionState.COMPLETED}

        run(story)

    def test_a_part_that_ends_meanwhile_does_not_end_a_pause_half_way(self) -> None:
        """Of two parts one ends while it is being paused; the other one is paused all the same."""

        async def story(world: World) -> None:
            world.faults.put("sandbox.run", sleeps(5))
            two = [nests(mission(step(name), step(f"{name}2", name))) for name in "xy"]
            form = mission(*(step(f"s{n}", kind="nesting", batches=each, output=1) for n, each in enumerate(two)))
            parent = (await world.submit(form)).mission_id
            await asyncio.sleep(7)
            first, second = (record.id for record in world.store.missions.values() if record.parent_id)

            async def end_first() -> None:
                world.store.connection.execute(
                    "UPDATE missions SET state = 'Failed', ended_at = created_at WHERE id = ?", (first,)
                )

            world.faults.put("audit.durable:mission.paused", end_first, 1)
            await world.desk.pause(ANN, parent, "")
            assert world.store.missions[second].paused

        run(story, laws=False)


def _retryable(answer: Any) -> Any:
    if "error" in answer:
        answer["error"]["retryable"] = True
    return answer


class TestCalls:
    def test_a_cancellation_that_is_in_the_log_takes_place(self) -> None:
        """Also where the caller has hung up before the checkpoint."""

        async def story(world: World) -> None:
            world.faults.put("sandbox.run", hang)
            mission_id = (await world.submit(INNER)).mission_id
            await asyncio.sleep(1)
            world.faults.put("audit.durable:mission.cancel_requested", sleeps(1))
            call = asyncio.create_task(world.desk.cancel(ANN, mission_id, ""))
            await asyncio.sleep(0.5)
            call.cancel()
            await world.settled()
            assert world.store.missions[mission_id].state is MissionState.CANCELLED

        run(story)

    def test_a_client_cannot_speak_for_a_step(self) -> None:
        """The request ids of sub-missions are the gateway's: who could take one would be taken for a part."""

        async def story(world: World) -> None:
            with pytest.raises(ConflictError) as refused:
                await world.submit(INNER, "child:" + "0" * 64)
            assert refused.value.code == "mission.bad_request_id"
            assert world.store.missions == {}

        run(story)

    def test_a_retry_that_is_not_in_the_log_begins_nothing(self) -> None:
        """No checkpoint, no second run."""

        async def story(world: World) -> None:
            bad = mission(step("a", error={"code": "site.bad", "message": "no"}))
            mission_id = (await world.run(bad)).mission_id
            world.faults.put("audit.durable:mission.retried", FaultError("no checkpoint"))
            with pytest.raises(FaultError):
                await world.desk.retry(ANN, mission_id, repeat_in_doubt=False)
            assert (world.store.missions[mission_id].run, ran(world)) == (1, ["a"])

        run(story)

    def test_a_retry_that_cannot_be_read_back_can_be_tried_again(self) -> None:
        """The store fails for a moment: the mission is not left in a state from which no call leads on."""

        async def story(world: World) -> None:
            bad = mission(step("a", error={"code": "site.bad", "message": "no"}))
            mission_id = (await world.run(bad)).mission_id
            reading = world.store.events
            world.store.events = _raises  # type: ignore[method-assign]
            with pytest.raises(StoreError):
                await world.desk.retry(ANN, mission_id, repeat_in_doubt=False)
            world.store.events = reading  # type: ignore[method-assign]
            world.sandbox.answer = lambda _asked: {"output": 1}
            await world.desk.retry(ANN, mission_id, repeat_in_doubt=False)
            await world.settled()
            assert world.store.missions[mission_id].state is MissionState.COMPLETED

        run(story)


async def _raises(*_args: Any) -> Any:
    raise StoreError("gone")


class TestApprovals:
    FORM = mission(step("ask", kind="asking", batches=[[ASK]], output=1))

    def pending(self, world: World) -> list[str]:
        rows = world.store.connection.execute("SELECT id FROM approvals WHERE state = 'pending'").fetchall()
        return [row["id"] for row in rows]

    def test_a_question_that_was_recorded_and_never_asked_ends_with_its_mission(self) -> None:
        """Cancelled in the moment in which the store took it."""

        async def story(world: World) -> None:
            create = world.store.create_approval

            async def slow(approval: Any) -> Any:
                record = await create(approval)
                await asyncio.sleep(10)
                return record

            world.store.create_approval = slow  # type: ignore[method-assign]
            mission_id = (await world.submit(self.FORM)).mission_id
            await asyncio.sleep(1)
            assert self.pending(world) != []
            await world.desk.cancel(ANN, mission_id, "")
            assert self.pending(world) == []
            told = [kind for kind in world.log.types() if kind.startswith("approval.")]
            assert told == ["approval.requested", "approval.decided"]

        run(story)

    def test_a_question_of_an_earlier_process_ends_with_its_mission(self) -> None:
        """The mission is cancelled by the restart, before its step could ask again."""

        async def story(world: World) -> None:
            mission_id = (await world.submit(self.FORM)).mission_id
            await asyncio.sleep(1)
            await world.desk.pause(ANN, mission_id, "")
            await world.desk.close(0)
            world.open_desk()
            await world.desk.recover()
            await world.desk.cancel(ANN, mission_id, "")
            assert self.pending(world) == []

        run(story)

    def test_a_question_ends_with_a_mission_that_may_not_go_on(self) -> None:
        """Policy says no at the restart."""

        async def story(world: World) -> None:
            await world.submit(self.FORM)
            await asyncio.sleep(1)
            await world.desk.close(0)
            world.open_desk()
            world.policy.answers["mission"] = Decision(allow=False, bundle=BUNDLE)
            await world.desk.recover()
            assert self.pending(world) == []
            [decided] = world.log.of("approval.decided")
            assert decided.details["state"] == ApprovalState.WITHDRAWN.value

        run(story)

    @pytest.mark.parametrize("kind", ["asking", "guarded"])
    def test_nobody_answering_in_time_is_no_failure_of_the_kind(self, kind: str) -> None:
        """Steps whose own timeout ends a wait for a person open no breaker, whatever else their kind does."""

        async def story(world: World) -> None:
            form = mission(step("ask", kind=kind, batches=[[ASK]], output=1, timeout_seconds=5))
            for n in range(3):
                view = await world.run(form, f"r{n}")
                assert view.result["step_results"]["ask"]["error"]["code"] == "step.timeout"
            after = mission(step("ask", kind=kind, batches=[[ASK]], output=1))
            mission_id = (await world.submit(after, "after")).mission_id
            await asyncio.sleep(1)
            await approve(world, mission_id)
            await world.settled()
            assert (await world.desk.get(ANN, mission_id)).state is MissionState.COMPLETED

        run(story, failures_max=2)

    def test_parts_that_fail_are_no_failure_of_the_kind(self) -> None:
        """Somebody's bad sub-missions keep nobody else's from running."""

        async def story(world: World) -> None:
            scripted = world.sandbox.answer
            world.sandbox.answer = lambda asked: _retryable(scripted(asked))
            bad = mission(step("inner", kind="reading", error={"code": "site.bad", "message": "no"}))
            for n in range(3):
                await world.run(mission(step(f"outer{n}", kind="nesting", batches=nests(bad))), f"r{n}")
            view = await world.run(mission(step("outer", kind="nesting", batches=nests(), output=1)), "after")
            assert view.state is MissionState.COMPLETED

        run(story, failures_max=2)


class TestStarts:
    def test_why_a_mission_stops_is_stored_before_the_step_that_is_to_blame(self) -> None:
        """A start that knew the failure, and not that the mission was stopping, would begin its other steps."""

        async def story(world: World) -> None:
            told: list[list[str]] = []

            def look() -> None:
                [mission_id] = world.store.missions
                told.append([event.kind for event in world.store.events_of(mission_id)])

            world.faults.put("store.results", look)
            await world.run(mission(step("a", error={"code": "site.bad", "message": "no"}), step("b", "a")))
            assert "mission.stopping" in told[0]

        run(story)

    def test_what_is_in_doubt_is_named_at_a_start(self) -> None:
        """Killed in the second of three effects: the first is told with its outcome, the third was never begun."""

        async def story(world: World) -> None:
            world.faults.put("effects.perform", hang, 1)
            await world.submit(mission(step("a", kind="acting", batches=[[write("x"), write("y"), write("z")]])))
            await asyncio.sleep(1)
            world.faults.plan.clear()
            world.open_desk()
            await world.desk.recover()
            [kept] = world.log.of("mission.effects_kept")
            first, second = kept.details["effects"]
            assert (first["key"], "outcome" in first) == (world.performer.performed[0].key, True)
            assert second["code"] == "effect.in_doubt"
            await world.settled()
            laws_hold(world.log.events, killed=True)

        run(story, laws=False)

    def test_a_mission_that_waits_for_a_key_keeps_its_story(self) -> None:
        """Its watchers were told that it waits; the next start goes on counting from there."""

        async def story(world: World) -> None:
            world.faults.put("sandbox.run", hang)
            keyed = {"config": {"concurrency_key": "k"}}
            await world.submit(mission(step("a"), **keyed), "first")
            second = (await world.submit(mission(step("b"), **keyed), "second")).mission_id
            await asyncio.sleep(1)
            seen = [event async for event in _until_waiting(world, second)]
            await world.desk.close(0)
            world.faults.plan.clear()
            world.open_desk()
            await world.desk.recover()
            await world.settled()
            kinds = [event.kind for event in world.store.events_of(second)]
            assert kinds[:3] == [*(event.kind for event in seen), "mission.waiting", "mission.resumed"]

        run(story)

    def test_missions_are_taken_up_side_by_side(self) -> None:
        """Sixty-four at a time, whatever policy takes, and told of in their order, oldest first."""

        async def story(world: World) -> None:
            world.faults.put("sandbox.run", hang)
            names = [f"r{n}" for n in range(70)]
            ids = [(await world.submit({**INNER, "name": name}, name)).mission_id for name in names]
            await world.desk.close(0)
            world.faults.plan.clear()
            world.faults.put("policy.mission", sleeps(1))
            world.policy.answers["mission"] = lambda asked: Decision(
                allow=asked["mission"]["name"] not in {"r3", "r66"}, bundle=BUNDLE
            )
            world.open_desk()
            before = asyncio.get_running_loop().time()
            recovered = await world.desk.recover()
            assert asyncio.get_running_loop().time() - before == pytest.approx(2.0)
            assert recovered.interrupted == (ids[3], ids[66])
            assert recovered.resumed == tuple(each for each in ids if each not in recovered.interrupted)
            await world.settled()

        run(story, running_max=100)

    def test_a_damaged_mission_keeps_no_gateway_from_starting(self) -> None:
        """What cannot be read of it is a reason to end it, and the others go on."""

        async def story(world: World) -> None:
            world.faults.put("sandbox.run", hang)
            damaged = (await world.submit(INNER, "damaged")).mission_id
            sound = (await world.submit(INNER, "sound")).mission_id
            await asyncio.sleep(1)
            await world.desk.close(0)
            world.faults.plan.clear()
            world.store.connection.execute(
                "UPDATE mission_events SET body = x'7b' WHERE mission_id = ? AND idx = 0", (damaged,)
            )
            world.open_desk()
            recovered = await world.desk.recover()
            assert (recovered.resumed, recovered.interrupted) == ((sound,), (damaged,))
            await world.settled()
            assert (await world.desk.get(ANN, damaged)).state is MissionState.FAILED

        run(story)

    def test_a_part_whose_whole_ends_during_recovery_is_cancelled(self) -> None:
        """It was looked at while that still ran, and begun when it no longer did."""

        async def story(world: World) -> None:
            world.faults.put("sandbox.run", hang, 1)
            parent = (await world.submit(mission(step("outer", kind="nesting", batches=nests(), output=1)))).mission_id
            await asyncio.sleep(1)
            await world.desk.close(0)
            world.open_desk()
            world.faults.put("sandbox.run", hang)

            async def end_parent() -> None:
                execution = world.desk._floor.of(parent)
                assert execution is not None
                execution.cancel(StepFailure(code="mission.cancelled", message="now"))
                await world.desk._floor.settled(parent)

            world.faults.put("policy.mission", end_parent, world.faults.calls["policy.mission"] + 1)
            await world.desk.recover()
            await asyncio.sleep(100)
            assert {record.state for record in world.store.missions.values()} == {MissionState.CANCELLED}

        run(story)

    def test_what_an_interrupted_mission_has_done_is_told(self) -> None:
        """The log may have lost its last moments: what stands is named before the end."""

        async def story(world: World) -> None:
            world.faults.put("sandbox.run", hang, 1)
            form = mission(step("a", kind="acting", batches=[[write()]], output=1))
            await world.submit(form)
            await asyncio.sleep(1)
            world.open_desk()
            world.policy.answers["mission"] = Decision(allow=False, bundle=BUNDLE)
            await world.desk.recover()
            [kept] = world.log.of("mission.effects_kept")
            assert [effect["op"] for effect in kept.details["effects"]] == ["file.write"]
            assert kept.seq < world.log.of("mission.interrupted")[0].seq < world.log.size
            laws_hold(world.log.events, killed=True)

        run(story, laws=False)


async def _until_waiting(world: World, mission_id: str) -> Any:
    async for event in world.desk.watch(ANN, mission_id, 0):
        yield event
        if event.kind == "mission.waiting":
            return


class TestGivenUp:
    def test_an_attempt_that_was_given_up_begins_nothing_more(self) -> None:
        """It ignores its deadline and comes back while its mission goes on: what it does next is not done."""

        async def story(world: World) -> None:
            async def deaf() -> None:
                while asyncio.get_running_loop().time() < 30:
                    with suppress(asyncio.CancelledError):
                        await asyncio.sleep(30)

            world.faults.put("effects.perform", deaf, 0)
            world.faults.put("sandbox.run", sleeps(100), 1)
            form = mission(
                step("a", kind="acting", batches=[[write("one"), write("two")]], timeout_seconds=5),
                step("b"),
                config={"fail_fast": False},
            )
            view = await world.run(form)
            assert view.result["step_results"]["a"]["error"]["code"] == "step.timeout"
            assert view.result["step_results"]["b"]["status"] == "Completed"
            assert [request.args["path"] for request in world.performer.performed] == ["one"]
            assert [event.event_type for event in world.log.events if event.details.get("op")][-2:] == [
                "effect.performed",
                "effect.failed",
            ]

        run(story)

"""The desk: submissions, repeated and racing ones, places, tenants, watching, cancelling, closing, recovering."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import orjson
import pytest

from engine.audit.errors import AuditOverloadedError
from engine.errors import FaultError, MissionInvalidError
from engine.result import MissionState
from gateway.errors import ConflictError, NotFoundError, OverloadedError, PolicyDeniedError, Reason, StoreError
from gateway.identity import actor
from gateway.missions.desk import REASON_MAX, REQUEST_ID_MAX
from gateway.policy.decision import Decision
from tests import virtual_time
from tests.subjects import commitments_of, own
from tests.worlds import ANN, BOB, BUNDLE, EVE, World, hang, mission, step, write

ONE = mission(step("a"))
OTHER = mission(step("b"))


def run(story: Callable[[World], Awaitable[None]], **settings: Any) -> World:
    """Run a story in a new world, in virtual time, and check the laws of its log."""
    world = World(**settings)
    virtual_time.run(story(world))
    world.laws_hold()
    return world


async def stubborn(seconds: int) -> None:
    """Wait, and do not listen to cancellation."""
    for _ in range(seconds):
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(1)


class TestSubmitting:
    @pytest.mark.parametrize("request_id", ["", "x" * (REQUEST_ID_MAX + 1), "a\nb", "a\x00", "\ud800"])
    def test_a_request_id_is_short_and_printable(self, request_id: str) -> None:
        """What cannot be logged as it is, is refused before anything looks at it."""

        async def story(world: World) -> None:
            with pytest.raises(ConflictError) as refused:
                await world.submit(ONE, request_id)
            assert refused.value.code == "mission.bad_request_id"

        assert run(story).log.events == []

    def test_a_refusal_is_under_a_checkpoint_before_the_caller_hears_it(self) -> None:
        """Malformed, unclean or denied: the log has who, what and why."""

        async def story(world: World) -> None:
            world.policy.answers["mission"] = Decision(allow=False, bundle=BUNDLE, reasons=(Reason("site.no", "no"),))
            for form, error in ((b"{", MissionInvalidError), (orjson.dumps(ONE), PolicyDeniedError)):
                with pytest.raises(error):
                    await world.submit(form)
                event = world.log.events[-1]
                assert (event.event_type, event.actor, event.seq) == ("mission.refused", actor(ANN), world.log.size - 1)
                assert event.details["request_id"] == own(ANN).of("r")
                assert event.details["document"] == own(ANN).of(form)
            assert event.details["roles"] == ["submitter"]
            assert event.details["bundle"] == BUNDLE
            assert world.store.missions == {}

        run(story)

    def test_equal_requests_are_one_mission(self) -> None:
        """However many at once, and after its end: one mission, one admission, and one of them made it."""

        async def story(world: World) -> None:
            answers = await asyncio.gather(*(world.submit(ONE) for _ in range(20)))
            await world.settled()
            answers.append(await world.submit(ONE))
            assert len({answer.mission_id for answer in answers}) == 1
            assert [answer.created for answer in answers].count(True) == 1
            assert len(world.log.of("mission.admitted")) == 1

        run(story)

    def test_a_request_id_names_one_mission_of_one_principal(self) -> None:
        """Another mission under it is a conflict, and recorded; another principal's is another mission."""

        async def story(world: World) -> None:
            first = await world.submit(ONE)
            with pytest.raises(ConflictError) as refused:
                await world.submit(OTHER)
            assert refused.value.code == "mission.request_id_reused"
            assert world.log.of("mission.refused")[0].details["code"] == "mission.request_id_reused"
            for principal in (BOB, EVE):
                assert (await world.submit(ONE, principal=principal)).mission_id != first.mission_id

        run(story)

    def test_a_repeated_request_waits_for_the_first_ones_admission(self) -> None:
        """While the first one's checkpoint is not there, the second is not acknowledged either."""

        async def story(world: World) -> None:
            synced = asyncio.Event()
            world.faults.put("audit.durable:mission.admitted", synced.wait, 0)
            both = [asyncio.create_task(world.submit(ONE)) for _ in range(2)]
            await asyncio.sleep(1)
            assert not any(task.done() for task in both)
            synced.set()
            first, second = await asyncio.gather(*both)
            assert first.mission_id == second.mission_id

        run(story)

    def test_a_mission_that_the_log_did_not_take_is_started_by_the_next_try(self) -> None:
        """A fault after the store has it is told as one; the same request id then starts the same mission."""

        async def story(world: World) -> None:
            world.faults.put("audit.append:mission.admitted", AuditOverloadedError("full"), 0)
            with pytest.raises(AuditOverloadedError):
                await world.submit(ONE)
            [left] = world.store.missions
            with pytest.raises(ConflictError):
                await world.submit(OTHER)
            again = await world.submit(ONE)
            assert (again.mission_id, again.created) == (left, True)
            await world.settled()
            assert world.store.missions[left].state is MissionState.COMPLETED

        run(story)

    def test_missions_that_the_log_does_not_take_are_bounded(self) -> None:
        """A log that takes no admission cannot fill the store with missions."""

        async def story(world: World) -> None:
            world.faults.put("audit.append:mission.admitted", AuditOverloadedError("full"))
            for n in range(20):
                with pytest.raises((AuditOverloadedError, OverloadedError)):
                    await world.submit(ONE, f"r{n}")
            assert len(world.store.missions) == 3

        run(story, running_max=3)

    def test_places_are_counted_while_submissions_wait(self) -> None:
        """Many submissions at once do not slip past the limit while policy thinks; those over it are recorded."""

        async def story(world: World) -> None:
            world.faults.put("sandbox.run", hang)
            outcomes = await asyncio.gather(*(world.submit(ONE, f"r{n}") for n in range(10)), return_exceptions=True)
            refused = [o for o in outcomes if isinstance(o, OverloadedError)]
            assert (len(refused), world.desk.running) == (6, 4)
            assert {o.code for o in refused} == {"mission.too_many_running"}
            assert len(world.log.of("mission.refused")) == 6
            await world.desk.close(0)

        run(story, running_max=4)

    def test_a_cancelled_call_cancels_nothing(self) -> None:
        """A client that hangs up does not stop what it has set going."""

        async def story(world: World) -> None:
            world.faults.put("policy.mission", lambda: asyncio.sleep(1))
            call = asyncio.create_task(world.submit(ONE))
            await asyncio.sleep(0.5)
            call.cancel()
            await asyncio.sleep(2)
            assert call.cancelled()
            await world.settled()
            assert [record.state for record in world.store.missions.values()] == [MissionState.COMPLETED]

        run(story)

    def test_planning_runs_and_records_nothing(self) -> None:
        """A plan shows what a submission would decide, a no included."""

        async def story(world: World) -> None:
            world.policy.answers["mission"] = Decision(
                allow=False, bundle=BUNDLE, reasons=(Reason("site.no", "m", "r"),)
            )
            document = orjson.dumps(mission(step("a"), step("b", "a")))
            preview = (await world.desk.plan(ANN, document)).document()
            assert preview["levels"] == [["a"], ["b"]]
            reason = {"code": "site.no", "message": "m", "rule": "r"}
            assert preview["decisions"] == [
                {"entrypoint": "mission", "allow": False, "reasons": [reason], "bundle": BUNDLE}
            ]
            assert world.log.events == []
            assert world.store.missions == {}

        run(story)

    def test_a_form_that_is_a_value_is_the_same_mission(self) -> None:
        """Bytes and the value that they spell have one digest, so one request id serves both."""

        async def main() -> None:
            world = World()
            first = await world.submit(orjson.dumps(ONE))
            second = await world.desk.submit(ANN, ONE, "r")
            assert (second.mission_id, second.created) == (first.mission_id, False)
            await world.settled()

        asyncio.run(main())  # a value is checked in a thread, which virtual time does not wait for


class TestTenants:
    @pytest.mark.parametrize("call", ["get", "watch", "cancel"])
    def test_a_foreign_mission_is_a_missing_one_to_the_letter(self, call: str) -> None:
        """Nothing in the answer tells whether another tenant has a mission of that id."""

        async def ask(world: World, mission_id: str) -> str:
            calls = {
                "get": lambda: world.desk.get(EVE, mission_id),
                "watch": lambda: anext(world.desk.watch(EVE, mission_id, 0)),
                "cancel": lambda: world.desk.cancel(EVE, mission_id, "mine"),
            }
            with pytest.raises(NotFoundError) as refused:
                await calls[call]()
            return f"{refused.value.code} {refused.value.message}"

        async def story(world: World) -> None:
            world.faults.put("sandbox.run", hang)
            submission = await world.submit(ONE)
            assert await ask(world, submission.mission_id) == await ask(world, "00000000-0000")
            assert await world.desk.owner("00000000-0000") is None
            assert await world.desk.owner(submission.mission_id) == {
                "tenant": "acme",
                "submitter": "ann",
                "submitter_roles": ["submitter"],
            }
            await world.desk.close(0)

        run(story)

    def test_a_list_shows_ones_own_tenant(self) -> None:
        """Whatever is asked for, another tenant's missions are not in it."""

        async def story(world: World) -> None:
            await world.submit(ONE)
            await world.submit(ONE, principal=EVE)
            await world.settled()
            views, token = await world.desk.list_missions(ANN, state=None, page_size=0, page_token="")
            assert [view.tenant for view in views] == ["acme"]
            assert token == ""

        run(story)


class TestWatching:
    def test_live_and_later_watchers_see_the_same(self) -> None:
        """A watcher from the start, one from the middle and one after the end: the same events, without gaps."""

        async def story(world: World) -> None:
            world.faults.put("sandbox.run", lambda: asyncio.sleep(1))
            mission_id = (await world.submit(mission(step("a"), step("b", "a")))).mission_id

            async def seen(start: int) -> list[Any]:
                return [event async for event in world.desk.watch(ANN, mission_id, start)]

            live = [asyncio.create_task(seen(start)) for start in (0, 3)]
            await world.settled()
            whole, part = await asyncio.gather(*live)
            assert [event.kind for event in whole] == [
                "mission.executing",
                "step.executing",
                "step.completed",
                "step.executing",
                "step.completed",
                "mission.completed",
            ]
            assert [event.index for event in whole] == list(range(6))
            assert part == whole[3:]
            assert await seen(0) == whole
            assert await seen(100) == []

        run(story)

    def test_the_end_is_recorded_when_a_watcher_hears_of_it(self) -> None:
        """Whoever has seen the mission end finds it ended."""

        async def story(world: World) -> None:
            mission_id = (await world.submit(ONE)).mission_id
            async for event in world.desk.watch(ANN, mission_id, 0):
                if event.kind == "mission.completed":
                    assert world.log.events[world.log.size - 1].event_type == "mission.ended"
                    assert (await world.desk.get(ANN, mission_id)).state is MissionState.COMPLETED

        run(story)

    def test_watchers_of_a_mission_whose_end_cannot_be_recorded_are_let_go(self) -> None:
        """They are told of no end, for there is none yet, and wait for nothing; the next start has it."""

        async def story(world: World) -> None:
            world.faults.put("store.finish", StoreError("gone"))
            mission_id = (await world.submit(ONE)).mission_id
            events = [event async for event in world.desk.watch(ANN, mission_id, 0)]
            assert events[-1].kind == "step.completed"
            world.faults.plan.clear()
            world.open_desk()
            assert (await world.desk.recover()).resumed == (mission_id,)
            events = [event async for event in world.desk.watch(ANN, mission_id, 0)]
            assert [event.kind for event in events[-3:]] == [
                "mission.resumed",
                "mission.executing",
                "mission.completed",
            ]
            assert len(world.sandbox.runs) == 1

        run(story)

    def test_a_watcher_that_is_slow_misses_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What it has not read when memory lets go of it comes from the store; then it is with the mission again."""
        monkeypatch.setattr("gateway.missions.recorder.KEPT_MAX", 4)

        async def story(world: World) -> None:
            world.faults.put("sandbox.run", lambda: asyncio.sleep(1))
            chain = mission(*(step(f"s{n}", *([f"s{n - 1}"] if n else [])) for n in range(40)))
            mission_id = (await world.submit(chain)).mission_id
            seen = []
            async for event in world.desk.watch(ANN, mission_id, 0):
                seen.append(event.index)
                if event.index in {0, 20, 50}:
                    await asyncio.sleep(9)
            assert seen == list(range(len(seen)))
            assert len(seen) == 1 + 2 * 40 + 1

        run(story)

    def test_ended_missions_leave_nothing_in_memory(self) -> None:
        """When a mission has ended, the desk holds nothing of it, nor of who asked for it."""

        async def story(world: World) -> None:
            for n in range(50):
                await world.run(ONE, f"r{n}")
            desk, submissions, floor = world.desk, world.desk._submissions, world.desk._floor
            assert not floor._running
            assert not desk._calls
            assert not submissions._unadmitted
            assert len(submissions._turns) == 0
            assert floor._starting == 0
            assert world.ground.slots.held == 0

        run(story)


class TestCancelling:
    def test_the_request_is_durable_before_it_takes_effect(self) -> None:
        """Who cancelled, and why, is under a checkpoint; the mission is Cancelled, its steps Skipped."""

        async def story(world: World) -> None:
            world.faults.put("sandbox.run", hang)
            mission_id = (await world.submit(mission(step("a"), step("b", "a")))).mission_id
            await asyncio.sleep(1)
            view = await world.desk.cancel(BOB, mission_id, "not today")
            assert view.state is MissionState.CANCELLED
            assert view.result is not None
            assert view.result["error"] == {"code": "mission.cancelled", "message": "not today"}
            [event] = world.log.of("mission.cancel_requested")
            committed = await commitments_of(world.store, mission_id)
            assert (event.actor, event.details) == (actor(BOB), {"reason": committed.of("not today")})
            [skipped] = world.log.of("step.skipped")
            assert skipped.details == {"code": "mission.cancelled", "steps": ["b", "a"]}
            with pytest.raises(ConflictError) as refused:
                await world.desk.cancel(BOB, mission_id, "again")
            assert refused.value.code == "mission.ended"

        run(story)

    def test_an_effect_under_way_is_in_doubt(self) -> None:
        """A cancelled step may have done what it was doing: the log says that nobody knows."""

        async def story(world: World) -> None:
            world.faults.put("effects.perform", hang)
            batch = [write("a"), write("b")]
            mission_id = (await world.submit(mission(step("a", kind="acting", batches=[batch])))).mission_id
            await asyncio.sleep(1)
            await world.desk.cancel(ANN, mission_id, "stop")
            codes = [event.details["code"] for event in world.log.of("effect.failed")]
            assert codes == ["effect.in_doubt", "effect.not_performed"]

        run(story)

    def test_a_reason_has_a_maximum(self) -> None:
        """It stands in the log and with every skipped step."""

        async def story(world: World) -> None:
            with pytest.raises(ConflictError) as refused:
                await world.desk.cancel(ANN, "m", "x" * (REASON_MAX + 1))
            assert refused.value.code == "mission.bad_reason"

        run(story)

    def test_a_request_that_is_not_durable_has_no_effect(self) -> None:
        """While its checkpoint is not there, the mission runs on."""

        async def story(world: World) -> None:
            world.faults.put("sandbox.run", lambda: asyncio.sleep(5))
            world.faults.put("audit.durable:mission.cancel_requested", hang)
            mission_id = (await world.submit(ONE)).mission_id
            cancelling = asyncio.create_task(world.desk.cancel(BOB, mission_id, "stop"))
            await world.settled()
            assert world.store.missions[mission_id].state is MissionState.COMPLETED
            cancelling.cancel()

        run(story)

    @pytest.mark.parametrize("allow", [True, False])
    @pytest.mark.parametrize("point", ["policy.step", "policy.effect", "sandbox.run"])
    def test_an_answer_that_comes_after_the_end_is_not_acted_on(self, point: str, allow: bool) -> None:
        """A step that hangs in a port which ignores cancellation is given up; nothing comes of the late answer."""

        async def story(world: World) -> None:
            if not allow:
                world.policy.answers |= dict.fromkeys([point.rpartition(".")[2]], Decision(allow=False, bundle=BUNDLE))
            world.faults.put(point, lambda: stubborn(20), 0)
            mission_id = (await world.submit(mission(step("a", kind="acting", batches=[[write("a")]])))).mission_id
            await asyncio.sleep(0.5)
            await world.desk.cancel(ANN, mission_id, "stop")
            await asyncio.sleep(60)
            assert world.log.events[-1].event_type == "mission.ended"
            assert world.log.of("effect.intended") == []
            assert world.performer.performed == []

        run(story)

    def test_a_step_that_ignores_its_cancellation_does_nothing_more(self) -> None:
        """It is given up, the mission ends, and what it asks for later is not intended, let alone performed."""

        async def story(world: World) -> None:
            world.faults.put("effects.perform", lambda: stubborn(20), 0)
            batches = [[write("a"), write("b")], [write("c")]]
            mission_id = (await world.submit(mission(step("a", kind="acting", batches=batches)))).mission_id
            await asyncio.sleep(0.5)
            view = await world.desk.cancel(ANN, mission_id, "stop")
            assert view.result is not None
            assert view.result["step_results"]["a"]["error"]["code"] == "step.unresponsive"
            await asyncio.sleep(60)
            assert [request.args["path"] for request in world.performer.performed] == ["a"]
            assert world.log.types()[-2:] == ["effect.performed", "effect.failed"]
            assert world.log.events[-1].details["code"] == "effect.not_performed"

        run(story)


class TestClosing:
    def test_missions_may_end_within_the_drain(self) -> None:
        """Those that end in time are Completed, those that do not go on later, and nothing new is taken."""

        async def story(world: World) -> None:
            quick = (await world.submit(ONE, "quick")).mission_id
            world.faults.put("sandbox.run", hang, 1)
            slow = (await world.submit(OTHER, "slow")).mission_id
            await world.desk.close(drain_seconds=5)
            assert world.store.missions[quick].state is MissionState.COMPLETED
            assert world.store.missions[slow].state is MissionState.EXECUTING
            assert [event.target for event in world.log.of("mission.suspended")] == [slow]
            with pytest.raises(OverloadedError) as refused:
                await world.submit(ONE, "late")
            assert refused.value.code == "gateway.stopping"
            assert (await world.submit(ONE, "quick")).mission_id == quick
            world.open_desk()
            assert (await world.desk.recover()).resumed == (slow,)
            await world.settled()
            assert world.store.missions[slow].state is MissionState.COMPLETED

        run(story)

    def test_what_only_waits_is_not_waited_for(self) -> None:
        """A mission that waits for a person, is paused, or waits for its key does not hold up the stop."""

        async def story(world: World) -> None:
            asks = [{"op": "approval.request", "args": {"message": "may it?"}}]
            waiting = (await world.submit(mission(step("a", kind="asking", batches=[asks])), "waiting")).mission_id
            await asyncio.sleep(1)
            world.faults.put("sandbox.run", hang)
            begun = asyncio.get_running_loop().time()
            await world.desk.close(drain_seconds=1_000)
            assert asyncio.get_running_loop().time() - begun < 10
            assert world.store.missions[waiting].state is MissionState.EXECUTING

        run(story)

    def test_a_submission_under_way_is_seen_to_its_end(self) -> None:
        """A mission that is admitted while the desk closes is drained like the others: nothing runs afterwards."""

        async def story(world: World) -> None:
            world.faults.put("policy.mission", lambda: asyncio.sleep(3))
            world.faults.put("sandbox.run", hang)
            call = asyncio.create_task(world.submit(ONE))
            await asyncio.sleep(1)
            await world.desk.close(drain_seconds=1)
            assert world.desk.running == 0
            assert world.store.missions[(await call).mission_id].state is MissionState.EXECUTING

        run(story)

    def test_submissions_that_keep_coming_do_not_keep_it_open(self) -> None:
        """Closing waits for what was under way when it began, not for those that are refused meanwhile."""

        async def story(world: World) -> None:
            async def insist() -> None:
                for n in range(10_000):
                    try:
                        await world.submit(ONE, f"r{n}")
                    except OverloadedError:
                        await asyncio.sleep(0)

            insisting = [asyncio.create_task(insist()) for _ in range(3)]
            await asyncio.sleep(0)
            await world.desk.close(1)
            assert not any(task.done() for task in insisting)
            for task in insisting:
                task.cancel()
            await asyncio.wait(insisting)
            await asyncio.gather(*world.desk._calls._tasks, return_exceptions=True)

        run(story, running_max=1_000)


class TestStarting:
    def test_a_mission_that_cannot_begin_is_failed(self) -> None:
        """Without a workspace no step runs; the mission says why, in result and log."""

        async def story(world: World) -> None:
            world.faults.put("workspaces.create", FaultError("full", code="effect.workspace_unavailable"))
            view = await world.run(ONE)
            assert view.state is MissionState.FAILED
            assert view.result["error"]["code"] == "effect.workspace_unavailable"
            assert view.result["step_results"]["a"]["status"] == "Skipped"
            assert world.log.of("mission.ended")[0].details["code"] == "effect.workspace_unavailable"
            assert world.sandbox.runs == []

        run(story)

    def test_a_mission_out_of_time_is_failed(self) -> None:
        """Its timeout ends it, whatever hangs."""

        async def story(world: World) -> None:
            world.faults.put("sandbox.run", hang)
            view = await world.run(mission(step("a"), step("b", "a"), config={"timeout_seconds": 2}))
            assert view.state is MissionState.FAILED
            assert view.result["error"]["code"] == "mission.timeout"

        run(story)


def test_how_many_run_at_once_may_change() -> None:
    """The next mission is held against the new number; one that runs is not stopped by a smaller one."""

    async def story(world: World) -> None:
        world.faults.put("sandbox.run", hang)
        await world.submit(ONE, "first")
        with pytest.raises(OverloadedError):
            await world.submit(ONE, "second")
        world.desk.adopt(2)
        await world.submit(ONE, "second")
        world.desk.adopt(1)
        with pytest.raises(OverloadedError):
            await world.submit(ONE, "third")
        assert world.desk.running == 2
        await world.desk.close(0)

    run(story, running_max=1)

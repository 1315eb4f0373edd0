"""Pause, resume and retry; concurrency keys, shared places and breakers; results as they come; approvals end to end."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from engine.result import MissionState
from gateway.errors import ConflictError, NotFoundError, PolicyDeniedError, Reason, SandboxError
from gateway.identity import Principal, actor
from gateway.policy.decision import Decision
from tests import virtual_time
from tests.subjects import commitments_of, known
from tests.worlds import ANN, BOB, BUNDLE, EVE, World, hang, mission, step, write

LEE = known(Principal(subject="lee", tenant="acme", roles=("approver",)))
TWO = mission(step("a"), step("b", "a"))
FAILS = mission(
    step("a", kind="acting", batches=[[write("a")]], output=1),
    step("b", "a", error={"code": "site.bad", "message": "no"}),
    step("c", "b"),
)


def run(story: Callable[[World], Awaitable[None]], **settings: Any) -> World:
    """Run a story in a new world, in virtual time, and check the laws of its log."""
    world = World(**settings)
    virtual_time.run(story(world))
    world.laws_hold()
    return world


def ran(world: World) -> list[str]:
    return [asked["step"]["id"] for _, asked, _ in world.sandbox.runs]


def sleeps(seconds: float) -> Callable[[], Awaitable[None]]:
    return lambda: asyncio.sleep(seconds)


class TestPausing:
    def test_nothing_starts_until_it_is_resumed(self) -> None:
        """What runs goes on; who paused it, and why, is under a checkpoint; watchers are told."""

        async def story(world: World) -> None:
            world.faults.put("sandbox.run", sleeps(5))
            mission_id = (await world.submit(TWO)).mission_id
            await asyncio.sleep(1)
            view = await world.desk.pause(BOB, mission_id, "lunch")
            assert (view.paused, view.state) == (True, MissionState.EXECUTING)
            await asyncio.sleep(1_000)
            assert ran(world) == ["a"]
            [paused] = world.log.of("mission.paused")
            committed = await commitments_of(world.store, mission_id)
            assert (paused.actor, paused.details) == (actor(BOB), {"reason": committed.of("lunch")})
            assert not (await world.desk.resume(BOB, mission_id)).paused
            await world.settled()
            assert ran(world) == ["a", "b"]
            kinds = [event.kind for event in world.store.events_of(mission_id)]
            assert kinds.index("mission.paused") < kinds.index("mission.unpaused")

        run(story)

    def test_what_is_so_already_is_a_conflict(self) -> None:
        """Pausing twice, resuming what runs, and either after the end: each names its code."""

        async def story(world: World) -> None:
            world.faults.put("sandbox.run", hang)
            mission_id = (await world.submit(TWO)).mission_id
            await asyncio.sleep(1)
            codes = []
            for act in ("resume", "pause", "pause", "cancel", "pause", "resume"):
                try:
                    arguments = () if act == "resume" else ("",)
                    await getattr(world.desk, act)(ANN, mission_id, *arguments)
                    codes.append("")
                except ConflictError as refused:
                    codes.append(refused.code)
            assert codes == ["mission.not_paused", "", "mission.paused", "", "mission.ended", "mission.ended"]

        run(story)

    def test_another_tenants_mission_does_not_exist(self) -> None:
        """For every call there is."""

        async def story(world: World) -> None:
            world.faults.put("sandbox.run", hang)
            mission_id = (await world.submit(TWO)).mission_id
            desk = world.desk
            for call in (
                desk.pause(EVE, mission_id, ""),
                desk.resume(EVE, mission_id),
                desk.retry(EVE, mission_id, repeat_in_doubt=False),
                desk.list_approvals(EVE, mission_id, pending_only=True),
                desk.decide_approval(EVE, mission_id, "x", approve=True, digest="", comment=""),
            ):
                with pytest.raises(NotFoundError):
                    await call
            with pytest.raises(NotFoundError):
                [result async for result in desk.results(EVE, mission_id, offset=0, follow=True)]
            await desk.close(0)

        run(story)

    def test_parts_are_paused_with_the_whole(self) -> None:
        """A sub-mission starts nothing either, and goes on with the mission of which it is a part."""

        async def story(world: World) -> None:
            world.faults.put("sandbox.run", sleeps(5))
            asks = [{"op": "mission.run", "args": {"mission": TWO}}]
            parent = (await world.submit(mission(step("outer", kind="nesting", batches=[asks], output=1)))).mission_id
            await asyncio.sleep(7)
            await world.desk.pause(ANN, parent, "")
            await asyncio.sleep(1_000)
            assert ran(world) == ["outer", "a"]
            assert all(record.paused for record in world.store.missions.values())
            await world.desk.resume(ANN, parent)
            await world.settled()
            assert {record.state for record in world.store.missions.values()} == {MissionState.COMPLETED}

        run(story)


class TestRetrying:
    def test_what_was_completed_is_kept(self) -> None:
        """Only the failed step and what waits for it run; effects of the others are not repeated."""

        async def story(world: World) -> None:
            view = await world.run(FAILS)
            assert view.state is MissionState.FAILED
            world.sandbox.answer = lambda _asked: {"output": 2}
            retried = await world.desk.retry(BOB, view.mission_id, repeat_in_doubt=False)
            assert (retried.run, retried.state in {MissionState.VALIDATED, MissionState.EXECUTING}) == (2, True)
            await world.settled()
            view = await world.desk.get(ANN, view.mission_id)
            assert view.state is MissionState.COMPLETED
            assert view.result is not None
            assert view.result["step_results"]["a"]["output"] == 1
            assert ran(world) == ["a", "a", "b", "b", "c"]
            [event] = world.log.of("mission.retried")
            assert (event.actor, event.details["run"]) == (actor(BOB), 2)

        run(story)

    def test_a_failed_step_is_told_again_what_it_has_done(self) -> None:
        """A step that fails after an effect: its next run is given the outcome, and the effect is not repeated."""

        async def story(world: World) -> None:
            form = mission(step("a", kind="acting", batches=[[write()]], error={"code": "site.bad", "message": "no"}))
            view = await world.run(form)
            await world.desk.retry(ANN, view.mission_id, repeat_in_doubt=False)
            await world.settled()
            assert len(world.performer.performed) == 1
            assert len(world.log.of("effect.replayed")) == 1
            journals = [asked["journal"] for _, asked, _ in world.sandbox.runs]
            assert [len(journal) for journal in journals] == [0, 1, 0, 1]

        run(story)

    def test_what_is_in_doubt_is_repeated_when_a_person_says_so(self) -> None:
        """Not by a plain retry; with repeat_in_doubt it is."""

        async def story(world: World) -> None:
            world.faults.put("effects.perform", hang, 0)
            mission_id = (
                await world.submit(mission(step("a", kind="acting", batches=[[write()]], output=1)))
            ).mission_id
            await asyncio.sleep(1)
            await world.desk.cancel(ANN, mission_id, "")
            for repeat, expected in ((False, MissionState.FAILED), (True, MissionState.COMPLETED)):
                await world.desk.retry(ANN, mission_id, repeat_in_doubt=repeat)
                await world.settled()
                assert (await world.desk.get(ANN, mission_id)).state is expected
            assert len(world.performer.performed) == 1

        run(story)

    def test_a_step_that_asks_for_something_else_is_stopped(self) -> None:
        """In the place of an effect that was performed there can be no other one."""

        async def story(world: World) -> None:
            form = mission(
                step("a", kind="acting", batches=[[write("x")]], error={"code": "site.bad", "message": "no"})
            )
            view = await world.run(form)
            world.sandbox.answer = lambda asked: {"output": 1} if asked["journal"] else {"effects": [write("y")]}
            await world.desk.retry(ANN, view.mission_id, repeat_in_doubt=True)
            await world.settled()
            view = await world.desk.get(ANN, view.mission_id)
            assert view.result is not None
            assert view.result["step_results"]["a"]["error"]["code"] == "effect.diverged"
            assert [request.args["path"] for request in world.performer.performed] == ["x"]

        run(story)

    def test_it_is_refused_where_it_cannot_be(self) -> None:
        """A mission that runs, and one that policy no longer allows: recorded, and nothing changes."""

        async def story(world: World) -> None:
            failed = (await world.run(FAILS)).mission_id
            world.faults.put("sandbox.run", hang)
            running = (await world.submit(TWO, "running")).mission_id
            await asyncio.sleep(1)
            with pytest.raises(ConflictError) as refused:
                await world.desk.retry(ANN, running, repeat_in_doubt=False)
            assert refused.value.code == "mission.not_ended"
            world.policy.answers["mission"] = Decision(allow=False, bundle=BUNDLE, reasons=(Reason("site.no", "no"),))
            with pytest.raises(PolicyDeniedError):
                await world.desk.retry(ANN, failed, repeat_in_doubt=False)
            assert world.store.missions[failed].run == 1
            assert world.log.of("mission.refused")[-1].target == failed
            await world.desk.close(0)

        run(story)

    def test_a_retry_at_the_moment_of_the_end_waits_for_it(self) -> None:
        """The store has the end a moment before the last event: the next run goes on after that, not beside it."""

        async def story(world: World) -> None:
            mission_id = (await world.submit(FAILS)).mission_id
            watching = world.desk.watch(ANN, mission_id, 0)
            async for event in watching:
                if event.kind == "mission.stopping":
                    world.faults.put("store.events", sleeps(5), None)
                if event.kind == "mission.failed":
                    break
            world.sandbox.answer = lambda _asked: {"output": 2}
            world.faults.put("sandbox.run", sleeps(100))
            await world.desk.retry(ANN, mission_id, repeat_in_doubt=False)
            await asyncio.sleep(50)
            assert (await world.desk.pause(ANN, mission_id, "")).paused  # it is the next run that runs
            world.faults.plan.clear()
            await world.desk.resume(ANN, mission_id)
            await world.settled()
            assert (await world.desk.get(ANN, mission_id)).state is MissionState.COMPLETED
            indices = [event.index for event in world.store.events_of(mission_id)]
            assert indices == list(range(len(indices)))

        run(story)

    def test_a_success_is_not_retried(self) -> None:
        """There is nothing to do anew, and its result stays as it is."""

        async def story(world: World) -> None:
            view = await world.run(TWO)
            with pytest.raises(ConflictError) as refused:
                await world.desk.retry(ANN, view.mission_id, repeat_in_doubt=False)
            assert refused.value.code == "mission.succeeded"
            assert (await world.desk.get(ANN, view.mission_id)).result == view.result

        run(story)

    def test_retries_of_a_step_are_told_what_the_first_attempt_did(self) -> None:
        """A step with a retry policy that fails after its effect: three attempts, one effect."""

        async def story(world: World) -> None:
            error = {"code": "site.bad", "message": "no", "retryable": True}
            policy = {"max_attempts": 3, "backoff": "fixed", "base_ms": 10}
            view = await world.run(mission(step("a", kind="acting", batches=[[write()]], error=error, retry=policy)))
            assert view.result["step_results"]["a"]["attempts"] == 3
            assert len(world.performer.performed) == 1
            assert [asked["step"]["attempt"] for _, asked, _ in world.sandbox.runs] == [1, 1, 2, 2, 3, 3]
            assert len({(asked["now"], asked["seed"]) for _, asked, _ in world.sandbox.runs}) == 1

        run(story)


class TestSharing:
    def test_missions_of_one_key_run_one_after_another(self) -> None:
        """In the order of their priority; one that is cancelled while it waits never begins."""

        async def story(world: World) -> None:
            world.faults.put("sandbox.run", sleeps(10))

            def keyed(name: str, priority: int) -> Any:
                return mission(step(name), config={"concurrency_key": "deploy", "priority": priority})

            ids = {}
            for name, priority in (("first", 5), ("low", 1), ("high", 9), ("gone", 5)):
                ids[name] = (await world.submit(keyed(name, priority), name)).mission_id
            await asyncio.sleep(1)
            view = await world.desk.get(ANN, ids["low"])
            assert view.state is MissionState.VALIDATED
            await world.desk.cancel(ANN, ids["gone"], "")
            await world.settled()
            assert ran(world) == ["first", "high", "low"]
            assert world.store.missions[ids["gone"]].state is MissionState.CANCELLED
            assert "mission.waiting" in [event.kind for event in world.store.events_of(ids["low"])]

        run(story)

    def test_a_part_does_not_wait_for_the_key_of_its_whole(self) -> None:
        """It would wait for a mission that waits for it: refused at once, with a code of its own."""

        async def story(world: World) -> None:
            config = {"concurrency_key": "deploy"}
            asks = [{"op": "mission.run", "args": {"mission": mission(step("a"), config=config)}}]
            view = await world.run(mission(step("outer", kind="nesting", batches=[asks]), config=config))
            error = view.result["step_results"]["outer"]["error"]
            assert error["code"] == "effect.mission_refused"
            assert "mission.concurrency_key_held" in error["message"]

        run(story)

    def test_no_tenant_waits_for_anothers_backlog(self) -> None:
        """Two places, a tenant with a hundred ready steps, another with one: it is among the next that run."""

        async def story(world: World) -> None:
            world.faults.put("sandbox.run", sleeps(1))
            await world.submit(mission(*(step(f"s{n}") for n in range(100)), config={"parallel_limit": 50}))
            await asyncio.sleep(3.5)
            await world.submit(mission(step("other")), principal=EVE)
            await asyncio.sleep(1.5)
            assert "other" in ran(world)
            assert len(ran(world)) < 15
            await world.settled()

        run(story, steps_running_max=2)

    def test_a_kind_that_fails_again_and_again_is_left_alone(self) -> None:
        """Its breaker opens for the tenant: the next such step fails at once, and no module is run for it."""

        async def story(world: World) -> None:
            error = {"code": "site.down", "message": "no", "retryable": True}
            for n in range(3):
                await world.run(mission(step("a", error=error)), f"r{n}")
            runs = len(world.sandbox.runs)
            view = await world.run(mission(step("a")), "after")
            assert view.result["step_results"]["a"]["error"]["code"] == "breaker.open"
            assert len(world.sandbox.runs) == runs
            other = await world.submit(mission(step("a")), principal=EVE)
            await world.settled()
            assert world.store.missions[other.mission_id].state is MissionState.COMPLETED
            await asyncio.sleep(60)
            assert (await world.run(mission(step("a")), "later")).state is MissionState.COMPLETED

        run(story, failures_max=3)

    def test_a_resource_that_is_used_up_opens_the_breaker_at_once(self) -> None:
        """One full disk is enough."""

        async def story(world: World) -> None:
            await world.run(mission(step("a", error={"code": "effect.disk_full", "message": "full"})))
            view = await world.run(mission(step("a")), "next")
            assert view.result["step_results"]["a"]["error"]["code"] == "breaker.open"

        run(story, failures_max=1_000)

    def test_a_full_sandbox_opens_the_breaker_at_once(self) -> None:
        """What the host finds used up counts as what a module reports."""

        async def story(world: World) -> None:
            world.faults.put("sandbox.run", SandboxError("no room", code="sandbox.overloaded"))
            await world.run(mission(step("a")))
            view = await world.run(mission(step("a")), "next")
            assert view.result["step_results"]["a"]["error"]["code"] == "breaker.open"

        run(story, failures_max=1_000)


class TestResults:
    def test_they_come_as_they_are_ready(self) -> None:
        """Each soon after its step has ended, the last with the mission; from an offset, the rest."""

        async def story(world: World) -> None:
            world.faults.put("sandbox.run", sleeps(10))
            mission_id = (await world.submit(TWO)).mission_id
            loop = asyncio.get_running_loop()
            results = world.desk.results(ANN, mission_id, offset=0, follow=True)
            seen = [(result.step_id, round(loop.time())) async for result in results]
            assert seen == [("a", 10), ("b", 20)]
            rest = [r.step_id async for r in world.desk.results(ANN, mission_id, offset=1, follow=False)]
            assert rest == ["b"]

        run(story)


class TestApproving:
    FORM = mission(
        step("ask", kind="asking", batches=[[{"op": "approval.request", "args": {"message": "may it?"}}]], output=1),
        step("then", "ask"),
        step("beside"),
        config={"parallel_limit": 1},
    )

    def test_a_step_waits_without_a_place_and_goes_on(self) -> None:
        """Others run meanwhile, though there is one place; policy is asked again before the step goes on."""

        async def story(world: World) -> None:
            mission_id = (await world.submit(self.FORM)).mission_id
            await asyncio.sleep(100)
            assert ran(world) == ["ask", "beside"]
            [asked] = await world.desk.list_approvals(LEE, mission_id, pending_only=True)
            with pytest.raises(PolicyDeniedError):
                await world.desk.decide_approval(
                    ANN, mission_id, asked.approval_id, approve=True, digest=asked.digest, comment=""
                )
            await world.desk.decide_approval(
                LEE, mission_id, asked.approval_id, approve=True, digest=asked.digest, comment="fine"
            )
            await world.settled()
            assert ran(world) == ["ask", "beside", "ask", "then"]
            assert [e.details.get("again") for e in world.log.of("step.allowed") if e.target.endswith("/ask")] == [
                None,
                True,
            ]

        run(story)

    def test_policy_has_the_last_word_after_a_yes(self) -> None:
        """A bundle that now says no stops the step, whatever a person has said."""

        async def story(world: World) -> None:
            mission_id = (await world.submit(self.FORM)).mission_id
            await asyncio.sleep(1)
            [asked] = await world.desk.list_approvals(LEE, mission_id, pending_only=True)
            world.policy.answers["step"] = Decision(allow=False, bundle=BUNDLE, reasons=(Reason("site.no", "no"),))
            await world.desk.decide_approval(
                LEE, mission_id, asked.approval_id, approve=True, digest=asked.digest, comment=""
            )
            await world.settled()
            view = await world.desk.get(ANN, mission_id)
            assert view.result is not None
            assert view.result["step_results"]["ask"]["error"]["code"] == "site.no"

        run(story)

    def test_a_question_survives_a_restart(self) -> None:
        """The same approval, decided after the restart, lets the step go on."""

        async def story(world: World) -> None:
            mission_id = (await world.submit(self.FORM)).mission_id
            await asyncio.sleep(1)
            await world.desk.close(0)
            world.open_desk()
            await world.desk.recover()
            await asyncio.sleep(1)
            [asked] = await world.desk.list_approvals(LEE, mission_id, pending_only=True)
            await world.desk.decide_approval(
                LEE, mission_id, asked.approval_id, approve=True, digest=asked.digest, comment=""
            )
            await world.settled()
            assert (await world.desk.get(ANN, mission_id)).state is MissionState.COMPLETED

        run(story)

    def test_a_question_ends_with_its_mission(self) -> None:
        """Cancelled: nobody can say yes any more."""

        async def story(world: World) -> None:
            mission_id = (await world.submit(self.FORM)).mission_id
            await asyncio.sleep(1)
            await world.desk.cancel(ANN, mission_id, "")
            [asked] = await world.desk.list_approvals(LEE, mission_id, pending_only=False)
            assert asked.state == "withdrawn"

        run(story)

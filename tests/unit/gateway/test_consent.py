"""Approvals that policy wants: of a step, of an effect, of a mission; what waits, what goes on, and what does not."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from engine.result import MissionState
from gateway.consent import ASKED_MAX, ApprovalDefaults, approval_defaults
from gateway.errors import PolicyDeniedError, PolicyInvalidError
from gateway.identity import Principal, actor
from gateway.policy.decision import Decision
from gateway.policy.obligations import ApprovalDemand
from tests.subjects import commitments_of, known
from tests.unit.gateway.consents import LEA, LEE, LoopWallClock, decide, pending, story, waiting, wanting
from tests.worlds import ANN, BUNDLE, YES, World, mission, scripted, step, write

HELD = mission(step("a", output=1))
NEW = "sha256:" + "c" * 64
NAP = {"op": "timer.sleep", "args": {"ms": 120_000}}


def types(world: World) -> list[str]:
    """Return what the log has of steps, effects, approvals and what was held, in order."""
    kinds = ("step.", "effect.", "approval.", "mission.held", "mission.cleared", "mission.refused")
    return [event.event_type for event in world.log.events if event.event_type.startswith(kinds)]


async def outcome(world: World, mission_id: str) -> Any:
    await world.settled()
    return await world.desk.get(ANN, mission_id)


class TestSteps:
    def test_a_step_waits_for_a_person_and_is_decided_again(self) -> None:
        """No module runs before; policy sees who agreed; the log tells it in its order."""

        async def tell(world: World) -> None:
            world.policy.answers["step"] = wanting()
            mission_id = await waiting(world, HELD)
            assert world.sandbox.runs == []
            [asked] = await pending(world)
            assert (asked.step_id, asked.entrypoint, asked.approvers) == ("a", "step", ("approver",))
            assert asked.message == "Policy asks for an approval of the step a (pure)."
            await decide(world)
            view = await outcome(world, mission_id)
            assert view.result["step_results"]["a"]["output"] == 1
            first, second = [document for point, document in world.policy.asked if point == "step"]
            assert first["approval"] is None
            assert second["approval"] == {
                "approved": True,
                "id": asked.approval_id,
                "by": "lee",
                "roles": ["approver"],
                "decided_at": "2026-01-31T12:00:00.000000Z",
            }
            assert types(world) == [
                "step.held", "approval.requested", "approval.decided", "step.allowed", "step.ended",
            ]  # fmt: skip
            [held], [allowed] = world.log.of("step.held"), world.log.of("step.allowed")
            [requested] = world.log.of("approval.requested")
            committed = await commitments_of(world.store, asked.mission_id)
            assert held.details["approval"]["digest"] == requested.details["digest"] == committed.of(asked.digest)
            assert (requested.actor, requested.details["entrypoint"]) == ("gateway", "step")
            assert allowed.details["approval"] == {
                "id": asked.approval_id,
                "digest": committed.of(asked.digest),
                "by": actor(LEE),
            }

        story(tell)

    @pytest.mark.parametrize(("approve", "code"), [(False, "approval.denied"), (None, "approval.expired")])
    def test_no_or_nobody_is_a_refusal(self, approve: bool | None, code: str) -> None:
        """It halts the mission, as policy's own no does; nothing has run."""

        async def tell(world: World) -> None:
            world.clock = LoopWallClock()
            world.open_desk()
            demand = ApprovalDemand(expires_in_seconds=60)
            world.policy.answers["step"] = lambda asked: wanting(demand) if asked["step"]["id"] == "a" else YES
            form = mission(step("a", output=1), step("b", "c"), step("c", kind="sleeping", batches=[[NAP]], output=1))
            mission_id = await waiting(world, {**form, "config": {"fail_fast": False}})
            if approve is None:
                await asyncio.sleep(58)
                assert len(await pending(world)) == 1
                await asyncio.sleep(2)
            else:
                await decide(world, approve=approve, comment="not today")
            view = await outcome(world, mission_id)
            results = view.result["step_results"]
            assert (results["a"]["error"]["code"], results["b"]["error"]["code"]) == (code, "mission.halted")
            assert "a" not in [asked["step"]["id"] for _, asked, _ in world.sandbox.runs]
            [refused] = world.log.of("step.refused")
            assert refused.details["reasons"][0]["code"] == code

        story(tell)

    def test_what_policy_says_after_the_wait_counts(self) -> None:
        """The bundle has changed while people thought: a no is a no, with the new bundle's digest."""

        async def tell(world: World) -> None:
            world.policy.answers["step"] = wanting()
            mission_id = await waiting(world, HELD)
            [asked] = await pending(world)
            world.policy.answers["step"] = Decision(allow=False, bundle=NEW)
            await decide(world)
            view = await outcome(world, mission_id)
            assert view.result["step_results"]["a"]["error"]["code"] == "policy.denied"
            [refused] = world.log.of("step.refused")
            assert refused.details["bundle"] == NEW
            assert world.log.of("approval.requested")[0].details["bundle"] == BUNDLE
            assert refused.details["approval"]["id"] == asked.approval_id

        story(tell)

    def test_another_role_that_is_wanted_after_the_wait_is_asked_as_well(self) -> None:
        """A yes of somebody without that role is not enough; one that has it is."""

        async def tell(world: World) -> None:
            world.policy.answers["step"] = wanting()
            mission_id = await waiting(world, HELD)
            world.policy.answers["step"] = wanting(ApprovalDemand(approvers=("lead",)))
            await decide(world)
            await asyncio.sleep(1)
            [asked] = await pending(world)
            assert asked.approvers == ("lead",)
            assert world.sandbox.runs == []
            with pytest.raises(PolicyDeniedError, match="one of these roles is needed: lead"):
                await decide(world, LEE)
            await decide(world, LEA)
            view = await outcome(world, mission_id)
            assert view.state is MissionState.COMPLETED
            assert [document["approval"] and document["approval"]["by"] for document in steps(world)] == [
                None, "lee", "lea",
            ]  # fmt: skip

        story(tell)

    def test_a_policy_that_is_never_satisfied_is_given_up(self) -> None:
        """After so many people it is a refusal, not one more question."""

        async def tell(world: World) -> None:
            roles = iter(range(100))
            world.policy.answers["step"] = lambda _: wanting(ApprovalDemand(approvers=(f"role{next(roles)}",)))
            mission_id = await waiting(world, HELD)
            for number in range(ASKED_MAX):
                await decide(world, known(Principal(subject=f"p{number}", tenant="acme", roles=(f"role{number}",))))
                await asyncio.sleep(1)
            view = await outcome(world, mission_id)
            assert view.result["step_results"]["a"]["error"]["code"] == "approval.insufficient"

        story(tell)

    def test_who_submitted_the_mission_does_not_approve_it(self) -> None:
        """Whatever roles they have."""

        async def tell(world: World) -> None:
            world.policy.answers["step"] = wanting()
            mission_id = await waiting(world, HELD)
            with pytest.raises(PolicyDeniedError) as refused:
                await decide(world, replace(ANN, roles=("approver",)))
            assert refused.value.code == "approval.own_mission"
            await decide(world)
            assert (await outcome(world, mission_id)).state is MissionState.COMPLETED

        story(tell)

    def test_a_retry_is_covered_by_the_same_yes(self) -> None:
        """It is the same act; each attempt is decided all the same."""

        async def tell(world: World) -> None:
            world.policy.answers["step"] = wanting()
            failing = {"error": {"code": "site.flaky", "message": "m", "retryable": True}}
            answers = iter([failing, {"output": 2}])
            world.sandbox.answer = lambda _: next(answers)
            mission_id = await waiting(world, mission(step("a", retry={"max_attempts": 2, "base_ms": 1})))
            await decide(world)
            view = await outcome(world, mission_id)
            assert view.result["step_results"]["a"]["output"] == 2
            assert types(world).count("approval.requested") == 1
            assert [document["step"]["attempt"] for document in steps(world)] == [1, 1, 2, 2]

        story(tell)

    def test_a_mission_that_is_retried_asks_anew(self) -> None:
        """What was denied is over, and a yes of an earlier run is not one of this."""

        async def tell(world: World) -> None:
            world.policy.answers["step"] = wanting()
            mission_id = await waiting(world, HELD)
            await decide(world, approve=False)
            await world.settled()
            await world.desk.retry(ANN, mission_id, repeat_in_doubt=False)
            await asyncio.sleep(1)
            await decide(world)
            assert (await outcome(world, mission_id)).state is MissionState.COMPLETED
            first, second = world.log.of("approval.requested")
            assert first.details["digest"] == second.details["digest"]
            assert first.details["approval_id"] != second.details["approval_id"]

        story(tell)

    def test_who_waits_holds_no_place(self) -> None:
        """A step that is not held runs meanwhile, though there is one place."""

        async def tell(world: World) -> None:
            world.policy.answers["step"] = lambda asked: wanting() if asked["step"]["id"] == "a" else YES
            form = mission(step("a"), step("b", output=7), config={"parallel_limit": 1})
            mission_id = await waiting(world, form)
            assert [asked["step"]["id"] for _, asked, _ in world.sandbox.runs] == ["b"]
            await decide(world)
            assert (await outcome(world, mission_id)).state is MissionState.COMPLETED

        story(tell, steps_running_max=1)

    def test_nobody_answering_in_time_opens_no_breaker(self) -> None:
        """Neither of a step nor of an effect: nothing is down because people are slow."""

        async def tell(world: World) -> None:
            for entrypoint in ("step", "effect"):
                world.policy.answers = {entrypoint: wanting()}
                form = mission(step("a", kind="acting", batches=[[write()]], output=1, timeout_seconds=5))
                for n in range(3):
                    view = await world.run(form, f"{entrypoint}{n}")
                    assert view.result["step_results"]["a"]["error"]["code"] == "step.timeout"
                world.policy.answers = {}
                view = await world.run(form, f"{entrypoint} after")
                assert view.state is MissionState.COMPLETED

        story(tell, failures_max=2)

    def test_constraints_and_redaction_come_with_the_later_answer(self) -> None:
        """What policy says once the person has agreed bounds the run."""

        async def tell(world: World) -> None:
            world.policy.answers["step"] = lambda asked: (
                wanting()
                if asked["approval"] is None
                else replace(YES, constraints={"fuel_max": 7}, redact=("/output/b",))
            )
            mission_id = await waiting(world, mission(step("a", output={"b": 1, "c": 2})))
            await decide(world)
            view = await outcome(world, mission_id)
            assert view.result["step_results"]["a"]["output"] == {"b": "[redacted]", "c": 2}
            assert world.sandbox.runs[0][2].fuel_max == 7

        story(tell)

    def test_what_was_said_before_the_wait_holds_as_well(self) -> None:
        """Bounds and masks of each answer, whichever came first; the log has all the pointers."""

        async def tell(world: World) -> None:
            world.policy.answers["step"] = lambda asked: (
                wanting(constraints={"fuel_max": 7}, redact=("/output/b",))
                if asked["approval"] is None
                else wanting(redact=("/output/c",), profile="observational")
            )
            mission_id = await waiting(world, mission(step("a", output={"b": 1, "c": 2, "d": 3})))
            await decide(world)
            view = await outcome(world, mission_id)
            assert view.result["step_results"]["a"]["output"] == {"b": "[redacted]", "c": "[redacted]", "d": 3}
            assert world.sandbox.runs[0][2].fuel_max == 7
            [allowed] = world.log.of("step.allowed")
            assert allowed.details["masked"] == ["/output/b", "/output/c"]
            assert allowed.details["profile"] == "observational"

        story(tell)

    def test_a_message_that_hides_something_is_no_question(self) -> None:
        """Policy may put a client's text into it; a person has to see all of it."""

        async def tell(world: World) -> None:
            world.policy.answers["step"] = wanting(ApprovalDemand(message="Ship \u202eti?"))
            view = await world.run(HELD)
            assert view.result["step_results"]["a"]["error"]["code"] == "policy.obligation_unsupported"
            assert types(world) == ["step.refused", "step.ended"]

        story(tell)

    def test_items_are_asked_for_one_by_one(self) -> None:
        """A yes to one is none to another."""

        async def tell(world: World) -> None:
            world.policy.answers["step"] = wanting()
            mission_id = await waiting(world, mission(step("a", output="${item}", foreach={"items": [1, 2]})))
            asked = await pending(world)
            assert [each.item for each in asked] == [0, 1]
            assert asked[0].digest != asked[1].digest
            for each in asked:
                await world.desk.decide_approval(
                    LEE, mission_id, each.approval_id, approve=True, digest=each.digest, comment=""
                )
            view = await outcome(world, mission_id)
            assert view.result["step_results"]["a"]["output"] == [1, 2]

        story(tell)


class TestEffects:
    FORM = mission(step("a", kind="acting", batches=[[write("x"), write("y")]], output=1))

    def test_nothing_of_a_batch_is_done_before_a_person_agrees(self) -> None:
        """Then the step and all of the batch are decided once more, and done."""

        async def tell(world: World) -> None:
            world.policy.answers["effect"] = lambda asked: wanting() if asked["effect"]["args"]["path"] == "y" else YES
            mission_id = await waiting(world, self.FORM)
            assert world.performer.performed == []
            [asked] = await pending(world)
            assert (asked.entrypoint, asked.step_id) == ("effect", "a")
            assert asked.message == "Policy asks for an approval of file.write, effect 1 of the step a (acting)."
            await decide(world)
            view = await outcome(world, mission_id)
            assert view.state is MissionState.COMPLETED
            assert len(world.performer.performed) == 2
            assert types(world) == [
                "step.allowed",
                *("effect.allowed", "effect.held", "approval.requested", "approval.decided", "effect.allowed"),
                "step.allowed",
                *("effect.allowed", "effect.held", "effect.allowed"),
                *("effect.intended", "effect.intended", "effect.performed", "effect.performed", "step.ended"),
            ]
            again = [event for event in world.log.of("step.allowed") if event.details.get("again")]
            assert [event.details["held"] for event in again] == [True]
            assert types(world).count("approval.requested") == 1

        story(tell)

    def test_a_no_to_one_is_a_no_to_the_batch(self) -> None:
        """Nothing was performed, and the mission halts."""

        async def tell(world: World) -> None:
            world.policy.answers["effect"] = lambda asked: wanting() if asked["effect"]["index"] == 1 else YES
            mission_id = await waiting(world, self.FORM)
            await decide(world, approve=False)
            view = await outcome(world, mission_id)
            assert view.result["step_results"]["a"]["error"]["code"] == "approval.denied"
            assert world.performer.performed == []
            [refused] = world.log.of("effect.refused")
            assert refused.details["code"] == "approval.denied"

        story(tell)

    def test_the_step_is_decided_again_after_the_wait(self) -> None:
        """What closed the step meanwhile closes the effects that a person has approved."""

        async def tell(world: World) -> None:
            world.policy.answers["effect"] = wanting()
            mission_id = await waiting(world, mission(step("a", kind="acting", batches=[[write()]])))
            world.policy.answers["step"] = Decision(allow=False, bundle=NEW)
            await decide(world)
            view = await outcome(world, mission_id)
            assert view.result["step_results"]["a"]["error"]["code"] == "policy.denied"
            assert world.performer.performed == []

        story(tell)

    def test_a_mask_outlasts_a_wait(self) -> None:
        """Of an effect that was decided before it, though policy no longer asks for that."""

        async def tell(world: World) -> None:
            world.policy.answers["effect"] = replace(YES, redact=("/outcome/done",))
            nap = {"op": "timer.sleep", "args": {"ms": 5}}
            mission_id = await waiting(world, mission(step("a", kind="sleeping", batches=[[NAP, write()], [nap]])))
            world.policy.answers["effect"] = YES
            await world.settled()
            entries = [effect.entry or b"" for effect in await world.store.mission_effects(mission_id)]
            assert [b"[redacted]" in entry for entry in entries] == [False, True, False]
            assert (await outcome(world, mission_id)).state is MissionState.COMPLETED

        story(tell)

    def test_other_arguments_are_another_question(self) -> None:
        """A yes to one path is none to another in its place."""

        async def tell(world: World) -> None:
            world.policy.answers["effect"] = wanting()
            for path in ("x", "y"):
                mission_id = await waiting(world, mission(step("a", kind="acting", batches=[[write(path)]])), path)
                await decide(world)
                assert (await outcome(world, mission_id)).state is MissionState.COMPLETED
            first, second = world.log.of("approval.requested")
            assert first.details["digest"] != second.details["digest"]

        story(tell)


class TestMissions:
    def test_it_waits_before_its_first_step(self) -> None:
        """Admitted, recorded, and visible as waiting; the log has it held, and then cleared."""

        async def tell(world: World) -> None:
            world.policy.answers["mission"] = wanting(labels={"risk": "high"})
            mission_id = await waiting(world, HELD)
            view = await world.desk.get(ANN, mission_id)
            assert (view.state, view.waits_for) == (MissionState.VALIDATED, "approval")
            assert view.decision_labels == {"risk": "high"}
            [listed], _ = await world.desk.list_missions(ANN, state=None, page_size=10, page_token="")
            assert listed.waits_for == "approval"
            [asked] = await pending(world)
            assert (asked.entrypoint, asked.step_id) == ("mission", "")
            assert steps(world) == []
            await decide(world)
            view = await outcome(world, mission_id)
            assert (view.state, view.waits_for) == (MissionState.COMPLETED, "")
            assert types(world)[:4] == ["mission.held", "approval.requested", "approval.decided", "mission.cleared"]
            assert {event.target for event in world.log.of("approval.requested")} == {mission_id}
            kinds = [event.kind for event in world.store.events_of(mission_id)]
            assert kinds[:3] == ["mission.waiting", "mission.waited", "mission.executing"]

        story(tell)

    def test_a_no_ends_it_without_a_step(self) -> None:
        """It is Failed with the refusal's code, and every step is skipped."""

        async def tell(world: World) -> None:
            world.policy.answers["mission"] = wanting()
            mission_id = await waiting(world, HELD)
            await decide(world, approve=False, comment="no")
            view = await outcome(world, mission_id)
            assert view.state is MissionState.FAILED
            assert view.result["error"] == {"code": "approval.denied", "message": "denied by lee: no"}
            assert view.result["step_results"]["a"]["status"] == "Skipped"
            assert world.sandbox.runs == []
            [refused] = world.log.of("mission.refused")
            assert (refused.target, refused.details["code"]) == (mission_id, "approval.denied")

        story(tell)

    def test_one_that_is_cancelled_while_it_waits_asks_nobody_any_more(self) -> None:
        """The question is withdrawn, and nothing has run."""

        async def tell(world: World) -> None:
            world.policy.answers["mission"] = wanting()
            mission_id = await waiting(world, {**HELD, "config": {"concurrency_key": "k"}})
            await world.desk.cancel(ANN, mission_id, "")
            assert await pending(world) == []
            view = await world.desk.get(ANN, mission_id)
            assert (view.state, view.waits_for) == (MissionState.CANCELLED, "")
            assert world.sandbox.runs == []
            assert world.ground.keys._queues == {}

        story(tell)

    def test_it_holds_no_concurrency_key_while_it_waits(self) -> None:
        """Another mission with its key runs meanwhile."""

        async def tell(world: World) -> None:
            keyed = {"config": {"concurrency_key": "k"}}
            world.policy.answers["mission"] = lambda asked: wanting() if asked["mission"]["name"] == "held" else YES
            held = await waiting(world, {**HELD, **keyed, "name": "held"}, "held")
            other = await waiting(world, {**HELD, **keyed, "name": "other"}, "other")
            assert (await world.desk.get(ANN, other)).state is MissionState.COMPLETED
            await decide(world)
            assert (await outcome(world, held)).state is MissionState.COMPLETED

        story(tell)

    def test_nothing_is_widened_by_the_later_answer(self) -> None:
        """Both decisions bound every run; the labels are those of the last."""

        async def tell(world: World) -> None:
            world.policy.answers["mission"] = lambda asked: (
                wanting(constraints={"fuel_max": 5}, labels={"risk": "high"})
                if asked["approval"] is None
                else replace(YES, constraints={"memory_bytes_max": 65_536}, labels={"risk": "accepted"})
            )
            mission_id = await waiting(world, HELD)
            await decide(world)
            view = await outcome(world, mission_id)
            limits = world.sandbox.runs[0][2]
            assert (limits.fuel_max, limits.memory_bytes_max) == (5, 65_536)
            assert view.decision_labels == {"risk": "accepted"}

        story(tell)

    def test_a_part_waits_and_its_whole_with_it(self) -> None:
        """A sub-mission is a mission; who submitted the whole does not approve the part."""

        async def tell(world: World) -> None:
            inner = mission(step("i", output=4))
            world.policy.answers["mission"] = lambda asked: (
                wanting() if asked["mission"]["steps"][0]["id"] == "i" else YES
            )
            nest = {"op": "mission.run", "args": {"mission": inner, "outputs": ["i"]}}
            mission_id = await waiting(world, mission(step("outer", kind="nesting", batches=[[nest]], output=1)))
            with pytest.raises(PolicyDeniedError):
                await decide(world, replace(ANN, roles=("approver",)))
            await decide(world)
            assert (await outcome(world, mission_id)).state is MissionState.COMPLETED

        story(tell)

    @pytest.mark.parametrize("ending", ["denied", "expired"])
    def test_a_no_to_a_part_is_not_asked_for_again(self, ending: str) -> None:
        """Retries are for faults: a client whose step tries again and again gets one answer, and is halted by it."""

        async def tell(world: World) -> None:
            world.clock = LoopWallClock()
            world.open_desk()
            inner = mission(step("i", output=4))
            world.policy.answers["mission"] = lambda asked: (
                wanting(ApprovalDemand(expires_in_seconds=60)) if asked["mission"]["steps"][0]["id"] == "i" else YES
            )
            nest = {"op": "mission.run", "args": {"mission": inner, "outputs": ["i"]}}
            retry = {"max_attempts": 5, "backoff": "fixed", "base_ms": 1_000, "jitter": False}
            world.sandbox.answer = lambda asked: (  # as the module of the kind `mission` does
                {"error": {**asked["journal"][-1]["error"], "retryable": _may_be_tried_again(asked)}}
                if asked["journal"] and "error" in asked["journal"][-1]
                else scripted(asked)
            )
            form = mission(step("outer", kind="nesting", batches=[[nest]], output=1, retry=retry))
            mission_id = await waiting(world, form)
            await (decide(world, approve=False) if ending == "denied" else asyncio.sleep(61))
            await asyncio.sleep(30)
            assert await pending(world) == []
            view = await outcome(world, mission_id)
            assert view.state is MissionState.FAILED
            assert view.result["step_results"]["outer"]["error"]["code"] == "effect.mission_stopped"
            assert world.store.connection.execute("SELECT count(*) AS n FROM approvals").fetchone()["n"] == 1

        story(tell)


def _may_be_tried_again(asked: Mapping[str, Any]) -> bool:
    return bool(asked["journal"][-1]["error"]["code"] == "effect.mission_failed")


class TestRestarts:
    @pytest.mark.parametrize("entrypoint", ["mission", "step", "effect"])
    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize("orderly", [True, False])
    def test_a_question_and_its_answer_outlast_the_gateway(self, entrypoint: str, when: str, orderly: bool) -> None:
        """One id, one question, one yes; decided while it was down it counts, and policy is asked all the same."""

        async def tell(world: World) -> None:
            world.policy.answers[entrypoint] = wanting()
            form = mission(step("a", kind="acting", batches=[[write()]], output=1))
            mission_id = await waiting(world, form)
            [asked] = await pending(world)
            if orderly:
                await world.desk.close(0)
            world.open_desk()
            if when == "before":
                await decide(world)
            await world.desk.recover()
            await asyncio.sleep(1)
            if when == "after":
                assert [each.approval_id for each in await pending(world)] == [asked.approval_id]
                assert world.performer.performed == []
                await decide(world)
            view = await outcome(world, mission_id)
            assert view.state is MissionState.COMPLETED
            assert len(world.performer.performed) == 1
            assert world.store.connection.execute("SELECT count(*) AS n FROM approvals").fetchone()["n"] == 1

        story(tell, laws=False)

    def test_a_mission_whose_approval_was_denied_while_the_gateway_was_down_does_not_begin(self) -> None:
        """The no is found again."""

        async def tell(world: World) -> None:
            world.policy.answers["mission"] = wanting()
            mission_id = await waiting(world, HELD)
            await world.desk.close(0)
            world.open_desk()
            await decide(world, approve=False)
            await world.desk.recover()
            view = await outcome(world, mission_id)
            assert view.result["error"]["code"] == "approval.denied"

        story(tell)

    def test_events_of_a_mission_that_waits_outlast_a_kill(self) -> None:
        """A watcher who comes back goes on where it was."""

        async def tell(world: World) -> None:
            world.policy.answers["mission"] = wanting()
            mission_id = await waiting(world, HELD)
            world.open_desk()
            await world.desk.recover()
            await asyncio.sleep(1)
            await decide(world)
            await world.settled()
            kinds = [event.kind for event in world.store.events_of(mission_id)]
            assert kinds[:4] == ["mission.waiting", "mission.waiting", "mission.waited", "mission.resumed"]

        story(tell, laws=False)


class TestLabels:
    def test_labels_are_in_the_evidence(self) -> None:
        """Of a mission, a step and an effect, in the event of their verdict; what is too much is a digest."""

        async def tell(world: World) -> None:
            for entrypoint in ("mission", "step"):
                world.policy.answers[entrypoint] = replace(YES, labels={"of": entrypoint})
            world.policy.answers["effect"] = replace(YES, labels={f"label{n}": "x" * 256 for n in range(64)})
            await world.run(mission(step("a", kind="acting", batches=[[write()]], output=1)))
            [admitted], [allowed] = world.log.of("mission.admitted"), world.log.of("step.allowed")
            assert admitted.details["labels"] == {"of": "mission"}
            assert allowed.details["labels"] == {"of": "step"}
            [effect] = world.log.of("effect.allowed")
            assert "labels" not in effect.details
            assert effect.details["labels_digest"].startswith("hmac-sha256:")

        story(tell)

    def test_labels_of_a_refusal_are_too(self) -> None:
        """A no may be labelled as well."""

        async def tell(world: World) -> None:
            world.policy.answers["step"] = Decision(allow=False, bundle=BUNDLE, labels={"why": "night"})
            await world.run(HELD)
            [refused] = world.log.of("step.refused")
            assert refused.details["labels"] == {"why": "night"}

        story(tell)


class TestDefaults:
    def test_what_a_decision_leaves_out_the_data_says(self) -> None:
        """Roles and time; the data's bound holds whatever the decision says."""
        defaults = approval_defaults(
            {"approvals": {"approvers": ["a", "b"], "expires_seconds": 50, "expires_seconds_max": 100}}
        )
        assert defaults == ApprovalDefaults(approvers=("a", "b"), expires_seconds=50, expires_seconds_max=100)
        assert defaults.seconds(ApprovalDemand()) == 50
        assert defaults.seconds(ApprovalDemand(expires_in_seconds=70)) == 70
        assert defaults.seconds(ApprovalDemand(expires_in_seconds=200)) == 100

    def test_without_data_there_is_a_day_and_a_role(self) -> None:
        """As for approvals that a mission asks for."""
        assert approval_defaults({}) == ApprovalDefaults(
            approvers=("approver",), expires_seconds=86_400, expires_seconds_max=2_592_000
        )
        assert approval_defaults({"approvals": {"expires_seconds_max": 60}}).expires_seconds == 60

    @pytest.mark.parametrize(
        "section",
        [
            [],
            {"approvers": "a"},
            {"approvers": [1]},
            {"approvers": ["a", "a"]},
            {"approvers": [""]},
            {"expires_seconds": 0},
            {"expires_seconds_max": 2_592_001},
            {"expires_seconds": True},
            {"expires_seconds": "60"},
        ],
    )
    def test_data_that_means_nothing_is_refused(self, section: Any) -> None:
        """At the load of the bundle, and not when somebody waits."""
        with pytest.raises(PolicyInvalidError) as refused:
            approval_defaults({"approvals": section})
        assert refused.value.code == "policy.approvals"

    def test_nobody_who_may_is_a_refusal(self) -> None:
        """A site that has no approver has closed what needs one."""

        async def tell(world: World) -> None:
            world.consent._defaults = lambda _: ApprovalDefaults(approvers=())
            world.policy.answers["step"] = wanting()
            view = await world.run(HELD)
            assert view.result["step_results"]["a"]["error"]["code"] == "policy.obligation_unsupported"

        story(tell)


def steps(world: World) -> list[Any]:
    """Return the documents of steps that policy was asked about."""
    return [document for point, document in world.policy.asked if point == "step"]

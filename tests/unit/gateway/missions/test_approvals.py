"""Approvals: who may decide, what is durable when, and what a restart, a timer or a cancellation leaves behind."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from functools import wraps
from typing import Any

import pytest

from engine.audit.errors import AuditUnavailableError
from engine.clock import rfc3339
from engine.errors import EngineError
from engine.result import MissionState, OverallStatus
from gateway.errors import EffectError
from gateway.identity import Principal
from gateway.store.approval_records import ApprovalState
from tests.subjects import KNOWN_ANONYMOUS, commitments_of, known, pseudonym
from tests.unit.gateway.missions.approval_worlds import ANN, BOB, BUNDLE, DIGEST, EVE, LEA, Facts, FakeStore, World
from tests.virtual_time import EPOCH, run


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @wraps(test)
    def runs(*args: Any, **kwargs: Any) -> None:
        run(test(*args, **kwargs))

    return runs


async def failure(task: "asyncio.Task[Any]") -> str:
    with pytest.raises(EffectError) as failed:
        await task
    assert not failed.value.in_doubt
    return failed.value.code


@in_virtual_time
async def test_a_yes_is_the_outcome() -> None:
    """It says who, when and why; the request and the decision are in the log under a checkpoint before."""
    world = World()
    task, record = await world.asked()
    assert world.log.told() == [(pseudonym("acme", "ann"), "approval.requested")]
    view = await world.decide(record)
    assert world.log.told()[1:] == [(pseudonym("acme", "bob"), "approval.decided")]
    assert (view.state, view.decided_by, view.comment) == ("approved", "bob", "fine")
    decided_at = world.store.approvals[record.id].decided_at
    assert decided_at is not None
    assert await task == {
        "approved": True,
        "approval_id": record.id,
        "by": "bob",
        "comment": "fine",
        "decided_at": rfc3339(decided_at),
    }
    assert world.places == ["left", "back"]


@in_virtual_time
async def test_the_log_is_told_digests_and_the_watchers_what_a_decision_needs() -> None:
    """Neither the message nor the comment is in the log; watchers get the digest, after the request is durable."""
    world = World()
    task, record = await world.asked(args={"message": "Ship it?", "approvers": ["lead"]}, item=3)
    await world.decide(record, LEA, comment="because")
    await task
    requested, decided = world.log.events
    assert (requested.target, decided.target) == ("m1/s1", "m1/s1")
    committed = await commitments_of(world.store, "m1")
    assert requested.details["digest"] == decided.details["digest"] == committed.of(DIGEST)
    assert requested.details["message"] == committed.of("Ship it?")
    assert decided.details["comment"] == committed.of("because")
    assert (requested.details["bundle"], requested.details["item"]) == (BUNDLE, 3)
    assert "Ship it?" not in repr(world.log.events)
    assert "because" not in repr(world.log.events)
    (mission_id, step_id, kind, details), waited = world.told
    assert (mission_id, step_id, kind) == ("m1", "s1", "step.waiting")
    state = {"for": "approval", "approval_id": record.id, "state": "approved", "item": 3}
    assert waited == ("m1", "s1", "step.waited", state)
    assert details == {
        "for": "approval",
        "approval_id": record.id,
        "digest": DIGEST,
        "message": "Ship it?",
        "approvers": ["lead"],
        "expires_at": rfc3339(record.expires_at),
        "item": 3,
    }


@in_virtual_time
async def test_a_no_is_an_error_that_says_who_and_why() -> None:
    """The step fails with it; nothing is in doubt."""
    world = World()
    task, record = await world.asked()
    await world.decide(record, approve=False, comment="not today")
    with pytest.raises(EffectError, match="denied by bob: not today") as denied:
        await task
    assert (denied.value.code, denied.value.in_doubt) == ("effect.approval_denied", False)


REFUSED = {
    "no role": (LEA, {}, "approval.not_yours"),
    "no roles at all": (known(Principal(subject="x", tenant="acme")), {}, "approval.not_yours"),
    "anonymous": (
        known(Principal(subject="y", tenant="acme", roles=("approver",), anonymous=True)),
        {},
        "approval.not_yours",
    ),
    "the submitter": (ANN, {}, "approval.own_mission"),
    "another digest": (BOB, {"digest": "sha256:" + "e" * 64}, "approval.digest_mismatch"),
    "no digest": (BOB, {"digest": ""}, "approval.digest_mismatch"),
}


@pytest.mark.parametrize(("principal", "fields", "code"), REFUSED.values(), ids=REFUSED)
@in_virtual_time
async def test_who_may_not_decide_does_not(principal: Principal, fields: dict[str, Any], code: str) -> None:
    """Each refusal has its code, is in the log, and leaves the approval as it was; another may decide after it."""
    world = World()
    task, record = await world.asked()
    with pytest.raises(EngineError) as refused:
        await world.decide(record, principal, **fields)
    assert refused.value.code == code
    assert world.store.approvals[record.id].state is ApprovalState.PENDING
    assert world.log.told()[-1][1] == "approval.refused"
    assert world.log.events[-1].details["code"] == code
    await world.decide(record)
    assert (await task)["approved"] is True


@pytest.mark.parametrize(("approval_id", "mission_id"), [("none", "m1"), (None, "m2"), (None, "m9")])
@in_virtual_time
async def test_what_is_not_there_for_a_principal_is_not_found(approval_id: str | None, mission_id: str) -> None:
    """Another approval, another mission, no mission: one code for each kind, and the same for another tenant's."""
    world = World(store=FakeStore(Facts(), Facts(id="m2", root_id="m2")))
    task, record = await world.asked()
    with pytest.raises(EngineError, match="there is no such") as refused:
        await world.approvals.decide(BOB, mission_id, approval_id or record.id, approve=True, digest=DIGEST, comment="")
    assert refused.value.code.endswith("not_found")
    with pytest.raises(EngineError) as foreign:
        await world.decide(record, EVE)
    assert foreign.value.code == "mission.not_found"
    task.cancel()


@in_virtual_time
async def test_the_submitter_of_the_root_does_not_approve_its_parts() -> None:
    """Four eyes hold for the whole tree, whoever is written down as the submitter of a part."""
    store = FakeStore(Facts(submitter="robot", root_id="m0", parent_id="m0", depth=1), Facts(id="m0", root_id="m0"))
    world = World(store=store)
    task, record = await world.asked()
    with pytest.raises(EngineError) as refused:
        await world.decide(record, ANN)
    assert refused.value.code == "approval.own_mission"
    await world.decide(record, BOB)
    await task


@in_virtual_time
async def test_an_approval_is_decided_once() -> None:
    """Of two who decide at the same moment one does; later ones hear that it is decided."""
    world = World()
    task, record = await world.asked()
    both = await asyncio.gather(
        world.decide(record, approve=True),
        world.decide(record, known(Principal(subject="cy", tenant="acme", roles=("approver",))), approve=False),
        return_exceptions=True,
    )
    assert [getattr(each, "code", "decided") for each in both] == ["decided", "approval.decided"]
    assert (await task)["by"] == "bob"
    with pytest.raises(EngineError) as late:
        await world.decide(record, approve=False)
    assert late.value.code == "approval.decided"
    assert [t for _, t in world.log.told()].count("approval.decided") == 1


@pytest.mark.parametrize("comment", ["x" * 1_001, "a\u202eb", "a\x00b"])
@in_virtual_time
async def test_a_comment_is_text_for_people(comment: str) -> None:
    """It reaches a step's output and a screen: what is too long or cannot be seen is refused."""
    world = World()
    task, record = await world.asked()
    with pytest.raises(EngineError):
        await world.decide(record, comment=comment)
    assert world.store.approvals[record.id].state is ApprovalState.PENDING
    task.cancel()


# --- time ---


@in_virtual_time
async def test_what_nobody_decides_expires() -> None:
    """At its moment, recorded as nobody's decision; deciding it then is too late."""
    world = World()
    task, record = await world.asked(args={"message": "m", "expires_in_seconds": 600})
    assert await failure(task) == "effect.approval_expired"
    assert asyncio.get_running_loop().time() == pytest.approx(600, abs=2)
    assert world.store.approvals[record.id].state is ApprovalState.EXPIRED
    assert world.log.told()[-1] == ("gateway", "approval.decided")
    with pytest.raises(EngineError) as late:
        await world.decide(record)
    assert late.value.code == "approval.expired"


@in_virtual_time
async def test_a_late_decision_is_refused_before_the_expiry_is_recorded() -> None:
    """The rule is the clock, not the timer."""
    world = World()
    task, record = await world.asked(args={"message": "m", "expires_in_seconds": 600})
    task.cancel()  # so that nobody records the expiry
    await asyncio.sleep(600)
    assert world.store.approvals[record.id].state is ApprovalState.PENDING
    with pytest.raises(EngineError) as late:
        await world.decide(record)
    assert late.value.code == "approval.expired"
    assert [view.state for view in await world.approvals.list(BOB, "m1", pending_only=False)] == ["expired"]
    assert await world.approvals.list(BOB, "m1", pending_only=True) == ()


@in_virtual_time
async def test_many_wait_on_one_timer() -> None:
    """A thousand waiting steps have one timer of the loop among them, and each expires at its own moment."""
    world = World(waiting_max=1_000)
    tasks = [
        world.ask(f"k{i}", args={"message": "m", "expires_in_seconds": 100 + i}, step_id=f"s{i}") for i in range(1_000)
    ]
    await asyncio.sleep(50)
    loop: Any = asyncio.get_running_loop()
    assert len([timer for timer in loop._scheduled if not timer.cancelled()]) == 1
    ends = [await failure(task) for task in tasks]
    assert set(ends) == {"effect.approval_expired"}
    expired = [record.decided_at for record in world.store.approvals.values()]
    assert all(at is not None for at in expired)
    assert world.store.approvals[next(iter(world.store.approvals))].decided_at == EPOCH + timedelta(seconds=100)


@in_virtual_time
async def test_more_may_not_wait_than_there_is_room_for() -> None:
    """One step too many is told so, with a code that another attempt may follow."""
    world = World(waiting_max=1)
    task, record = await world.asked("a")
    assert await failure(world.ask("b")) == "effect.overloaded"
    await world.decide(record)
    await task
    second, record = await world.asked("b")
    await world.decide(record)
    await second


# --- restarts and faults ---


@in_virtual_time
async def test_a_restart_finds_the_pending_request() -> None:
    """The same effect key is the same approval, with its digest, its time and its id."""
    world = World()
    task, record = await world.asked()
    task.cancel()
    world.open()
    task, again = await world.asked()
    assert again == record
    assert len(world.store.approvals) == 1
    await world.decide(record)
    assert (await task)["approval_id"] == record.id


@in_virtual_time
async def test_a_decision_between_death_and_resumption_counts() -> None:
    """Decided while no step waited: the request is in the log before the decision, and the step finds the answer."""
    world = World()
    task, record = await world.asked()
    task.cancel()
    world.open()
    world.log.events.clear()
    world.log.size = 0
    await world.decide(record)
    assert [event_type for _, event_type in world.log.told()] == ["approval.requested", "approval.decided"]
    assert (await world.ask())["by"] == "bob"
    assert len(world.log.events) == 2


@in_virtual_time
async def test_a_decision_that_the_log_has_not_is_logged_before_the_step_goes_on() -> None:
    """Killed between store and log: the step finds the decision, tells the log, and only then has its outcome."""
    world = World()
    task, record = await world.asked()
    task.cancel()
    await world.store.decide_approval(record.id, ApprovalState.APPROVED, "bob", "fine")
    world.open()
    task = world.ask()
    assert (await task)["by"] == "bob"
    assert world.log.told()[-1] == (pseudonym("acme", "bob"), "approval.decided")


@in_virtual_time
async def test_a_step_does_not_go_on_while_the_log_has_not_the_decision() -> None:
    """The store has the decision at once, the log a second later: the outcome comes after that."""
    world = World()
    task, record = await world.asked()
    deciding = asyncio.create_task(world.decide(record))
    await asyncio.sleep(0.5)
    assert world.store.approvals[record.id].state is ApprovalState.APPROVED
    assert not task.done()
    await deciding
    await task
    assert world.log.told()[-1][1] == "approval.decided"


@in_virtual_time
async def test_hanging_up_does_not_undo_a_decision() -> None:
    """A call that is cancelled in the middle leaves a decision that is recorded as a whole, or none."""
    for moment in range(40):
        world = World()
        task, record = await world.asked()
        deciding = asyncio.create_task(world.decide(record))
        for _ in range(moment):
            await asyncio.sleep(0 if moment < 20 else 0.1)
        deciding.cancel()
        await asyncio.gather(deciding, return_exceptions=True)
        await world.approvals.close()
        decided = world.store.approvals[record.id].state is ApprovalState.APPROVED
        assert decided is ("approval.decided" in [t for _, t in world.log.told()])
        if not decided:
            await world.decide(record)
        assert (await task)["approved"] is True


@in_virtual_time
async def test_a_log_that_fails_lets_no_step_go_on() -> None:
    """Before the wait and after it: the step fails without an outcome, and may be tried again."""
    world = World()
    world.log.fault = AuditUnavailableError("the log is dead")
    assert await failure(world.ask()) == "effect.unavailable"
    assert world.told == []
    world.log.fault = None
    task, record = await world.asked()
    await world.store.decide_approval(record.id, ApprovalState.APPROVED, "bob", "fine")
    world.log.fault = AuditUnavailableError("the log is dead")
    world.approvals._wake(record.id)
    assert await failure(task) == "effect.unavailable"


@in_virtual_time
async def test_a_store_that_fails_is_no_answer() -> None:
    """The step fails with a code that another attempt may follow; no approval comes of it."""
    world = World()
    world.store.broken = True
    assert await failure(world.ask()) == "effect.unavailable"


# --- what an approval is bound to ---


@in_virtual_time
async def test_an_approval_is_for_what_was_looked_at() -> None:
    """Asked again under the same key about something else, pending or approved: it does not count, ever."""
    world = World()
    task, record = await world.asked()
    other = {"digest": "sha256:" + "e" * 64}
    assert await failure(world.ask(**other)) == "effect.approval_unbound"
    await world.decide(record)
    await task
    assert await failure(world.ask(**other)) == "effect.approval_unbound"


@in_virtual_time
async def test_nothing_is_asked_without_a_digest() -> None:
    """A scope that says nothing of what is decided can bind no approval."""
    world = World()
    assert await failure(world.ask(digest="")) == "effect.approval_unbound"
    assert world.store.approvals == {}


@in_virtual_time
async def test_a_mission_that_is_retried_asks_anew() -> None:
    """What was denied in an earlier run is over; within a run a denial stands."""
    world = World()
    task, record = await world.asked()
    await world.decide(record, approve=False)
    assert await failure(task) == "effect.approval_denied"
    assert await failure(world.ask()) == "effect.approval_denied"
    world.store.missions["m1"] = Facts(run=2)
    task = world.ask()
    await asyncio.sleep(5)
    [_, second] = world.store.approvals.values()
    await world.decide(second)
    assert (await task)["approval_id"] == second.id


@pytest.mark.parametrize(
    "args",
    [{}, {"message": ""}, {"message": "m", "approvers": []}, {"message": "m", "expires_in_seconds": 0}, {"x": 1}],
    ids=repr,
)
@in_virtual_time
async def test_arguments_are_checked_again(args: dict[str, Any]) -> None:
    """A performer does not trust that somebody has checked."""
    world = World()
    assert await failure(world.ask(args=args or {"approvers": ["a"]})) == "effect.arguments"


# --- the end of a mission ---


@in_virtual_time
async def test_a_mission_that_ends_withdraws_what_it_asks_for() -> None:
    """Pending requests end with it, in store and log; they can no longer be decided."""
    world = World()
    task, record = await world.asked()
    task.cancel()
    world.store.missions["m1"] = Facts().ended(MissionState.CANCELLED, OverallStatus.FAILED)
    with pytest.raises(EngineError) as late:
        await world.decide(record)
    assert late.value.code == "approval.mission_ended"
    await world.approvals.withdraw("acme", "m1")
    assert world.store.approvals[record.id].state is ApprovalState.WITHDRAWN
    assert world.log.told()[-1] == ("gateway", "approval.decided")
    with pytest.raises(EngineError) as late:
        await world.decide(record)
    assert late.value.code == "approval.decided"
    assert await failure(world.ask()) == "effect.approval_withdrawn"


@in_virtual_time
async def test_more_requests_than_the_store_tells_at_once_are_withdrawn() -> None:
    """A fan-out may ask for many; none is left for anybody to answer."""
    world = World()
    world.store.page = 2
    for at in range(5):
        task, _record = await world.asked(f"k{at}")
        task.cancel()
    await world.approvals.withdraw("acme", "m1")
    assert [each.state for each in world.store.approvals.values()] == [ApprovalState.WITHDRAWN] * 5
    assert world.log.told().count(("gateway", "approval.decided")) == 5


@in_virtual_time
async def test_a_cancelled_step_leaves_the_request_and_no_trace_in_memory() -> None:
    """A suspended mission asks again later, so the request stays; nothing waits for it and no timer runs."""
    world = World()
    task, record = await world.asked()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert world.store.approvals[record.id].state is ApprovalState.PENDING
    assert world.approvals._waiters == {}
    loop: Any = asyncio.get_running_loop()
    assert [timer for timer in loop._scheduled if not timer.cancelled()] == []


@in_virtual_time
async def test_lists_are_of_the_own_tenant() -> None:
    """One mission's or all of the tenant's; another tenant sees none, and not that the mission exists."""
    world = World(store=FakeStore(Facts(), Facts(id="m2", root_id="m2")))
    first, record = await world.asked("a")
    second, _ = await world.asked("b", mission_id="m2")
    assert [v.approval_id for v in await world.approvals.list(BOB, "m1", pending_only=True)] == [record.id]
    assert len(await world.approvals.list(BOB, None, pending_only=True)) == 2
    await world.decide(record)
    await first
    assert len(await world.approvals.list(BOB, None, pending_only=True)) == 1
    [view] = await world.approvals.list(BOB, "m1", pending_only=False)
    assert view.document()["state"] == "approved"
    assert await world.approvals.list(EVE, None, pending_only=False) == ()
    with pytest.raises(EngineError) as hidden:
        await world.approvals.list(EVE, "m1", pending_only=False)
    assert hidden.value.code == "mission.not_found"
    second.cancel()


@in_virtual_time
async def test_an_anonymous_mission_is_named_as_such() -> None:
    """The log's actor of a request is who submitted the mission."""
    world = World()
    task, record = await world.asked(caller=KNOWN_ANONYMOUS)
    assert world.log.told() == [("anonymous", "approval.requested")]
    task.cancel()
    assert record.approvers == ("approver",)

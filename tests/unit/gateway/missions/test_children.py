"""Sub-missions: found again by the effect's key, waited for, retried, cancelled with the step that runs them."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import wraps
from typing import Any

import pytest

from engine.errors import RefusalError, SuspendedError
from engine.result import MissionState, OverallStatus, StepFailure, StepResult, StepState
from engine.values import JsonObject
from gateway.effects.performer import EffectRequest
from gateway.errors import ConflictError, EffectError, OverloadedError, PolicyDeniedError, Reason, StoreError
from gateway.identity import Principal
from gateway.missions.children import Children
from gateway.missions.views import Submission
from tests.unit.gateway.missions.approval_worlds import ANN, Facts, FakeStore, World
from tests.virtual_time import EPOCH, run

FORM: JsonObject = {"version": "1.0", "name": "n", "steps": [{"id": "a"}, {"id": "b"}, {"id": "c"}]}
SUCCESS = (MissionState.COMPLETED, OverallStatus.SUCCESS)
FAILED = (MissionState.FAILED, OverallStatus.FAILED)


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @wraps(test)
    def runs(*args: Any, **kwargs: Any) -> None:
        run(test(*args, **kwargs))

    return runs


class FakeDesk:
    """Runs missions by keeping them until a test ends them."""

    def __init__(self, store: FakeStore) -> None:
        self.suspending = False
        self.calls: list[tuple[Any, ...]] = []
        self.refusal: Exception | None = None
        self._store = store
        self._requests: dict[str, str] = {}
        self._ends: dict[str, asyncio.Event] = {}

    async def submit_child(
        self, parent_id: str, caller: Principal, _taint: frozenset[str], form: JsonObject, request_id: str
    ) -> Submission:
        await asyncio.sleep(1)
        if self.refusal is not None:
            raise self.refusal
        self.calls.append(("submit", parent_id, caller.subject, form["name"], request_id))
        created = request_id not in self._requests
        mission_id = self._requests.setdefault(request_id, f"c{len(self._requests) + 1}")
        if created:
            parent = self._store.missions[parent_id]
            self._store.missions[mission_id] = Facts(
                id=mission_id, parent_id=parent_id, root_id=parent.root_id, depth=parent.depth + 1
            )
            self._ends[mission_id] = asyncio.Event()
        return Submission(mission_id=mission_id, digest="", created=created, decision=None)

    async def ended(self, mission_id: str) -> Facts:
        await self._ends[mission_id].wait()
        if self.suspending:
            raise SuspendedError("suspended")
        return self._store.missions[mission_id]

    async def cancel_own(self, mission_id: str, reason: str) -> None:
        self.calls.append(("cancel", mission_id))
        if self._store.missions[mission_id].ended_at is not None:
            raise ConflictError("ended", code="mission.ended")
        self.end(mission_id, MissionState.CANCELLED, OverallStatus.FAILED, StepFailure(code="x", message=reason))

    async def retry_own(self, mission_id: str) -> None:
        self.calls.append(("retry", mission_id))
        if self._store.missions[mission_id].ended_at is None:
            raise ConflictError("running", code="mission.state")
        self._store.missions[mission_id] = Facts(id=mission_id, parent_id="m1", run=2)
        self._ends[mission_id].clear()

    def end(
        self, mission_id: str, state: MissionState, status: OverallStatus, error: StepFailure | None = None
    ) -> None:
        self._store.missions[mission_id] = self._store.missions[mission_id].ended(state, status, error)
        self._ends[mission_id].set()

    def suspend(self, mission_id: str) -> None:
        self.suspending = True
        self._ends[mission_id].set()

    def of(self, what: str) -> list[tuple[Any, ...]]:
        return [call for call in self.calls if call[0] == what]


class Nest:
    """Sub-missions of one mission, on fakes."""

    def __init__(self) -> None:
        self.store = FakeStore()
        self.desk = FakeDesk(self.store)
        self.world = World(store=self.store)
        self.children = Children(self.store)
        self.told: list[tuple[str, str, str, Mapping[str, Any]]] = []
        self.children.bind(self.desk, lambda *told: self.told.append(told))

    def run(self, key: str = "k", *, args: Mapping[str, Any] | None = None, **scope: Any) -> "asyncio.Task[Any]":
        given = args if args is not None else {"mission": FORM, "outputs": ["a", "c"]}
        request = EffectRequest(op="mission.run", args=given, key=key, timeout_seconds=float("inf"))
        return asyncio.create_task(self.children.perform(request, self.world.scope(**scope)))

    async def running(self, key: str = "k", **fields: Any) -> "asyncio.Task[Any]":
        task = self.run(key, **fields)
        await asyncio.sleep(2)
        return task

    def results(self, mission_id: str, **outputs: Any) -> None:
        self.store.results[mission_id] = [
            StepResult(step_id=step_id, status=StepState.COMPLETED, output=output, duration_ms=1.0, timestamp=EPOCH)
            for step_id, output in outputs.items()
        ]


async def failure(task: "asyncio.Task[Any]") -> str:
    with pytest.raises(EffectError) as failed:
        await task
    assert not failed.value.in_doubt
    return failed.value.code


@in_virtual_time
async def test_a_success_brings_the_outputs_that_were_asked_for() -> None:
    """Over several pages of results, null for a step without one; the watchers hear which mission is waited for."""
    nest = Nest()
    task = await nest.running(item=2)
    assert nest.desk.calls == [("submit", "m1", "ann", "n", "child:k")]
    part = {"for": "mission", "mission_id": "c1", "item": 2}
    assert nest.told == [("m1", "s1", "step.waiting", part)]
    assert nest.world.places == ["left"]
    nest.results("c1", x=0, b=2, y=1, a={"n": 1})
    nest.desk.end("c1", *SUCCESS)
    assert await task == {"mission_id": "c1", "status": "Success", "outputs": {"a": {"n": 1}, "c": None}}
    assert nest.world.places == ["left", "back"]
    assert nest.told[1:] == [("m1", "s1", "step.waited", {**part, "state": "Completed"})]


@in_virtual_time
async def test_no_outputs_are_brought_unasked() -> None:
    """A mission of many steps is no journal entry."""
    nest = Nest()
    task = await nest.running(args={"mission": FORM})
    nest.desk.end("c1", *SUCCESS)
    assert await task == {"mission_id": "c1", "status": "Success", "outputs": {}}


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (PolicyDeniedError([Reason("mission.kind_not_granted", "no")]), "effect.mission_refused"),
        (RefusalError("too deep", code="mission.too_deep"), "effect.mission_refused"),
        (OverloadedError("full", code="mission.too_many_running"), "effect.overloaded"),
        (StoreError("the disk is gone"), "effect.unavailable"),
    ],
)
@in_virtual_time
async def test_a_mission_that_is_not_admitted_says_why(raised: Exception, code: str) -> None:
    """A refusal stands; want of room or of a store may pass."""
    nest = Nest()
    nest.desk.refusal = raised
    assert await failure(nest.run()) == code


@pytest.mark.parametrize(
    "args",
    [
        {},
        {"mission": "n"},
        {"mission": FORM, "outputs": ["d"]},
        {"mission": {}, "outputs": ["a"]},
        {"mission": {}, "x": 1},
    ],
    ids=repr,
)
@in_virtual_time
async def test_arguments_are_checked_before_anything_runs(args: dict[str, Any]) -> None:
    """An output of a step that the mission has not is told at once, not when it has ended."""
    nest = Nest()
    assert await failure(nest.run(args=args)) == "effect.arguments"
    assert nest.desk.calls == []


STOPPED = {
    "failed": (FAILED, None, "effect.mission_failed"),
    "partial": ((MissionState.COMPLETED, OverallStatus.PARTIAL), None, "effect.mission_failed"),
    "timeout": (FAILED, "mission.timeout", "effect.mission_failed"),
    "cancelled": ((MissionState.CANCELLED, OverallStatus.FAILED), "mission.cancelled", "effect.mission_stopped"),
    "restarts": (FAILED, "mission.restart_intensity", "effect.mission_stopped"),
    "halted": (FAILED, "mission.halted", "effect.mission_stopped"),
}


@pytest.mark.parametrize(("end", "stop", "code"), STOPPED.values(), ids=STOPPED)
@in_virtual_time
async def test_what_is_no_success_is_an_error(end: Any, stop: str | None, code: str) -> None:
    """One code for what another attempt may help, another for what a person has to look at."""
    nest = Nest()
    task = await nest.running()
    if stop is not None:
        nest.store.stops["c1"] = stop
    nest.desk.end("c1", *end)
    assert await failure(task) == code


@in_virtual_time
async def test_another_attempt_retries_the_mission_that_failed() -> None:
    """The same mission, by the same request id; not a second one."""
    nest = Nest()
    task = await nest.running()
    nest.desk.end("c1", *FAILED)
    assert await failure(task) == "effect.mission_failed"
    task = await nest.running()
    assert nest.desk.of("retry") == [("retry", "c1")]
    nest.results("c1", a=1, c=3)
    nest.desk.end("c1", *SUCCESS)
    assert (await task)["outputs"] == {"a": 1, "c": 3}


@in_virtual_time
async def test_a_mission_that_runs_or_has_succeeded_is_not_begun_again() -> None:
    """A restart of the gateway finds it by its key: it is waited for, or its outcome read."""
    nest = Nest()
    task = await nest.running()
    nest.desk.suspending = True
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    nest.desk.suspending = False
    task = await nest.running()
    nest.results("c1", a=1)
    nest.desk.end("c1", *SUCCESS)
    assert (await task)["outputs"]["a"] == 1
    assert (await nest.run())["outputs"]["a"] == 1
    assert nest.desk.of("retry") == nest.desk.of("cancel") == []


@in_virtual_time
async def test_a_mission_that_only_has_the_request_id_is_not_taken_for_a_part() -> None:
    """Somebody's own mission under that id brings nothing in."""
    nest = Nest()
    task = await nest.running()
    nest.desk.end("c1", *SUCCESS)
    await task
    nest.store.missions["c1"] = Facts(id="c1", root_id="c1").ended(*SUCCESS)
    assert await failure(nest.run()) == "effect.mission_refused"


@pytest.mark.parametrize("moment", [0.5, 2.0])
@in_virtual_time
async def test_cancelling_the_step_cancels_the_mission(moment: float) -> None:
    """Also one that is being submitted at that moment: it is known once it is admitted, and cancelled then."""
    nest = Nest()
    task = nest.run()
    await asyncio.sleep(moment)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await nest.children.close()
    assert nest.desk.of("cancel") == [("cancel", "c1")]
    assert nest.store.missions["c1"].state is MissionState.CANCELLED


@pytest.mark.parametrize("moment", [0.5, 2.0])
@in_virtual_time
async def test_suspending_the_gateway_cancels_no_mission(moment: float) -> None:
    """The next start goes on with both."""
    nest = Nest()
    task = nest.run()
    await asyncio.sleep(moment)
    nest.desk.suspending = True
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await nest.children.close()
    await asyncio.sleep(2)
    assert nest.desk.of("cancel") == []


@in_virtual_time
async def test_a_mission_that_is_suspended_first_ends_no_step() -> None:
    """The step that waits for it has no outcome: it waits for its own cancellation."""
    nest = Nest()
    task = await nest.running()
    nest.desk.suspend("c1")
    await asyncio.sleep(100)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@in_virtual_time
async def test_a_submission_that_is_refused_after_the_step_was_cancelled_is_nobodys_concern() -> None:
    """There is nothing to cancel, and nothing is left over."""
    nest = Nest()
    nest.desk.refusal = RefusalError("no", code="x.y")
    task = nest.run()
    await asyncio.sleep(0.5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await nest.children.close()
    assert nest.desk.calls == []


@in_virtual_time
async def test_without_a_desk_no_mission_is_run() -> None:
    """A gateway that is not wired says no."""
    nest = Nest()
    nest.children = Children(nest.store)
    assert await failure(nest.run(caller=ANN)) == "effect.unavailable"

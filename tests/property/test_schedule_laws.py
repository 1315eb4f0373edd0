"""Laws of schedules: random graphs, random behaviour of steps, random interference, and what holds all the same."""

import asyncio
import heapq
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import StepError
from engine.mission import MissionConfig
from engine.plan import Plan
from engine.result import MissionResult, MissionState, OverallStatus
from tests.schedules import (
    ASKED,
    Act,
    RecordingObserver,
    ScriptedRunner,
    check_consistent,
    codes,
    ignores_cancellation,
    plan_of,
    raises,
    run_of,
    sleeps,
    statuses,
)
from tests.virtual_time import run

STEPS_MAX = 12
GRACE_SECONDS = 2.0

DELAYS = st.sampled_from([0.0, 0.5, 1.0, 1.5, 3.0, 9.0])  # the last: longer than deadline and grace together


class UnlikelyError(BaseException):
    """What no `except Exception` sees."""


@dataclass(frozen=True)
class Behaviour:
    """What a step does, after how long, and whether it heeds its cancellation."""

    kind: str
    delay: float

    def act(self) -> Act:
        match self.kind:
            case "completes":
                return sleeps(self.delay, {"ok": True})
            case "fails":
                return raises(StepError("no"), after=self.delay)
            case "breaks":
                return raises(ValueError("bug"), after=self.delay)
            case "unlikely":
                return raises(UnlikelyError(), after=self.delay)
            case "cancels itself":
                return raises(asyncio.CancelledError(), after=self.delay)
            case "lies":
                return sleeps(self.delay, float("nan"))
            case "stubborn":
                return ignores_cancellation(self.delay)
            case "stubborn, fails":
                return ignores_cancellation(self.delay, then=StepError("no"))
            case "violates":
                return raises(StepError("no", code="policy.denied", halts_mission=True), after=self.delay)
        raise AssertionError(self.kind)


SURE = ("completes", "stubborn")
FAILING = ("fails", "breaks", "unlikely", "cancels itself", "lies", "stubborn, fails")
ANY_KIND = st.sampled_from([*SURE, *SURE, *SURE, *FAILING, "violates"])


@dataclass(frozen=True)
class Case:
    plan: Plan
    behaviours: dict[str, Behaviour]

    def runner(self) -> ScriptedRunner:
        return ScriptedRunner({step_id: behaviour.act() for step_id, behaviour in self.behaviours.items()})


@st.composite
def cases(draw: st.DrawFn, *, kinds: st.SearchStrategy[str] = ANY_KIND, timeouts: bool = True) -> Case:
    """Draw a plan whose document order is not its topological order, and what its steps do."""
    count = draw(st.integers(1, STEPS_MAX))
    rank = draw(st.permutations(range(count)))
    edges = {
        f"s{n}": [f"s{m}" for m in range(count) if rank[m] < rank[n] and draw(st.integers(0, 3)) == 0]
        for n in range(count)
    }
    ids = list(edges)
    limits = {s: draw(st.sampled_from([0.75, 1.0, 1.25])) for s in ids if timeouts and draw(st.integers(0, 3)) == 0}
    config = MissionConfig(
        timeout_seconds=draw(st.sampled_from([2.25, 100.0])) if timeouts else 1_000.0,
        fail_fast=draw(st.booleans()),
        parallel_limit=draw(st.integers(1, 4)),
    )
    plan = plan_of(edges, config=config, timeouts=limits, tolerant=[s for s in ids if draw(st.integers(0, 3)) == 0])
    return Case(plan, {s: Behaviour(draw(kinds), draw(DELAYS)) for s in ids})


@contextmanager
def quiet() -> Iterator[None]:
    """Keep expected reports of broken steps out of the test's output."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def executed(case: Case) -> tuple[MissionResult, RecordingObserver, ScriptedRunner]:
    """Run the case undisturbed."""
    observer, runner = RecordingObserver(), case.runner()
    with quiet():
        result = run(run_of(case.plan, runner, observer, grace_seconds=GRACE_SECONDS).execute())
    return result, observer, runner


@given(cases())
def test_every_schedule_respects_order_limits_and_counts(case: Case) -> None:
    """Dependencies first, one outcome a step, counts that match, never more at once than allowed."""
    result, observer, runner = executed(case)
    check_consistent(case.plan, result, observer)
    assert runner.active_max <= case.plan.mission.config.parallel_limit
    assert len(runner.called) == len(set(runner.called))


@given(cases())
def test_the_same_mission_runs_the_same_way(case: Case) -> None:
    """Order and results are a function of the plan and of what its steps do."""
    first, first_observer, first_runner = executed(case)
    second, second_observer, second_runner = executed(case)
    assert first_observer.events == second_observer.events
    assert first_runner.called == second_runner.called
    assert first == second


@given(cases())
def test_a_mission_ends_in_time(case: Case) -> None:
    """Whatever steps do, the result is there at the mission's deadline plus the grace."""
    result, _, _ = executed(case)
    assert result.total_duration_ms <= (case.plan.mission.config.timeout_seconds + GRACE_SECONDS) * 1e3 + 1e-3


@given(cases(kinds=st.sampled_from([*SURE, *FAILING]), timeouts=False))
def test_without_interference_outcomes_follow_from_the_graph_alone(case: Case) -> None:
    """With no deadline and no fail-fast stop, timing and slots decide nothing: a simple model gives every status."""
    expected: dict[str, str] = {}
    steps = {step.id: step for step in case.plan.mission.steps}
    for level in case.plan.level_ids():
        for step_id in level:
            blocked = any(
                expected[p] == "Skipped" or (expected[p] == "Failed" and not steps[p].continue_on_error)
                for p in steps[step_id].depends_on
            )
            own = "Completed" if case.behaviours[step_id].kind in SURE else "Failed"
            expected[step_id] = "Skipped" if blocked else own
    stopped = case.plan.mission.config.fail_fast and any(
        status == "Failed" and not steps[step_id].continue_on_error for step_id, status in expected.items()
    )
    result, _, _ = executed(case)
    if stopped:
        assert (result.state, result.overall_status) == (MissionState.FAILED, OverallStatus.FAILED)
        given_up = {(s, "Failed") for s, behaviour in case.behaviours.items() if behaviour.delay > GRACE_SECONDS}
        allowed = set(expected.items()) | {(s, "Skipped") for s in steps} | given_up
        assert set(statuses(result).items()) <= allowed
    else:
        assert statuses(result) == expected


@given(cases(kinds=st.just("completes"), timeouts=False))
def test_with_one_slot_the_order_is_that_of_the_document(case: Case) -> None:
    """Kahn's algorithm with a heap of document positions: nothing else decides."""
    plan = case.plan
    one = plan_of(
        {step.id: step.depends_on for step in plan.mission.steps},
        config=MissionConfig(parallel_limit=1),
    )
    waiting, children = list(plan.graph.indegree), plan.graph.children
    ready = [index for index, count in enumerate(waiting) if count == 0]
    expected = []
    while ready:
        index = heapq.heappop(ready)
        expected.append(plan.graph.ids[index])
        for child in children[index]:
            waiting[child] -= 1
            if waiting[child] == 0:
                heapq.heappush(ready, child)
    _, _, runner = executed(Case(one, case.behaviours))
    assert runner.called == expected


@given(cases(kinds=st.just("completes"), timeouts=False))
def test_no_slot_is_idle_while_a_step_is_ready(case: Case) -> None:
    """The scheduler is work-conserving: with slots for all, a mission takes as long as its longest path."""
    steps = case.plan.mission.steps
    wide = plan_of({s.id: s.depends_on for s in steps}, config=MissionConfig(parallel_limit=len(steps)))
    ends: dict[str, float] = {}
    depends_on = {step.id: step.depends_on for step in steps}
    for level in case.plan.level_ids():
        for step_id in level:
            start = max((ends[p] for p in depends_on[step_id]), default=0.0)
            ends[step_id] = start + case.behaviours[step_id].delay
    result, _, _ = executed(Case(wide, case.behaviours))
    assert result.total_duration_ms == max(ends.values()) * 1e3


INTERFERENCE = st.sampled_from(
    ["cancel", "cancel the caller", "cancel the caller twice", "cancel a task", "cancel tasks"]
)


@settings(max_examples=300)
@given(cases(), INTERFERENCE, st.integers(0, 40), st.sampled_from([0.0, 0.5, 0.75, 1.0, 2.0]))
def test_no_interference_makes_a_run_inconsistent(case: Case, kind: str, hops: int, delay: float) -> None:
    """Cancelling the run, its caller or its tasks, at any moment: one outcome a step, no dead end, no stray task."""
    observer, runner = RecordingObserver(), case.runner()

    async def main() -> None:
        mission = run_of(case.plan, runner, observer, grace_seconds=GRACE_SECONDS)
        caller = asyncio.create_task(mission.execute())
        await asyncio.sleep(delay)
        for _ in range(hops):
            await asyncio.sleep(0)
        others = sorted(asyncio.all_tasks() - {asyncio.current_task(), caller}, key=lambda task: task.get_name())
        match kind:
            case "cancel":
                mission.cancel(ASKED)
            case "cancel a task":
                _ = others and others[0].cancel()
            case "cancel tasks":
                _ = [task.cancel() for task in others]
            case _:
                caller.cancel()
                await asyncio.sleep(0)
                _ = kind.endswith("twice") and caller.cancel()
        await asyncio.wait([caller])
        if mission.result is None:
            assert caller.cancelled()
            assert runner.called == [], "the caller was cancelled before its first step"
            return
        check_consistent(case.plan, mission.result, observer)
        assert runner.active_max <= case.plan.mission.config.parallel_limit
        if mission.result.state is MissionState.CANCELLED:
            assert mission.result.error is not None
        assert "internal" not in codes(mission.result).values() or {"breaks", "unlikely"} & {
            behaviour.kind for behaviour in case.behaviours.values()
        }

    with quiet():
        run(main())
    assert runner.active == 0

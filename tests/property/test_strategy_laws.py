"""Laws of the whole scheduler: conditions, fan-outs, retries and waits, under every strategy and any interference."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.attempt import StepAttempt
from engine.errors import StepError, SuspendedError
from engine.mission import MissionConfig, MissionStep, RestartScope, Strategy, Supervision
from engine.plan import Plan
from engine.ports import Retry
from engine.reference import Scope
from engine.result import MissionResult, StepResult, StepState
from engine.retry import RetryPolicy
from engine.scheduler import MissionRun
from engine.values import JsonValue
from tests.property.test_schedule_laws import quiet
from tests.schedules import ASKED, Items, RecordingObserver, check_consistent, plan_of, run_of
from tests.virtual_time import run

STEPS_MAX = 8
GRACE_SECONDS = 2.0
ITEMS_MAX = 4
FINAL = {StepState.COMPLETED, StepState.FAILED, StepState.SKIPPED}
LEGAL = {
    StepState.PENDING: {StepState.READY, StepState.EXECUTING, *FINAL},  # what is looked at twice may be further on
    StepState.READY: {StepState.EXECUTING, *FINAL},
    StepState.EXECUTING: FINAL,
}


@dataclass(frozen=True)
class Deed:
    """What a step does with each item in each attempt: a function of both, and of nothing else."""

    delay: float
    waits: bool  # without a place, in the middle
    fails_until: int  # the attempt that succeeds
    bad_items: frozenset[int]
    fatal: bool  # it fails whatever the attempt

    async def do(self, attempt: StepAttempt) -> JsonValue:
        if self.waits:
            async with attempt.waiting():
                await asyncio.sleep(self.delay)
        else:
            await asyncio.sleep(self.delay)
        if self.fatal or attempt.item in self.bad_items:
            raise StepError("no", code="x.fatal", retryable=False)
        if attempt.number < self.fails_until:
            raise StepError("not yet", code="x.flaky")
        return {"item": attempt.item, "value": attempt.value, "number": attempt.number}


class Doer:
    """Does what the deeds say; counts what holds a place."""

    def __init__(self, deeds: dict[str, Deed]) -> None:
        self.deeds = deeds
        self.running: dict[tuple[str, int | None], int] = {}

    async def run_step(self, step: MissionStep, attempt: StepAttempt) -> JsonValue:
        key = (step.id, attempt.item)
        assert key not in self.running, "two instances of one step"
        self.running[key] = 1
        try:
            return await self.deeds[step.id].do(attempt)
        finally:
            del self.running[key]


@dataclass(frozen=True)
class Case:
    plan: Plan
    deeds: dict[str, Deed]

    def under(self, **config: object) -> Plan:
        mission = self.plan.mission
        return replace(self.plan, mission=replace(mission, config=replace(mission.config, **config)))  # type: ignore[arg-type]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    count = draw(st.integers(1, STEPS_MAX))
    rank = draw(st.permutations(range(count)))
    edges = {
        f"s{n}": [f"s{m}" for m in range(count) if rank[m] < rank[n] and draw(st.integers(0, 2)) == 0]
        for n in range(count)
    }
    ids = list(edges)
    rarely = st.integers(0, 3).map(lambda n: n == 0)
    conditions = {s: _truthiness(edges[s], invert=draw(rarely)) for s in ids if draw(rarely)}
    fans = {
        s: _items(edges[s], draw(st.integers(0, ITEMS_MAX)), draw(st.sampled_from([None, 1, 2])))
        for s in ids
        if draw(rarely)
    }
    retries = {s: RetryPolicy(max_attempts=3, base_ms=draw(st.sampled_from([0, 250]))) for s in ids if draw(rarely)}
    deeds = {
        s: Deed(
            delay=draw(st.sampled_from([0.0, 0.5, 1.0])),
            waits=draw(rarely),
            fails_until=draw(st.sampled_from([1, 1, 1, 2, 4])),
            bad_items=frozenset({draw(st.integers(0, ITEMS_MAX))}) if draw(rarely) else frozenset(),
            fatal=draw(rarely) and draw(rarely),
        )
        for s in ids
    }
    plan = plan_of(
        edges,
        config=MissionConfig(
            fail_fast=False, parallel_limit=draw(st.integers(1, 4)), strategy=draw(st.sampled_from(Strategy))
        ),
        tolerant=[s for s in ids if draw(rarely)],
        retries=retries,
        conditions=conditions,
        items=fans,
    )
    return Case(plan, deeds)


def _truthiness(parents: list[str], *, invert: bool) -> Callable[[Scope], bool]:
    def holds(scope: Scope) -> bool:
        given_output = all(scope.step_outputs[parent] is not None for parent in parents)
        return given_output is not invert

    return holds


def _items(parents: list[str], count: int, limit: int | None) -> Items:
    def of(scope: Scope) -> list[JsonValue]:
        return [[n, *(scope.step_outputs[parent] for parent in parents)] for n in range(count)]

    return Items(of, limit)


def executed(case: Case, plan: Plan) -> tuple[MissionResult, RecordingObserver]:
    observer = RecordingObserver()
    with quiet():
        result = run(run_of(plan, Doer(case.deeds), observer, grace_seconds=GRACE_SECONDS).execute())
    check_consistent(plan, result, observer)
    return result, observer


def told(result: StepResult) -> tuple[object, ...]:
    """What a result says, but for time."""
    return result.status, result.output, result.error and result.error.code, result.attempts


@given(cases(), st.booleans())
def test_results_do_not_depend_on_the_strategy(case: Case, supervised: bool) -> None:
    """Status, output, error and attempts of each step are those of the plan, however it is run."""
    supervision = Supervision(max_restarts=1_000, within_seconds=60.0) if supervised else None
    found = []
    for strategy in Strategy:
        for limit in (1, 3):
            plan = case.under(strategy=strategy, parallel_limit=limit, supervision=supervision)
            result, _ = executed(case, plan)
            found.append({step_id: told(step) for step_id, step in result.step_results.items()})
    assert all(other == found[0] for other in found)


@given(cases())
def test_levels_do_not_overlap(case: Case) -> None:
    """Under `levels`, nothing of a level begins before everything of the one before has ended."""
    plan = case.under(strategy=Strategy.LEVELS)
    _, observer = executed(case, plan)
    level_of = {step_id: level for level, ids in enumerate(plan.level_ids()) for step_id in ids}
    open_levels: list[int] = []
    for step_id, what in observer.events:
        if what == "Executing":
            assert all(level == level_of[step_id] for level in open_levels)
            open_levels.append(level_of[step_id])
        elif level_of[step_id] in open_levels:
            open_levels.remove(level_of[step_id])


class Stepwise(RecordingObserver):
    """Looks at every state whenever it hears of anything."""

    def __init__(self) -> None:
        super().__init__()
        self.mission: MissionRun | None = None
        self.seen: dict[str, StepState] = {}

    def look(self, ids: tuple[str, ...]) -> None:
        assert self.mission is not None
        for step_id in ids:
            before, now = self.seen.get(step_id, StepState.PENDING), self.mission.step_state(step_id)
            assert now == before or now in LEGAL[before], (step_id, before, now)
            self.seen[step_id] = now

    def step_retrying(self, step: MissionStep, retry: Retry) -> None:
        super().step_retrying(step, retry)
        assert self.mission is not None
        assert self.mission.step_state(step.id) is StepState.EXECUTING


INTERFERENCE = st.sampled_from(["none", "cancel", "pause", "pause and cancel", "suspend", "cancel a task"])


@settings(max_examples=300)
@given(cases(), INTERFERENCE, st.integers(0, 30), st.sampled_from([0.0, 0.25, 0.5, 1.0, 1.5]), st.booleans())
def test_no_interference_makes_a_state_illegal(
    case: Case,
    kind: str,
    hops: int,
    delay: float,
    supervised: bool,
) -> None:
    """Pausing, suspending, cancelling, at any moment: legal transitions, one outcome a step, nothing left behind."""
    plan = case.plan
    if supervised:
        scope = (
            RestartScope.ONE_FOR_ALL if plan.mission.config.strategy is Strategy.LEVELS else RestartScope.ONE_FOR_ONE
        )
        plan = case.under(supervision=Supervision(strategy=scope, max_restarts=4, within_seconds=60.0))
    observer, doer = Stepwise(), Doer(case.deeds)

    async def main() -> MissionResult | None:
        mission = observer.mission = run_of(plan, doer, observer, grace_seconds=GRACE_SECONDS)
        caller = asyncio.create_task(mission.execute())
        await asyncio.sleep(delay)
        for _ in range(hops):
            observer.look(plan.graph.ids)
            await asyncio.sleep(0)
        match kind:
            case "cancel":
                mission.cancel(ASKED)
            case "pause" | "pause and cancel":
                mission.pause()
                await asyncio.sleep(3.0)
                if kind == "pause":
                    assert mission.resume() or mission.result is not None
                else:
                    mission.cancel(ASKED)
            case "suspend":
                mission.suspend()
            case "cancel a task":
                others = asyncio.all_tasks() - {asyncio.current_task(), caller}
                _ = others and min(others, key=lambda task: task.get_name()).cancel()
        try:
            result = await caller
        except SuspendedError:
            return None
        observer.look(plan.graph.ids)
        return result

    with quiet():
        result = run(main())
    assert doer.running == {}
    if result is not None:
        check_consistent(plan, result, observer)


@settings(max_examples=200)
@given(cases(), st.integers(0, 30), st.sampled_from([0.0, 0.25, 0.5, 1.0, 1.5]))
def test_a_suspended_mission_ends_as_if_it_had_not_been(case: Case, hops: int, delay: float) -> None:
    """Taken up with what had Completed, it has the statuses and outputs of one that nobody disturbed."""
    undisturbed, _ = executed(case, case.plan)
    observer = RecordingObserver()

    async def main() -> MissionResult:
        mission = run_of(case.plan, Doer(case.deeds), observer, grace_seconds=GRACE_SECONDS)
        caller = asyncio.create_task(mission.execute())
        await asyncio.sleep(delay)
        for _ in range(hops):
            await asyncio.sleep(0)
        mission.suspend()
        try:
            return await caller
        except SuspendedError:
            pass
        kept = {
            result.step_id: result
            for result in observer.results
            if result.status is StepState.COMPLETED
            or (result.error is not None and result.error.code == "step.condition_false")
        }
        return await run_of(case.plan, Doer(case.deeds), grace_seconds=GRACE_SECONDS, prior=kept).execute()

    with quiet():
        result = run(main())
    assert {s: told(r) for s, r in result.step_results.items()} == {
        s: told(r) for s, r in undisturbed.step_results.items()
    }

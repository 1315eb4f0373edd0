"""Plans, runners and observers for tests of the scheduler: scripted, and recording what happens."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from engine.attempt import StepAttempt
from engine.context import ExecutionContext
from engine.graph import Graph
from engine.mission import Mission, MissionConfig, MissionLimits, MissionStep
from engine.outcome import Stop
from engine.plan import Plan
from engine.ports import Retry, ScheduleObserver, SharedPlaces, StepRunner
from engine.reference import Scope
from engine.result import MissionResult, StepFailure, StepResult, StepState
from engine.retry import RetryPolicy
from engine.scheduler import MissionRun
from engine.values import JsonValue
from tests.virtual_time import LoopClock

Act = Callable[[MissionStep], Awaitable[JsonValue]]
AttemptAct = Callable[[StepAttempt], Awaitable[JsonValue]]

ASKED = StepFailure(code="mission.cancelled", message="asked for")


@dataclass(frozen=True)
class Asked:
    """A condition that is a function."""

    ask: Callable[[Scope], bool]

    def holds(self, scope: Scope) -> bool:
        return self.ask(scope)


@dataclass
class Items:
    """The items of a fan-out, known beforehand or taken from an earlier output."""

    of: Callable[[Scope], Sequence[JsonValue]]
    parallel_limit: int | None = None

    def items(self, scope: Scope) -> Sequence[JsonValue]:
        return self.of(scope)


def items(*values: JsonValue, limit: int | None = None) -> Items:
    """Return a source of these items."""
    return Items(lambda _scope: values, limit)


def plan_of(
    edges: Mapping[str, Sequence[str]],
    *,
    config: MissionConfig | None = None,
    timeouts: Mapping[str, float] | None = None,
    tolerant: Sequence[str] = (),
    retries: Mapping[str, RetryPolicy] | None = None,
    conditions: Mapping[str, Callable[[Scope], bool]] | None = None,
    items: Mapping[str, Items] | None = None,
) -> Plan:
    """Return a plan of steps and what each depends on; `tolerant` ones have continue_on_error."""
    steps = tuple(
        MissionStep(
            id=name,
            name=name,
            step_type="scripted",
            depends_on=tuple(depends_on),
            timeout_seconds=(timeouts or {}).get(name),
            continue_on_error=name in tolerant,
            retry=(retries or {}).get(name),
        )
        for name, depends_on in edges.items()
    )
    mission = Mission(name="scheduled", steps=steps, config=config or MissionConfig())
    graph = Graph.build([step.id for step in steps], [step.depends_on for step in steps])
    return Plan(
        mission=mission,
        graph=graph,
        templates=(None,) * len(steps),
        conditions={graph.index[name]: Asked(ask) for name, ask in (conditions or {}).items()},
        fan_outs={graph.index[name]: source for name, source in (items or {}).items()},
    )


@dataclass
class ScriptedRunner:
    """Does for each step what its script says, else returns the step's id; measures how much it does at once."""

    script: Mapping[str, Act] = field(default_factory=dict)
    attempts: Mapping[str, AttemptAct] = field(default_factory=dict)  # the script of those that look at the attempt
    called: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    active: int = 0
    active_max: int = 0

    async def run_step(self, step: MissionStep, attempt: StepAttempt) -> JsonValue:
        self.called.append(step.id)
        self.active += 1
        self.active_max = max(self.active_max, self.active)
        try:
            if (attempt_act := self.attempts.get(step.id)) is not None:
                return await attempt_act(attempt)
            act = self.script.get(step.id)
            return step.id if act is None else await act(step)
        finally:
            self.active -= 1
            self.ended.append(step.id)


@dataclass
class RecordingObserver:
    """Writes down every transition, with the state that it led to."""

    events: list[tuple[str, str]] = field(default_factory=list)
    results: list[StepResult] = field(default_factory=list)
    retries: list[tuple[str, Retry]] = field(default_factory=list)
    item_ends: list[tuple[str, int, int, str]] = field(default_factory=list)
    restarts: list[tuple[int, str]] = field(default_factory=list)
    stops: list[Stop] = field(default_factory=list)

    def step_started(self, step: MissionStep) -> None:
        self.events.append((step.id, "Executing"))

    def step_retrying(self, step: MissionStep, retry: Retry) -> None:
        self.retries.append((step.id, retry))

    def item_finished(self, step: MissionStep, item: int, total: int, status: StepState) -> None:
        self.item_ends.append((step.id, item, total, status.value))

    def level_restarting(self, level: int, failure: StepFailure) -> None:
        self.restarts.append((level, failure.code))

    def mission_stopping(self, stop: Stop) -> None:
        self.stops.append(stop)

    def step_finished(self, step: MissionStep, result: StepResult) -> None:
        self.events.append((step.id, result.status.value))
        self.results.append(result)


def run_of(
    plan: Plan,
    runner: StepRunner | None = None,
    observer: ScheduleObserver | None = None,
    *,
    limits: MissionLimits | None = None,
    grace_seconds: float = 5.0,
    prior: Mapping[str, StepResult] | None = None,
    slots: SharedPlaces | None = None,
    chance: float = 0.5,
    spent_seconds: float = 0.0,
    stopped: Stop | None = None,
) -> MissionRun:
    """Return a run of `plan` on the loop's own time."""
    return MissionRun(
        plan,
        ExecutionContext.of(plan.mission, limits=limits or MissionLimits()),
        runner or ScriptedRunner(),
        observer or RecordingObserver(),
        LoopClock(),
        "mission-1",
        cancel_grace_seconds=grace_seconds,
        prior=prior or {},
        slots=slots,
        chance=lambda: chance,
        spent_seconds=spent_seconds,
        stopped=stopped,
    )


def with_config(plan: Plan, **changes: float) -> Plan:
    """Return `plan` with fields of its mission's config changed."""
    return replace(plan, mission=replace(plan.mission, config=replace(plan.mission.config, **changes)))


def statuses(result: MissionResult) -> dict[str, str]:
    """Return the status of each step."""
    return {step_id: step.status.value for step_id, step in result.step_results.items()}


def codes(result: MissionResult) -> dict[str, str]:
    """Return the code of each step that has an error."""
    return {step_id: step.error.code for step_id, step in result.step_results.items() if step.error is not None}


def check_consistent(plan: Plan, result: MissionResult, observer: RecordingObserver) -> None:
    """Assert what holds of every run, whatever happened in it."""
    ids = list(plan.graph.ids)
    assert list(result.step_results) == ids, "one result a step, in document order"
    assert sorted(r.step_id for r in observer.results) == sorted(ids), "the observer heard of each exactly once"
    assert {r.step_id: r for r in observer.results} == dict(result.step_results), "and of the same outcome"
    found = [step.status for step in result.step_results.values()]
    assert result.steps_completed == found.count(StepState.COMPLETED)
    assert result.steps_failed == found.count(StepState.FAILED)
    assert result.steps_skipped == found.count(StepState.SKIPPED)
    assert len(found) == result.steps_completed + result.steps_failed + result.steps_skipped
    assert all((step.error is None) == (step.status is StepState.COMPLETED) for step in result.step_results.values())
    fan_outs = {ids[index] for index in plan.fan_outs}
    assert all(
        step.output is None or step.status is StepState.COMPLETED or step.step_id in fan_outs
        for step in result.step_results.values()
    )
    _check_events(plan, result, observer)


def _check_events(plan: Plan, result: MissionResult, observer: RecordingObserver) -> None:
    """Assert that events come in the order of the dependencies, and times in that of the events."""
    tolerant = {step.id for step in plan.mission.steps if step.continue_on_error}
    depends_on = {step.id: step.depends_on for step in plan.mission.steps}
    conditional = {plan.graph.ids[index] for index in plan.conditions}
    status_so_far: dict[str, str] = {}
    for step_id, what in observer.events:
        if what == "Executing":
            assert step_id not in status_so_far, "nothing starts twice, or after its end"
            for parent in depends_on[step_id]:
                ended = status_so_far.get(parent)
                passable = (ended == "Failed" and parent in tolerant) or (ended == "Skipped" and parent in conditional)
                assert ended == "Completed" or passable, "dependencies first"
        status_so_far[step_id] = what
    times = [step.timestamp for step in observer.results]
    assert times == sorted(times)
    assert all(result.start_time <= moment <= result.end_time for moment in times)


async def forever(_step: MissionStep) -> JsonValue:
    """Wait until cancelled."""
    await asyncio.Event().wait()
    return None


def sleeps(seconds: float, output: JsonValue = None) -> Act:
    """Return an act that takes time."""

    async def act(_step: MissionStep) -> JsonValue:
        await asyncio.sleep(seconds)
        return output

    return act


def raises(error: BaseException, *, after: float = 0.0) -> Act:
    """Return an act that takes time and raises."""

    async def act(_step: MissionStep) -> JsonValue:
        await asyncio.sleep(after)
        raise error

    return act


def ignores_cancellation(seconds: float, *, then: BaseException | None = None) -> Act:
    """Return an act that goes on for `seconds`, whoever asks it to stop, and then returns or raises."""

    async def act(_step: MissionStep) -> JsonValue:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while (left := end - loop.time()) > 0:
            try:
                await asyncio.sleep(left)
            except asyncio.CancelledError:
                continue
        if then is not None:
            raise then
        return "late"

    return act

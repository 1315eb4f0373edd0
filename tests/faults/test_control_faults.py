"""A mission that uses everything, stopped, paused and left at every turn of the loop, under every strategy."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from engine.attempt import StepAttempt
from engine.errors import SuspendedError
from engine.mission import MissionConfig, MissionStep, RestartScope, Strategy, Supervision
from engine.plan import Plan
from engine.result import MissionResult, MissionState, StepResult
from engine.retry import RetryPolicy
from engine.scheduler import MissionRun
from engine.values import JsonValue
from tests.property.test_schedule_laws import quiet
from tests.schedules import ASKED, RecordingObserver, check_consistent, items, plan_of, run_of
from tests.virtual_time import VirtualTimeLoop, run

GRACE_SECONDS = 2.0
EDGES = {
    "source": [],
    "flaky": [],  # fails once, and is tried again
    "crashing": [],  # crashes once, and is begun anew
    "each": ["source"],  # four items, two at a time, one of which fails once
    "asks": ["source"],  # waits without a place
    "maybe": ["flaky"],  # its condition holds
    "never": ["flaky"],  # its condition does not
    "slow": ["crashing"],  # cleans up when it is cancelled
    "all": ["each", "asks", "maybe", "never", "slow"],
}


def plan_under(strategy: Strategy, scope: RestartScope) -> Plan:
    retry = RetryPolicy(max_attempts=3, base_ms=250)
    return plan_of(
        EDGES,
        config=MissionConfig(
            strategy=strategy,
            parallel_limit=2,
            supervision=Supervision(strategy=scope, max_restarts=5, within_seconds=60.0),
        ),
        retries={"flaky": retry, "each": retry},
        conditions={
            "maybe": lambda scope: scope.step_outputs["flaky"] == "flaky",
            "never": lambda scope: scope.step_outputs["flaky"] is None,
        },
        items={"each": items("w", "x", "y", "z", limit=2)},
    )


PLANS = {
    "sequential": plan_under(Strategy.SEQUENTIAL, RestartScope.ONE_FOR_ONE),
    "parallel": plan_under(Strategy.PARALLEL, RestartScope.ONE_FOR_ONE),
    "levels": plan_under(Strategy.LEVELS, RestartScope.ONE_FOR_ONE),
    "levels anew": plan_under(Strategy.LEVELS, RestartScope.ONE_FOR_ALL),
}


class Everything:
    """Does what the steps are there for; what has failed once does not fail again, in a later execution neither."""

    def __init__(self) -> None:
        self.failed: set[str] = set()
        self.running: set[tuple[str, int | None]] = set()

    async def run_step(self, step: MissionStep, attempt: StepAttempt) -> JsonValue:
        key = (step.id, attempt.item)
        assert key not in self.running, "two instances at once"
        self.running.add(key)
        try:
            return await self._do(step.id, attempt)
        finally:
            self.running.discard(key)

    async def _do(self, name: str, attempt: StepAttempt) -> JsonValue:
        if name == "asks":
            async with attempt.waiting():
                await asyncio.sleep(1.0)
        elif name == "slow":
            try:
                await asyncio.sleep(1.0)
            except asyncio.CancelledError:
                await asyncio.sleep(0.5)
                raise
        else:
            await asyncio.sleep(0.25)
        if name in {"flaky", "crashing"} or attempt.value == "y":
            self._fail_once(name)
        return name if attempt.item is None else attempt.value

    def _fail_once(self, name: str) -> None:
        if name not in self.failed:
            self.failed.add(name)
            raise ValueError("once")


Act = Callable[[MissionRun, "asyncio.Task[MissionResult]"], object]


def at_every_moment(plan: Plan, act: Act, check: Callable[..., Coroutine[Any, Any, None]]) -> int:
    """Act before the first turn of the loop, then before the second and so on; return how many turns there were."""
    turn = 0
    while disturbed(plan, turn, act, check):
        turn += 1
    return turn


def disturbed(plan: Plan, turn: int, act: Act, check: Callable[..., Coroutine[Any, Any, None]]) -> bool:
    observer, runner = RecordingObserver(), Everything()

    async def main() -> bool:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        mission = run_of(plan, runner, observer, grace_seconds=GRACE_SECONDS)
        caller = asyncio.create_task(mission.execute())
        loop.acts[loop.iterations + 2 + turn] = lambda: act(mission, caller)  # the next one begins the caller
        await asyncio.wait([caller])
        await check(mission, caller, runner, observer)
        assert asyncio.all_tasks() == {asyncio.current_task()}, "no task is left"
        return not loop.acts

    with quiet():
        acted = run(main())
    assert runner.running == set()
    return acted


def told(results: dict[str, StepResult]) -> dict[str, tuple[object, ...]]:
    return {step_id: (step.status, step.output, step.error) for step_id, step in results.items()}


def undisturbed(plan: Plan) -> dict[str, tuple[object, ...]]:
    with quiet():
        result = run(run_of(plan, Everything()).execute())
    assert result.steps_completed == len(EDGES) - 1
    assert result.step_results["each"].output == ["w", "x", "y", "z"]
    return told(dict(result.step_results))


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("by", ["cancel", "caller"])
def test_cancelled_at_every_moment(name: str, by: str) -> None:
    """One outcome a step, Cancelled, and over within the grace."""
    plan = PLANS[name]

    def act(mission: MissionRun, caller: "asyncio.Task[MissionResult]") -> object:
        return mission.cancel(ASKED) if by == "cancel" else caller.cancel()

    async def check(mission: MissionRun, _caller: object, _runner: object, observer: RecordingObserver) -> None:
        assert mission.result is not None
        check_consistent(plan, mission.result, observer)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        assert loop.acts or mission.result.state in {MissionState.CANCELLED, MissionState.COMPLETED}

    assert at_every_moment(plan, act, check) > 12


@pytest.mark.parametrize("name", PLANS)
def test_paused_for_a_while_at_every_moment(name: str) -> None:
    """It ends as if nobody had paused it."""
    plan = PLANS[name]
    expected = undisturbed(plan)

    def act(mission: MissionRun, _caller: object) -> None:
        mission.pause()
        asyncio.get_running_loop().call_later(3.0, mission.resume)

    async def check(mission: MissionRun, _caller: object, _runner: object, observer: RecordingObserver) -> None:
        assert mission.result is not None
        check_consistent(plan, mission.result, observer)
        assert told(dict(mission.result.step_results)) == expected

    assert at_every_moment(plan, act, check) > 12


@pytest.mark.parametrize("name", PLANS)
def test_suspended_at_every_moment_and_taken_up_again(name: str) -> None:
    """A later execution, which is given what the observer heard, ends as if there had been one only."""
    plan = PLANS[name]
    expected = undisturbed(plan)

    def act(mission: MissionRun, _caller: object) -> None:
        mission.suspend()

    async def check(
        mission: MissionRun, caller: "asyncio.Task[MissionResult]", runner: Everything, observer: RecordingObserver
    ) -> None:
        result = mission.result
        if result is None:
            assert isinstance(caller.exception(), SuspendedError)
            kept = {step.step_id: step for step in observer.results}
            later = run_of(plan, runner, grace_seconds=GRACE_SECONDS, prior=kept)
            result = await later.execute()
            assert all(result.step_results[step_id] == step for step_id, step in kept.items())
        assert told(dict(result.step_results)) == expected

    assert at_every_moment(plan, act, check) > 12

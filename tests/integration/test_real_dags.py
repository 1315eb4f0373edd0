"""Graphs of real workflows, run under every strategy: order, levels, time and results are those of the graph."""

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from engine.attempt import StepAttempt
from engine.errors import StepError
from engine.mission import MissionConfig, MissionStep, Strategy
from engine.plan import Plan
from engine.result import MissionResult, StepState
from engine.values import JsonValue
from tests.depth import some
from tests.schedules import RecordingObserver, check_consistent, plan_of, run_of
from tests.virtual_time import run

DAGS = sorted((Path(__file__).parents[1] / "vectors" / "dags").glob("*.json.gz"))
assert len(DAGS) >= 25, "the graphs are missing: nothing would be tested"
CONFIGS = {
    "sequential": MissionConfig(strategy=Strategy.SEQUENTIAL, timeout_seconds=1e9),
    "parallel": MissionConfig(strategy=Strategy.PARALLEL, parallel_limit=1_000_000, timeout_seconds=1e9),
    "parallel, four at a time": MissionConfig(strategy=Strategy.PARALLEL, parallel_limit=4, timeout_seconds=1e9),
    "levels": MissionConfig(strategy=Strategy.LEVELS, parallel_limit=1_000_000, timeout_seconds=1e9),
}


LARGE = 5_000  # steps, from which on a run takes seconds


def configs_of(graph: dict[str, Any]) -> dict[str, MissionConfig]:
    """Return the strategies to run a graph under: all; in `make test` two of four for each of the largest."""
    names = list(CONFIGS)
    usual = names if graph["n"] < LARGE else names[bool("genome" in graph["name"]) :: 2]
    return {name: CONFIGS[name] for name in some(usual, names)}


def read(path: Path) -> dict[str, Any]:
    graph: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
    return graph


def edges_of(graph: dict[str, Any]) -> dict[str, list[str]]:
    depends_on: dict[str, list[str]] = {f"s{node}": [] for node in range(graph["n"])}
    for parent, child in graph["edges"]:
        depends_on[f"s{child}"].append(f"s{parent}")
    return depends_on


def seconds_of(step_id: str) -> int:
    """Return how long a step takes: as good as random, and the same in every run."""
    return int(step_id[1:]) * 7_919 % 5


class Depths:
    """Gives the depth of each step, as its dependencies tell it; fails every `fails_each`-th step."""

    def __init__(self, fails_each: int = 0) -> None:
        self._fails_each = fails_each

    async def run_step(self, step: MissionStep, attempt: StepAttempt) -> JsonValue:
        await asyncio.sleep(seconds_of(step.id))
        if self._fails_each and int(step.id[1:]) % self._fails_each == self._fails_each - 1:
            raise StepError("no", code="x.no", retryable=False)
        depths = [attempt.context.step_outputs[parent] for parent in step.depends_on]
        return 1 + max((depth for depth in depths if isinstance(depth, int)), default=0)


def executed(plan: Plan, *, fails_each: int = 0) -> tuple[MissionResult, RecordingObserver]:
    observer = RecordingObserver()
    result = run(run_of(plan, Depths(fails_each), observer).execute())
    check_consistent(plan, result, observer)  # dependencies first, one outcome a step
    return result, observer


def seconds_expected(plan: Plan, config: MissionConfig) -> float:
    """Return how long a run takes with places for all."""
    if config.strategy is Strategy.SEQUENTIAL:
        return sum(seconds_of(step.id) for step in plan.mission.steps)
    if config.strategy is Strategy.LEVELS:
        return sum(max(map(seconds_of, level)) for level in plan.level_ids())
    ends: dict[str, float] = {}
    for index in (step for level in plan.graph.levels for step in level):
        step = plan.mission.steps[index]
        ends[step.id] = seconds_of(step.id) + max((ends[parent] for parent in step.depends_on), default=0.0)
    return max(ends.values())


@pytest.mark.parametrize("path", DAGS, ids=lambda path: path.name.removesuffix(".json.gz"))
def test_a_real_graph_runs_alike_under_every_strategy(path: Path) -> None:
    """The levels are those of the file, every output is its level's number, and no place was idle for nothing."""
    graph = read(path)
    for name, config in configs_of(graph).items():
        plan = plan_of(edges_of(graph), config=config)
        levels = plan.level_ids()
        assert len(levels) == graph["levels"]
        assert max(map(len, levels)) == graph["maxwidth"]
        result, observer = executed(plan)
        depths = {step_id: depth for depth, level in enumerate(levels, 1) for step_id in level}
        assert {step_id: step.output for step_id, step in result.step_results.items()} == depths
        if name != "parallel, four at a time":
            assert result.total_duration_ms == 1e3 * seconds_expected(plan, config)
        if config.strategy is Strategy.LEVELS:
            begun = [depths[step_id] for step_id, what in observer.events if what == "Executing"]
            assert begun == sorted(begun)


@pytest.mark.parametrize("path", DAGS, ids=lambda path: path.name.removesuffix(".json.gz"))
def test_failures_in_a_real_graph_have_the_same_consequences_under_every_strategy(path: Path) -> None:
    """A third of the steps fails, every other of which is tolerated: who is Skipped does not depend on the order.

    Of several dependencies that failed, a Skipped step names the one that failed first, which does.
    """
    graph = read(path)
    edges = edges_of(graph)
    tolerant = [step_id for step_id in edges if int(step_id[1:]) % 6 == 5]
    found = []
    for config in configs_of(graph).values():
        mission = MissionConfig(
            strategy=config.strategy, parallel_limit=config.parallel_limit, timeout_seconds=1e9, fail_fast=False
        )
        result, _ = executed(plan_of(edges, config=mission, tolerant=tolerant), fails_each=3)
        codes = {step_id: step.error and step.error.code for step_id, step in result.step_results.items()}
        found.append({s: (step.status, step.output, codes[s]) for s, step in result.step_results.items()})
    assert all(other == found[0] for other in found)
    failed = {step_id for step_id, (status, _, _) in found[0].items() if status is StepState.FAILED}
    skipped = {step_id for step_id, (status, _, _) in found[0].items() if status is StepState.SKIPPED}
    assert failed == {step_id for step_id in edges if int(step_id[1:]) % 3 == 2} - skipped

"""The strategies: in which order steps start, and what a level is."""

import pytest

from engine.mission import MissionConfig, Strategy
from tests.schedules import ScriptedRunner, plan_of, raises, run_of, sleeps, statuses
from tests.virtual_time import run

DIAMOND = {"top": [], "left": ["top"], "right": ["top"], "bottom": ["left", "right"]}


def config(strategy: Strategy, **rest: object) -> MissionConfig:
    return MissionConfig(strategy=strategy, **rest)  # type: ignore[arg-type]


def test_sequential_runs_one_step_at_a_time_in_document_order() -> None:
    """Whatever the parallel limit says."""
    runner = ScriptedRunner({name: sleeps(1.0) for name in "abc"})
    result = run(run_of(plan_of({"a": [], "b": [], "c": []}, config=config(Strategy.SEQUENTIAL)), runner).execute())
    assert runner.called == ["a", "b", "c"]
    assert runner.active_max == 1
    assert result.total_duration_ms == pytest.approx(3_000)


def test_a_level_waits_for_the_whole_level_before_it() -> None:
    """A step whose own dependencies have ended waits all the same; under `parallel` it does not."""
    edges: dict[str, list[str]] = {"slow": [], "quick": [], "after_quick": ["quick"]}
    order = {}
    for strategy in (Strategy.LEVELS, Strategy.PARALLEL):
        runner = ScriptedRunner({"slow": sleeps(2.0), "quick": sleeps(1.0)})
        run(run_of(plan_of(edges, config=config(strategy)), runner).execute())
        order[strategy] = runner.ended
    assert order[Strategy.LEVELS] == ["quick", "slow", "after_quick"]
    assert order[Strategy.PARALLEL] == ["quick", "after_quick", "slow"]


def test_steps_of_a_level_run_side_by_side() -> None:
    """The barrier is between levels, not inside."""
    runner = ScriptedRunner({name: sleeps(1.0) for name in DIAMOND})
    result = run(run_of(plan_of(DIAMOND, config=config(Strategy.LEVELS)), runner).execute())
    assert result.total_duration_ms == pytest.approx(3_000)
    assert runner.active_max == 2


def test_a_level_of_which_nothing_runs_is_passed() -> None:
    """Every step of the second level is Skipped; the third has one that does not depend on them."""
    edges: dict[str, list[str]] = {"bad": [], "good": [], "behind": ["bad"], "on": ["good"], "last": ["on"]}
    runner = ScriptedRunner({"bad": raises(ValueError("x")), "on": raises(ValueError("x"))})
    result = run(run_of(plan_of(edges, config=config(Strategy.LEVELS, fail_fast=False)), runner).execute())
    assert statuses(result) == {
        "bad": "Failed", "good": "Completed", "behind": "Skipped", "on": "Failed", "last": "Skipped",
    }  # fmt: skip

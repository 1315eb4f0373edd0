"""Runs of a Dag: variables checked before anything starts, results with the types of the nodes."""

import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypedDict, TypeVar, cast

from engine.clock import Clock, SystemClock
from engine.context import ExecutionContext
from engine.dsl.compiling import CompiledDag
from engine.dsl.node import Node, VariableDefinition
from engine.dsl.sources import fits, own, type_name
from engine.errors import RefusalError, StepError
from engine.findings import suggestion
from engine.mission import Strategy
from engine.outcome import CONDITION_FALSE, stands
from engine.ports import ScheduleObserver, SilentObserver
from engine.result import MissionResult, OverallStatus, StepResult, StepState
from engine.scheduler import MissionRun
from engine.stream import Batches, stream_mission
from engine.values import JsonObject

T = TypeVar("T")


class RunOptions(TypedDict, total=False):
    """How one run differs from the Dag's own configuration."""

    strategy: Strategy
    parallel_limit: int
    fail_fast: bool
    timeout_seconds: float
    observer: ScheduleObserver
    clock: Clock


class DagResult:
    """What became of one run of a Dag."""

    def __init__(self, owner: object, mission: MissionResult, tolerant: frozenset[str]) -> None:
        self._owner = owner
        self._tolerant = tolerant
        self.mission = mission  # every step's result, times, counts

    @property
    def status(self) -> OverallStatus:
        """Success, Partial or Failed."""
        return self.mission.overall_status

    def step(self, node: Node[Any]) -> StepResult:
        """Return the whole result of a node.

        Raises:
            RefusalError: `dag.foreign_source`, it is no node of this Dag.
        """
        if node.owner is not self._owner:
            raise RefusalError(f"{node!r} is no node of the Dag that was run", code="dag.foreign_source")
        return self.mission.step_results[node.name]

    def output(self, node: Node[T]) -> T:
        """Return a copy of the output of a node; of one that may be without, None, or what there is of it.

        Raises:
            StepError: the node has no output: it Failed, or was Skipped; with the code and the message of that.
            RefusalError: as `step`.
        """
        result = self.step(node)
        if result.status is StepState.COMPLETED:
            return cast("T", own(result.output))
        failure = result.error
        failed_tolerated = result.status is StepState.FAILED and node.name in self._tolerant
        if _skipped_by_condition(result) or failed_tolerated:
            return cast("T", own(result.output))
        reason = failure.message if failure is not None else "nothing says why"
        message = f"node {node.name!r} is {result.status}: {reason}"
        raise StepError(message, code=failure.code if failure is not None else None, retryable=False)

    def kept_by(self, owner: object) -> dict[str, StepResult]:
        """Return what a later run need not run again: what is Completed, or was skipped by its condition.

        Raises:
            RefusalError: `dag.foreign_source`, this is the result of another Dag.
        """
        if owner is not self._owner:
            raise RefusalError("the prior result is that of another Dag", code="dag.foreign_source")
        results = self.mission.step_results
        return {name: each for name, each in results.items() if stands(each)}


def _skipped_by_condition(result: StepResult) -> bool:
    return result.error is not None and result.error.code == CONDITION_FALSE.code


@dataclass(frozen=True, slots=True)
class DagBatch:
    """What became of one batch of a stream."""

    index: int  # of the source, from 0
    variables: JsonObject  # the batch, as the source gave it
    result: DagResult


def checked_variables(declared: Sequence[VariableDefinition], given: JsonObject) -> JsonObject:
    """Return `given`, if it is what the variables of a Dag take.

    Raises:
        RefusalError: `dag.missing_variable`, `dag.unknown_variable` or `dag.wrong_type`.
    """
    known = {variable.name: variable for variable in declared}
    for name, value in given.items():
        variable = known.get(name)
        if variable is None:
            message = f"there is no variable {name!r}{suggestion(str(name), known)}"
            raise RefusalError(message, code="dag.unknown_variable")
        if not fits(value, variable.expected):
            message = f"the variable {name!r} is a {type_name(variable.expected)}, not {type(value).__name__}"
            raise RefusalError(message, code="dag.wrong_type")
    missing = [variable.name for variable in declared if variable.required and variable.name not in given]
    if missing:
        raise RefusalError(f"the variable {missing[0]!r} is required", code="dag.missing_variable")
    return given


async def run_dag(
    owner: object, dag: CompiledDag, variables: JsonObject, options: RunOptions, prior: DagResult | None
) -> DagResult:
    """Run a Dag once, with variables that are checked and options that are in its configuration already."""
    run = MissionRun(
        dag.plan,
        ExecutionContext.of(dag.plan.mission, variables=variables, limits=dag.limits),
        dag.runner,
        options.get("observer") or SilentObserver(),
        options.get("clock") or SystemClock(),
        str(uuid.uuid4()),
        prior=prior.kept_by(owner) if prior is not None else {},
    )
    return DagResult(owner, await run.execute(), _tolerant(dag))


async def stream_dag(
    owner: object,
    dag: CompiledDag,
    declared: Sequence[VariableDefinition],
    batches: Batches,
    options: RunOptions,
    *,
    in_flight_max: int,
    ordered: bool,
) -> AsyncGenerator[DagBatch]:
    """Run a Dag for each batch; one whose variables do not fit is a Failed result."""

    def check(batch: JsonObject) -> None:
        checked_variables(declared, batch)

    results = stream_mission(
        dag.plan,
        dag.runner,
        batches,
        in_flight_max=in_flight_max,
        ordered=ordered,
        observer=options.get("observer"),
        clock=options.get("clock"),
        limits=dag.limits,
        check=check,
    )
    tolerant = _tolerant(dag)
    async with aclosing(results):
        async for each in results:
            yield DagBatch(each.index, each.variables, DagResult(owner, each.result, tolerant))


def _tolerant(dag: CompiledDag) -> frozenset[str]:
    return frozenset(step.id for step in dag.plan.mission.steps if step.continue_on_error)

"""From a checked Dag to its plan and its runner: names become positions here, once, and not while it runs."""

import asyncio
import contextvars
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from engine.attempt import StepAttempt
from engine.context import ExecutionContext
from engine.dsl.node import Call, Definition, VariableDefinition
from engine.dsl.sources import Constant, Getter, Source, getter, reader
from engine.errors import EngineError, RefusalError, StepError
from engine.graph import Graph
from engine.mission import ForEach, Mission, MissionConfig, MissionLimits, MissionStep, RestartScope, Strategy
from engine.plan import ItemSource, Plan, Predicate
from engine.reference import Scope
from engine.values import JsonValue

STEP_TYPE: Final = "python"
_LOGGER: Final = logging.getLogger(__name__)
_OVERRIDES: Final = ("strategy", "parallel_limit", "fail_fast", "timeout_seconds")


class BoundCall:
    """A function whose arguments are found by position."""

    __slots__ = ("_function", "_keyword", "_positional", "awaits", "thread")

    def __init__(self, call: Call, *, thread: bool = False) -> None:
        self._function = call.function
        self._positional: tuple[Getter, ...] = tuple(getter(binding) for _, binding in call.positional)
        self._keyword: tuple[tuple[str, Getter], ...] = tuple((name, getter(binding)) for name, binding in call.keyword)
        self.awaits = inspect.iscoroutinefunction(inspect.unwrap(call.function))
        self.thread = thread

    def bound(self, scope: Scope, item: JsonValue) -> Callable[[], Any]:
        """Return the call with its values, each of which belongs to this call alone."""
        arguments = [get(scope, item) for get in self._positional]
        keywords = {name: get(scope, item) for name, get in self._keyword}
        return partial(self._function, *arguments, **keywords)


class DagRunner:
    """Runs the nodes of one Dag.

    A thread cannot be stopped. An attempt that follows one whose thread goes on waits for its end first, within its own
    time: two instances of one node, or item, never run at once.
    """

    def __init__(self, calls: Mapping[str, BoundCall]) -> None:
        self._calls = calls
        self._threads: dict[_Instance, asyncio.Future[Any]] = {}  # by what they run

    async def run_step(self, step: MissionStep, attempt: StepAttempt) -> JsonValue:
        """Call the function of the node.

        Raises:
            StepError: a part of an output that the node reads is not there (`reference.unresolved`).
        """
        call = self._calls[step.id]
        bound = call.bound(attempt.context, attempt.value)
        if call.thread:
            return await self._in_thread(bound, _Instance(attempt.context, step.id, attempt.item))
        answer = bound()
        if call.awaits or inspect.isawaitable(answer):
            return await answer  # type: ignore[no-any-return]
        return answer  # type: ignore[no-any-return]

    async def _in_thread(self, bound: Callable[[], Any], instance: "_Instance") -> JsonValue:
        while (earlier := self._threads.get(instance)) is not None:
            await asyncio.wait([earlier])
        wanted = True

        def work() -> Any:
            return bound() if wanted else None  # no thread was free until nobody wanted it any more

        thread = asyncio.get_running_loop().run_in_executor(None, contextvars.copy_context().run, work)
        self._threads[instance] = thread
        thread.add_done_callback(lambda _: self._threads.pop(instance, None))
        try:
            return await asyncio.shield(thread)
        finally:
            wanted = False


@dataclass(frozen=True, slots=True)
class _Instance:
    """What a thread runs: a node, or an item of it, of one execution."""

    context: ExecutionContext
    step_id: str
    item: int | None


class NodeCondition:
    """The `when` of a node."""

    def __init__(self, node: str, call: BoundCall) -> None:
        self._node = node
        self._call = call

    def holds(self, scope: Scope) -> bool:
        """Return what the condition says.

        Raises:
            StepError: it raised something; `when.raised` where that was none of the engine's errors.
        """
        try:
            return bool(self._call.bound(scope, None)())
        except EngineError:
            raise
        except Exception as error:
            _LOGGER.exception("the condition of node %s raised", self._node)
            message = f"the condition raised {type(error).__name__}; the log has it"
            raise StepError(message, code="when.raised", retryable=False) from error


class NodeItems:
    """The items of a node that is run for each."""

    def __init__(self, get: Getter, items_max: int, parallel_limit: int | None) -> None:
        self._get = get
        self._items_max = items_max
        self.parallel_limit = parallel_limit

    def items(self, scope: Scope) -> Sequence[JsonValue]:
        """Return the items.

        Raises:
            StepError: `foreach.not_a_list`, `foreach.too_many`; `reference.unresolved`, there is nothing.
        """
        items = self._get(scope, None)
        if not isinstance(items, list | tuple):
            raise StepError("foreach needs a list", code="foreach.not_a_list", retryable=False)
        if len(items) > self._items_max:
            message = f"foreach has {len(items)} items; {self._items_max} are allowed"
            raise StepError(message, code="foreach.too_many", retryable=False)
        return items


@dataclass(frozen=True, slots=True, eq=False)
class CompiledDag:
    """A plan and what runs it."""

    plan: Plan
    runner: DagRunner
    limits: MissionLimits

    def configured(self, options: Mapping[str, Any]) -> "CompiledDag":
        """Return this with the options of one run.

        Raises:
            RefusalError: `dag.bad_option`.
        """
        changes = {name: options[name] for name in _OVERRIDES if options.get(name) is not None}
        if not changes:
            return self
        config = replace(self.plan.mission.config, **changes)
        if (wrong := wrong_config(config, self.limits)) is not None:
            raise RefusalError(wrong, code="dag.bad_option")
        return replace(self, plan=replace(self.plan, mission=replace(self.plan.mission, config=config)))


def wrong_config(config: MissionConfig, limits: MissionLimits) -> str | None:
    """Return what is wrong with a configuration that a program has made."""
    limit, seconds = config.parallel_limit, config.timeout_seconds
    if type(limit) is not int or not 1 <= limit <= limits.parallel_limit_max:
        return f"parallel_limit is {limit!r}; it must be from 1 to {limits.parallel_limit_max}"
    if type(seconds) not in {int, float} or not 0 < seconds <= limits.mission_timeout_seconds_max:
        return f"timeout_seconds is {seconds!r}; it must be more than 0, at most {limits.mission_timeout_seconds_max:g}"
    if config.strategy not in tuple(Strategy):
        return f"there is no strategy {config.strategy!r}"
    supervision = config.supervision
    if supervision is not None and supervision.strategy is RestartScope.ONE_FOR_ALL:
        return (
            None if config.strategy is Strategy.LEVELS else "one_for_all restarts levels: it needs the strategy levels"
        )
    return None


def compiled(
    name: str,
    description: str,
    config: MissionConfig,
    limits: MissionLimits,
    definitions: Sequence[Definition],
    variables: Sequence[VariableDefinition],
) -> CompiledDag:
    """Return the plan and the runner of definitions that `engine.dsl.checks` found nothing wrong with."""
    steps = tuple(_step(definition) for definition in definitions)
    mission = Mission(
        name=name,
        description=description,
        config=config,
        variables={variable.name: variable.default for variable in variables if not variable.required},
        steps=steps,
    )
    conditions: dict[int, Predicate] = {}
    fan_outs: dict[int, ItemSource] = {}
    for at, definition in enumerate(definitions):
        if definition.when is not None:
            conditions[at] = NodeCondition(definition.name, BoundCall(definition.when))
        if definition.foreach is not None:
            get = reader(definition.foreach)  # each item is copied when its turn comes
            fan_outs[at] = NodeItems(get, limits.steps_max, definition.items_parallel_limit)
    plan = Plan(
        mission=mission,
        graph=Graph.build([step.id for step in steps], [step.depends_on for step in steps]),
        templates=(None,) * len(steps),
        conditions=conditions,
        fan_outs=fan_outs,
    )
    calls = {each.name: BoundCall(each.call, thread=each.thread) for each in definitions}
    return CompiledDag(plan, DagRunner(calls), limits)


def _step(definition: Definition) -> MissionStep:
    seconds = definition.timeout_seconds
    return MissionStep(
        id=definition.name,
        name=definition.name,
        step_type=STEP_TYPE,
        depends_on=definition.depends_on(),
        foreach=_foreach(definition),
        timeout_seconds=None if seconds is None else float(seconds),
        continue_on_error=definition.continue_on_error,
        retry=definition.retry,
    )


def _foreach(definition: Definition) -> ForEach | None:
    match definition.foreach:
        case Source() as source:
            return ForEach(items=str(source.reference()), parallel_limit=definition.items_parallel_limit)
        case Constant(value, _):
            return ForEach(items=list(value), parallel_limit=definition.items_parallel_limit)
        case _:
            return None

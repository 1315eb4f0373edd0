"""Running a Dag: values arrive where the definition says, each node has its own, results have the nodes' types."""

import asyncio
import threading
from typing import Any

import pytest

from engine.clock import SystemClock
from engine.context import ExecutionContext
from engine.dsl import Dag, DagResult, Node
from engine.errors import RefusalError, StepError
from engine.mission import MissionConfig, MissionLimits, MissionStep, Strategy
from engine.ports import Retry, SilentObserver
from engine.result import OverallStatus, StepState
from engine.retry import RetryPolicy
from engine.scheduler import MissionRun

REQUIRED = Dag("required")
with REQUIRED:
    _number = REQUIRED.variable("number", int)
    _factor = REQUIRED.variable("factor", float, default=2.0)

    @REQUIRED.node
    def product(number: int = _number, factor: float = _factor) -> float:
        return number * factor


async def test_values_arrive_by_position_and_by_name() -> None:
    """Outputs, parts of outputs, variables, constants, positional-only and keyword-only parameters; sync and async."""
    with Dag("d") as dag:
        size = dag.variable("size", int, default=2)

        @dag.node
        async def fetch(size: int = size) -> dict[str, Any]:
            await asyncio.sleep(0)
            return {"rows": [{"id": 7}] * size}

        @dag.node
        def use(
            identity: int = fetch.output["rows"][1]["id"],
            /,
            rows: list[Any] = fetch.output["rows"],
            constant: int = 5,
            *rest: int,
            size: int = size,
            **options: int,
        ) -> list[Any]:
            return [identity, len(rows), constant, rest, size, options]

    result = await dag.run()
    assert result.status is OverallStatus.SUCCESS
    assert result.output(use) == [7, 2, 5, [], 2, {}]


@pytest.mark.parametrize("strategy", Strategy)
async def test_the_strategy_is_a_parameter(strategy: Strategy) -> None:
    """One Dag gives the same under each; the configuration of the Dag itself stays."""
    with Dag("d", config=MissionConfig(fail_fast=False)) as dag:

        @dag.node
        def numbers() -> list[int]:
            return [1, 2, 3]

        @dag.node(foreach=numbers.output)
        async def square(number: int) -> int:
            return number * number

        @dag.node
        def total(squares: list[int] = square.output, numbers: list[int] = numbers.output) -> int:
            return sum(squares) - sum(numbers)

    result = await dag.run(strategy=strategy, parallel_limit=2, fail_fast=True, timeout_seconds=60)
    assert result.output(total) == 8
    assert result.output(square) == [1, 4, 9]
    assert dag.plan().mission.config == MissionConfig(fail_fast=False)


async def test_no_node_can_change_what_another_gets() -> None:
    """Each gets a copy: of an output, a variable, an item, a constant; so does whoever asks the result."""
    with Dag("d") as dag:
        given = dag.variable("given", list[int], default=[1])
        kept: list[list[int]] = []

        @dag.node
        def made() -> list[int]:
            kept.append([1])
            return kept[0]

        def spoil(
            made: list[int] = made.output,
            given: list[int] = given,
            constant: list[int] = [1],  # noqa: B006 - that is what is tested
        ) -> list[list[int]]:
            before = [list(made), list(given), list(constant)]
            for each in (made, given, constant, *kept):
                each.append(99)
            return before

        one = dag.node(name="one")(spoil)
        two = dag.node(name="two", after=[one])(spoil)

        @dag.node(foreach=[[1], [1]])
        def each(item: list[int], made: list[int] = made.output) -> list[int]:
            seen = [*item, *made]
            item.append(99)
            made.append(99)
            return seen

    for _ in range(2):
        result = await dag.run()
        assert result.output(one) == result.output(two) == [[1], [1], [1]]
        assert result.output(each) == [[1, 1], [1, 1]]
        result.output(made).append(99)
        assert result.output(made) == [1]
        kept.clear()


async def test_a_condition_gets_typed_outputs_and_skips() -> None:
    """False: the node is Skipped, its dependents get None, and asking for its output gives None."""
    with Dag("d") as dag:

        @dag.node
        def count() -> int:
            return 3

        @dag.node(when=lambda count=count.output: count > 5)
        def many() -> str:
            return "many"

        @dag.node(when=lambda count=count.output: count < 5)
        def few() -> str:
            return "few"

        @dag.node
        def word(many: str | None = many.output, few: str | None = few.output) -> str | None:
            return many or few

    result = await dag.run()
    assert result.output(word) == "few"
    assert result.output(many) is None
    assert result.step(many).status is StepState.SKIPPED


async def test_a_condition_that_raises_has_failed_its_node() -> None:
    """What it raised is logged and named, not shown; an error of the engine keeps its code."""
    with Dag("d", config=MissionConfig(fail_fast=False)) as dag:

        @dag.node
        def row() -> dict[str, int]:
            return {}

        @dag.node(when=lambda row=row.output: len(row) < 1 / 0)
        def bug() -> int:
            return 1

        @dag.node(when=lambda x=row.output["missing"]: bool(x))
        def missing() -> int:
            return 1

    result = await dag.run()
    failures = [result.step(node).error for node in (bug, missing)]
    assert [failure.code for failure in failures if failure] == ["when.raised", "reference.unresolved"]
    assert failures[0] is not None
    assert "ZeroDivisionError" in failures[0].message


async def test_a_node_that_may_fail_gives_none() -> None:
    """With continue_on_error dependents run with None; of a fan-out, with None for the items that failed."""
    with Dag("d") as dag:

        @dag.node(continue_on_error=True)
        def broken() -> int:
            raise StepError("no", code="test.no")

        @dag.node(foreach=[1, 0, 2], continue_on_error=True)
        def inverse(number: int) -> float:
            return 1 / number

        @dag.node
        def both(broken: int | None = broken.output, inverse: list[float | None] | None = inverse.output) -> list[Any]:
            return [broken, inverse]

    result = await dag.run()
    assert result.status is OverallStatus.PARTIAL
    assert result.output(both) == [None, [1.0, None, 0.5]]
    assert result.output(broken) is None
    assert result.output(inverse) == [1.0, None, 0.5]


async def test_asking_for_an_output_that_is_not_there_says_why() -> None:
    """A Failed and a Skipped node: the error has the code and the reason."""
    with Dag("d") as dag:

        @dag.node
        def broken() -> int:
            raise StepError("the disk is full", code="test.full")

        @dag.node
        def after(broken: int = broken.output) -> int:
            return broken

    result = await dag.run()
    for node, code in ((broken, "test.full"), (after, "step.dependency_failed")):
        with pytest.raises(StepError) as missing:
            result.output(node)
        assert missing.value.code == code
    with pytest.raises(RefusalError) as foreign:
        result.output(product)
    assert foreign.value.code == "dag.foreign_source"


async def test_a_node_is_tried_again() -> None:
    """A retry policy is that of the step, and each attempt gets its values anew."""
    seen: list[list[int]] = []
    with Dag("d") as dag:

        @dag.node
        def rows() -> list[int]:
            return [1]

        @dag.node(retry=RetryPolicy(max_attempts=3, base_ms=0))
        def flaky(rows: list[int] = rows.output) -> int:
            seen.append(list(rows))
            rows.append(2)
            if len(seen) < 3:
                raise OSError
            return len(seen)

    result = await dag.run()
    assert result.output(flaky) == 3
    assert seen == [[1]] * 3
    assert result.step(flaky).attempts == 3


async def test_a_blocking_function_is_run_in_a_thread() -> None:
    """With thread=True the event loop goes on: a node that it waits for can run beside it."""
    released = threading.Event()
    with Dag("d") as dag:

        @dag.node(thread=True)
        def blocks() -> bool:
            return released.wait(60)

        @dag.node
        async def releases() -> str:
            released.set()
            return threading.current_thread().name

    result = await dag.run()
    assert result.output(blocks) is True
    assert result.output(releases) == threading.current_thread().name


async def test_a_retry_waits_for_the_thread_of_the_attempt_before_it() -> None:
    """A thread goes on after its deadline, so the next attempt begins when it has ended: never two at once."""
    released, at_work = threading.Event(), threading.Lock()
    begun_alone: list[bool] = []
    with Dag("d") as dag:

        @dag.node(thread=True, timeout_seconds=0.02, retry=RetryPolicy(max_attempts=100, base_ms=0))
        def slow() -> int:
            begun_alone.append(at_work.acquire(blocking=False))
            if len(begun_alone) == 1:
                released.wait(60)
            at_work.release()
            return len(begun_alone)

    class Releasing(SilentObserver):
        def step_retrying(self, step: MissionStep, retry: Retry) -> None:
            if step.id == "slow" and retry.attempt == 3:
                released.set()

    result = await dag.run(observer=Releasing())
    assert begun_alone == [True, True]
    assert result.output(slow) == 2
    assert result.step(slow).attempts > 3


async def test_a_sync_function_may_return_an_awaitable() -> None:
    """A callable whose answer must be awaited, as `functools.partial` of an async function makes it, is awaited."""

    async def later() -> int:
        return 4

    with Dag("d") as dag:
        node: Node[Any] = dag.node(name="node")(lambda: later())  # noqa: PLW0108

    assert (await dag.run()).output(node) == 4


@pytest.mark.parametrize(
    ("variables", "code"),
    [
        ({}, "dag.missing_variable"),
        ({"number": "1"}, "dag.wrong_type"),
        ({"number": True}, "dag.wrong_type"),
        ({"number": 1, "fctor": 2.0}, "dag.unknown_variable"),
    ],
)
async def test_variables_are_checked_before_anything_runs(variables: dict[str, Any], code: str) -> None:
    """Missing, of another type, unknown: the run is refused."""
    with pytest.raises(RefusalError) as refused:
        await REQUIRED.run(variables=variables)
    assert refused.value.code == code


async def test_an_integer_is_a_float() -> None:
    """As in JSON."""
    assert (await REQUIRED.run(variables={"number": 4, "factor": 3})).output(product) == 12


@pytest.mark.parametrize("options", [{"parallel_limit": 0}, {"timeout_seconds": -1}, {"strategy": "fastest"}])
async def test_options_are_checked(options: dict[str, Any]) -> None:
    """An option out of range is refused, by a run and by a stream."""
    for use in (lambda: REQUIRED.run_sync(variables={"number": 1}, **options), lambda: REQUIRED.stream([], **options)):
        with pytest.raises(RefusalError) as refused:
            await asyncio.to_thread(use)
        assert refused.value.code == "dag.bad_option"


def test_a_program_without_a_loop_can_run_it() -> None:
    """`run_sync` brings one."""
    result: DagResult = REQUIRED.run_sync(variables={"number": 2})
    assert result.output(product) == 4.0


async def test_items_that_are_no_list_or_too_many_fail_the_node() -> None:
    """The limit of items is that of steps."""
    with Dag("d", limits=MissionLimits(steps_max=3), config=MissionConfig(fail_fast=False)) as dag:
        rows = dag.variable("rows", object)

        @dag.node(foreach=rows)  # type: ignore[call-overload, untyped-decorator]
        def each(row: int) -> int:
            return row

    codes = []
    for value in ({"a": 1}, [1, 2, 3, 4]):
        failure = (await dag.run(variables={"rows": value})).step(each).error
        codes.append(failure.code if failure else None)
    assert codes == ["foreach.not_a_list", "foreach.too_many"]


async def test_the_parts_can_be_used_alone() -> None:
    """`plan` and `runner` serve a `MissionRun` of one's own."""
    plan = REQUIRED.plan()
    context = ExecutionContext.of(plan.mission, variables={"number": 5})
    run = MissionRun(plan, context, REQUIRED.runner(), SilentObserver(), SystemClock(), "id")
    assert (await run.execute()).step_results["product"].output == 10.0


async def test_a_stream_runs_the_dag_for_each_batch() -> None:
    """In the order of the source; a batch whose variables do not fit is Failed, and the others go on."""
    batches = [{"number": 1}, {"number": "x"}, {"factor": 1.0}, {"number": 4}]
    seen = [
        (each.index, each.variables, each.result.output(product) if each.result.status == "Success" else None)
        async for each in REQUIRED.stream(batches)
    ]
    assert seen == [(0, batches[0], 2.0), (1, batches[1], None), (2, batches[2], None), (3, batches[3], 8.0)]


async def test_a_later_run_keeps_what_succeeded() -> None:
    """With the prior result only what failed, and what it held up, is run; also what a condition skipped is kept."""
    called: list[str] = []
    with Dag("d") as dag:

        @dag.node
        def rows() -> list[int]:
            called.append("rows")
            return [1]

        @dag.node(when=lambda rows=rows.output: len(rows) > 1)
        def never() -> int:
            return 1

        @dag.node
        def flaky(rows: list[int] = rows.output, never: int | None = never.output) -> int:
            called.append("flaky")
            if called.count("flaky") == 1:
                raise OSError
            return len(rows) + (never or 0)

        @dag.node
        def last(flaky: int = flaky.output) -> int:
            called.append("last")
            return flaky

    first = await dag.run()
    second = await dag.run(prior=first)
    assert first.status is OverallStatus.FAILED
    assert (second.status, second.output(last)) == (OverallStatus.SUCCESS, 1)
    assert called == ["rows", "flaky", "flaky", "last"]
    with pytest.raises(RefusalError) as foreign:
        await REQUIRED.run(variables={"number": 1}, prior=first)
    assert foreign.value.code == "dag.foreign_source"

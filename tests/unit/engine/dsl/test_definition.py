"""Defining a Dag: whatever is wrong is told when the block is left, with its line, and is never run."""

import inspect
import re
from collections.abc import Callable
from typing import Any, Literal, TypedDict

import pytest

from engine.dsl import Dag, DagDefinitionError, Node
from engine.dsl.sources import fits
from engine.errors import RefusalError
from engine.mission import MissionConfig, MissionLimits, RestartScope, Strategy, Supervision
from engine.retry import RetryPolicy


def errors_of(define: Callable[[Dag], object], **options: Any) -> DagDefinitionError:
    """Return what leaving the block of a wrong Dag raises; the Dag cannot be run after it."""
    dag = Dag("wrong", **options)
    with pytest.raises(DagDefinitionError) as refused, dag:
        define(dag)
    for use in (dag.plan, dag.run_sync, dag.describe, dag.runner, lambda: dag.stream([])):
        with pytest.raises(DagDefinitionError) as unusable:
            use()
        assert unusable.value.code == "dag.broken"
    return refused.value


def codes(error: DagDefinitionError) -> list[str]:
    return [each.code for each in error.violations]


def other_node() -> Node[int]:
    with Dag("other") as other:

        @other.node
        def number() -> int:
            return 1

    return number


def test_each_mistake_is_told_with_the_line_of_its_node() -> None:
    """One error has them all, sorted by line: the file and the line of each definition stand in its message."""

    def define(dag: Dag) -> None:
        later = dag.output_of("frist_rows", list[int])

        @dag.node
        def first(rows: list[int] = later) -> int:
            return len(rows)

        @dag.node(timeout_seconds=-1, after=["first"])
        def second() -> int:
            return 1

    error = errors_of(define)
    start = inspect.getsourcelines(define)[1]
    assert codes(error) == ["dag.unknown_node", "dag.bad_timeout"]
    assert [each.line for each in error.violations] == [start + 3, start + 7]
    assert str(error).splitlines()[0] == "the Dag 'wrong' has 2 errors:"
    for each in error.violations:
        assert f"{__file__}:{each.line}: node " in each.message
        assert each.message in str(error)


def test_a_name_that_is_nearly_one_is_suggested() -> None:
    """A missing dependency names the nearest node; so does a missing name in `after`."""

    def define(dag: Dag) -> None:
        @dag.node
        def extract() -> int:
            return 1

        @dag.node(after=["exract"])
        def load(rows: int = dag.output_of("extrac", int)) -> int:
            return rows

    error = errors_of(define)
    assert [m.message.rpartition("; ")[2] for m in error.violations] == ["did you mean 'extract'?"] * 2


def test_a_cycle_is_printed_with_the_line_of_each_node() -> None:
    """Forward references make cycles possible; the way round is shown from its first node."""

    def define(dag: Dag) -> None:
        @dag.node
        def a(x: int = dag.output_of("c", int)) -> int:
            return x

        @dag.node
        def b(x: int = a.output) -> int:
            return x

        @dag.node
        def c(x: int = b.output) -> int:
            return x

    error = errors_of(define)
    assert codes(error) == ["dag.cycle"]
    start = inspect.getsourcelines(define)[1]
    way = re.findall(r"(\w) \(([^)]*):(\d+)\)", error.violations[0].message)
    assert [(name, file, int(line) - start) for name, file, line in way] in (
        [("a", __file__, 1), ("c", __file__, 9), ("b", __file__, 5)],
        [("a", __file__, 1), ("b", __file__, 5), ("c", __file__, 9)],
    )
    assert error.violations[0].message.endswith("→ a")


def duplicate(dag: Dag) -> None:
    @dag.node
    def one() -> int:
        return 1

    @dag.node(name="one")
    def two() -> int:
        return 2


def itself(dag: Dag) -> None:
    @dag.node
    def one(x: int = dag.output_of("one", int)) -> int:
        return x


def without_source(dag: Dag) -> None:
    @dag.node
    def one(x: int) -> int:
        return x


def foreign(dag: Dag) -> None:
    @dag.node
    def one(x: int = other_node().output) -> int:
        return x


def foreign_after(dag: Dag) -> None:
    @dag.node(after=[other_node()])
    def one() -> int:
        return 1


def foreign_condition(dag: Dag) -> None:
    number = other_node().output

    @dag.node(when=lambda x=number: x > 0)
    def one() -> int:
        return 1


def without_item(dag: Dag) -> None:
    @dag.node(foreach=[1, 2])
    def one() -> int:  # type: ignore[misc]
        return 1


def two_items(dag: Dag) -> None:
    @dag.node(foreach=[1, 2])
    def one(x: int, y: int) -> int:
        return x + y


def items_that_are_none(dag: Dag) -> None:
    @dag.node(foreach=7)  # type: ignore[call-overload, untyped-decorator]
    def one(x: int) -> int:
        return x


def items_that_are_no_json(dag: Dag) -> None:
    @dag.node(foreach=[object()])
    def one(x: object) -> int:
        return id(x)


def limit_of_nothing(dag: Dag) -> None:
    @dag.node(items_parallel_limit=2)
    def one() -> int:
        return 1


def limit_of_zero(dag: Dag) -> None:
    @dag.node(foreach=[1], items_parallel_limit=0)
    def one(x: int) -> int:
        return x


def endless_timeout(dag: Dag) -> None:
    @dag.node(timeout_seconds=float("nan"))
    def one() -> int:
        return 1


def retry_that_is_none(dag: Dag) -> None:
    @dag.node(retry=3)  # type: ignore[call-overload, untyped-decorator]
    def one() -> int:
        return 1


def bad_name(dag: Dag) -> None:
    @dag.node(name="größe")
    def one() -> int:
        return 1


def generator(dag: Dag) -> None:
    @dag.node
    def one() -> Any:
        yield 1


def async_in_a_thread(dag: Dag) -> None:
    @dag.node(thread=True)
    async def one() -> int:
        return 1


async def later() -> bool:
    return True


def async_condition(dag: Dag) -> None:
    @dag.node(when=later)
    def one() -> int:
        return 1


def condition_without_source(dag: Dag) -> None:
    @dag.node(when=lambda x: x)
    def one() -> int:
        return 1


def variable_twice(dag: Dag) -> None:
    dag.variable("n", int, default=1)
    dag.variable("n", int, default=2)
    dag.node(name="n")(lambda: 1)


def variable_of_another_type(dag: Dag) -> None:
    dag.variable("n", int, default="1")
    dag.node(name="n")(lambda: 1)


def variable_that_is_no_json(dag: Dag) -> None:
    dag.variable("n", object, default=object())
    dag.node(name="n")(lambda: 1)


def bad_variable_name(dag: Dag) -> None:
    dag.variable("a b", int, default=1)
    dag.node(name="n")(lambda: 1)


WRONG = {
    duplicate: "dag.duplicate_name",
    itself: "dag.self_dependency",
    without_source: "dag.no_source",
    foreign: "dag.foreign_source",
    foreign_after: "dag.foreign_source",
    foreign_condition: "dag.foreign_source",
    without_item: "dag.no_item",
    two_items: "dag.no_source",
    items_that_are_none: "dag.bad_items",
    items_that_are_no_json: "dag.not_json",
    limit_of_nothing: "dag.no_foreach",
    limit_of_zero: "dag.bad_limit",
    endless_timeout: "dag.bad_timeout",
    retry_that_is_none: "dag.bad_retry",
    bad_name: "dag.bad_name",
    generator: "dag.generator",
    async_in_a_thread: "dag.async_thread",
    async_condition: "dag.async_condition",
    condition_without_source: "dag.no_source",
    variable_twice: "dag.duplicate_variable",
    variable_of_another_type: "dag.wrong_type",
    variable_that_is_no_json: "dag.not_json",
    bad_variable_name: "dag.bad_name",
    lambda _dag: None: "dag.empty",
}


@pytest.mark.parametrize(("define", "code"), WRONG.items(), ids=list(map(str, WRONG.values())))
def test_every_rule_is_applied(define: Callable[[Dag], object], code: str) -> None:
    """Each mistake alone is found, as what it is, and nothing else with it."""
    assert codes(errors_of(define)) == [code]


def test_too_many_items_are_refused() -> None:
    """A literal list is held to the limits of a mission."""

    def define(dag: Dag) -> None:
        @dag.node(foreach=[1, 2, 3])
        def one(x: int) -> int:
            return x

    assert codes(errors_of(define, limits=MissionLimits(steps_max=2))) == ["dag.too_many_items"]


def test_a_duplicate_names_the_first() -> None:
    """The message has the line of both definitions."""
    error = errors_of(duplicate)
    start = inspect.getsourcelines(duplicate)[1]
    assert error.violations[0].line == start + 5
    assert f"{__file__}:{start + 1}" in error.violations[0].message


def test_many_mistakes_are_counted_and_the_first_are_shown() -> None:
    """At most 64 violations are listed; the others are a number."""

    def many(dag: Dag) -> None:
        for number in range(70):
            dag.node(name=f"n{number}")(lambda x: x)

    error = errors_of(many)
    assert len(error.violations) == 64
    assert str(error).startswith("the Dag 'wrong' has 70 errors:")
    assert str(error).endswith("(and 6 more)")


def test_a_dag_is_defined_in_its_block_only() -> None:
    """Before it, after it, and a second time: nothing can be added; while it is open, nothing can be run."""
    dag = Dag("d")
    with pytest.raises(DagDefinitionError) as early:
        dag.node(lambda: 1)
    with dag:
        dag.node(name="one")(lambda: 1)
        with pytest.raises(DagDefinitionError) as open_still:
            dag.plan()
    changes: list[Callable[[], object]] = [
        lambda: dag.node(lambda: 2),
        lambda: dag.variable("n", int, default=1),
        lambda: dag.include(dag, prefix="x_"),
        dag.__enter__,
    ]
    late = []
    for change in changes:
        with pytest.raises(DagDefinitionError) as refused:
            change()
        late.append(refused.value.code)
    assert (early.value.code, open_still.value.code, late) == ("dag.closed", "dag.open", ["dag.closed"] * 4)
    assert len(dag.plan().mission.steps) == 1


def test_an_exception_of_the_block_is_not_hidden() -> None:
    """What the block raises goes on, in place of errors that it may have led to; the Dag cannot be run."""
    dag = Dag("d")
    with pytest.raises(ZeroDivisionError), dag:
        raise ZeroDivisionError
    with pytest.raises(DagDefinitionError):
        dag.plan()


def test_a_definition_error_is_a_refusal() -> None:
    """A program that handles refusals handles it."""
    assert issubclass(DagDefinitionError, RefusalError)


@pytest.mark.parametrize("misuse", [bool, iter, lambda s: s[-1], lambda s: s[True], lambda s: s[None]])
def test_an_output_has_no_value_yet(misuse: Callable[[Any], object]) -> None:
    """Asking an output for what only a value has is an error where it stands, and never a silent answer."""
    with pytest.raises(TypeError):
        misuse(other_node().output)


def test_a_node_waits_for_each_dependency_once() -> None:
    """Parameters, `when`, `foreach` and `after` may name one node four times."""
    with Dag("d") as dag:

        @dag.node
        def rows() -> list[int]:
            return [1]

        @dag.node(foreach=rows.output, when=lambda r=rows.output: bool(r), after=[rows, "rows"], retry=RetryPolicy())
        def each(row: int, rows: list[int] = rows.output) -> int:
            return row + len(rows)

    assert dag.plan().mission.steps[1].depends_on == ("rows",)
    assert dag.plan().graph.levels == ((0,), (1,))


def test_it_describes_its_levels() -> None:
    """Levels, dependencies and options as text; the graph for Mermaid."""
    with Dag("etl") as etl:
        count = etl.variable("count", int, default=3)

        @etl.node(timeout_seconds=2)
        def extract(count: int = count) -> list[int]:
            return [count]

        @etl.node(foreach=extract.output, items_parallel_limit=2, continue_on_error=True)
        def square(row: int) -> int:
            return row

    assert etl.describe().splitlines() == [
        "etl: 2 nodes in 2 levels, parallel, at most 16 at a time",
        "variables: count: int = 3",
        "  1  extract  [within 2 s]",
        "  2  square   ← extract  [for each item, 2 at a time, may fail]",
    ]
    assert etl.describe(style="mermaid").splitlines() == [
        "flowchart TD",
        '    n0["extract"]',
        '    n1["square"]',
        "    n0 --> n1",
    ]


@pytest.mark.parametrize(
    "config",
    [
        MissionConfig(parallel_limit=0),
        MissionConfig(timeout_seconds=-1),
        MissionConfig(supervision=Supervision(strategy=RestartScope.ONE_FOR_ALL)),
    ],
)
def test_the_configuration_is_checked_with_the_rest(config: MissionConfig) -> None:
    """With the line of the Dag; restarts of a level need levels."""
    error = errors_of(lambda dag: dag.node(name="n")(lambda: 1), config=config)
    assert codes(error) == ["dag.bad_option"]
    assert f"{__file__}:" in str(error)


def test_levels_can_be_restarted() -> None:
    """Under the strategy that has them."""
    supervision = Supervision(strategy=RestartScope.ONE_FOR_ALL)
    with Dag("d", config=MissionConfig(strategy=Strategy.LEVELS, supervision=supervision)) as dag:
        dag.node(name="n")(lambda: 1)
    assert dag.run_sync().status == "Success"


def test_every_option_is_described() -> None:
    """In the order in which it counts."""
    with Dag("d") as dag:
        dag.variable("x", int)
        dag.node(name="n", retry=RetryPolicy(max_attempts=2), thread=True, when=lambda: True)(lambda: 1)
    assert dag.describe().splitlines()[1:] == [
        "variables: x: int",
        "  1  n  [conditional, up to 2 attempts, in a thread]",
    ]


class _Row(TypedDict):
    id: int


@pytest.mark.parametrize(
    ("value", "expected", "fit"),
    [
        (1, int, True),
        (True, int, False),
        (True, bool, True),
        (1, float, True),
        (True, float, False),
        (1.5, int, False),
        ([1], list[int], True),
        ((1,), list[int], False),
        (None, int | None, True),
        ("a", int | None, False),
        ("a", Literal["a", "b"], True),
        ("c", Literal["a", "b"], False),
        ({"id": 1}, _Row, True),
        ([1], _Row, False),
        ({}, dict[str, int], True),
        (None, None, True),
        (1, None, False),
        ("x", Any, True),
        (1, object, True),
    ],
)
def test_a_value_fits_its_declared_type(value: object, expected: object, fit: bool) -> None:
    """As JSON has types; what is in a container is not looked at."""
    assert fits(value, expected) is fit

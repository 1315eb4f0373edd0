"""Composition: a Dag inside a Dag, under other names, with its variables filled in."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from engine.dsl import Dag, DagDefinitionError
from engine.errors import RefusalError

with Dag("clean") as clean:
    _raw = clean.variable("raw", list[int])
    _low = clean.variable("low", int, default=0)

    @clean.node
    def above(raw: list[int] = _raw, low: int = _low) -> list[int]:
        return [each for each in raw if each > low]

    @clean.node(when=lambda rows=above.output: len(rows) > 0)
    def largest(rows: list[int] = above.output) -> int:
        return max(rows)


async def test_its_nodes_run_as_nodes_of_the_other() -> None:
    """Variables come from outputs and values; outputs are had by the nodes of the Dag that was included."""
    with Dag("outer") as outer:

        @outer.node
        def fetch() -> dict[str, list[int]]:
            return {"rows": [5, 1, 9]}

        one = outer.include(clean, prefix="one_", variables={"raw": fetch.output["rows"], "low": 4})
        two = outer.include(clean, prefix="two_", variables={"raw": [1, 2]})

        @outer.node(after=[two.node(above)])
        def both(one: int | None = one.output(largest), two: int | None = two.output(largest)) -> list[int | None]:
            return [one, two]

    result = await outer.run()
    assert result.output(both) == [9, 2]
    assert result.output(one.node(above)) == [5, 9]
    assert set(result.mission.step_results) == {"fetch", "one_above", "one_largest", "two_above", "two_largest", "both"}
    assert (await outer.run(variables={"two_low": 1})).output(two.node(above)) == [2]


async def test_a_variable_that_is_not_given_is_one_of_the_outer_dag() -> None:
    """Under its prefixed name, still required, still of its type."""
    with Dag("outer") as outer:
        taken = outer.include(clean, prefix="x_")
    assert (await outer.run(variables={"x_raw": [1]})).output(taken.node(above)) == [1]
    for variables, code in (({}, "dag.missing_variable"), ({"x_raw": 1}, "dag.wrong_type")):
        with pytest.raises(RefusalError) as refused:
            await outer.run(variables=variables)
        assert refused.value.code == code


async def test_inclusions_nest() -> None:
    """What includes can be included; parts of a value that was filled in are found."""
    with Dag("inner") as inner:
        row = inner.variable("row", dict[str, Any])

        @inner.node
        def identity(value: int = row["id"]) -> int:
            return value

    with Dag("middle") as middle:
        named = middle.variable("table", dict[str, Any])
        in_middle = middle.include(inner, prefix="in_", variables={"row": named["row"]})

        @middle.node
        def doubled(value: int = in_middle.output(identity)) -> int:
            return value * 2

    with Dag("outer") as outer:
        first = outer.include(middle, prefix="a_", variables={"table": {"row": {"id": 4}}})
        second = outer.include(middle, prefix="b_", after=[first.node(doubled)])

    result = await outer.run(variables={"b_table": {"row": {"id": 7}}})
    assert (result.output(first.node(doubled)), result.output(second.node(doubled))) == (8, 14)
    assert result.mission.step_results["b_in_identity"].output == 7
    assert outer.plan().mission.steps[2].depends_on == ("a_doubled",)


async def test_a_fan_out_and_its_items_are_included() -> None:
    """The list of items may be a variable that the outer Dag fills with an output."""
    with Dag("inner") as inner:
        rows = inner.variable("rows", list[int])

        @inner.node(foreach=rows)
        def square(row: int) -> int:
            return row * row

    with Dag("outer") as outer:

        @outer.node
        def numbers() -> list[int]:
            return [2, 3]

        taken = outer.include(inner, prefix="", variables={"rows": numbers.output})

    assert (await outer.run()).output(taken.node(square)) == [4, 9]


def collision(dag: Dag) -> None:
    dag.node(name="x_above")(lambda: 1)
    dag.include(clean, prefix="x_", variables={"raw": [1]})


def twice(dag: Dag) -> None:
    dag.include(clean, prefix="x_", variables={"raw": [1], "low": 1})
    dag.include(clean, prefix="x_", variables={"raw": [1], "low": 1})


def bad_prefix(dag: Dag) -> None:
    dag.include(clean, prefix="x y", variables={"raw": [1], "low": 1})


def unknown_variable(dag: Dag) -> None:
    dag.include(clean, prefix="x_", variables={"raw": [1], "lo": 1})


def wrong_type(dag: Dag) -> None:
    dag.include(clean, prefix="x_", variables={"raw": 7})


def missing_part(dag: Dag) -> None:
    with Dag("inner") as inner:
        row = inner.variable("row", dict[str, int])

        @inner.node
        def identity(value: int = row["id"]) -> int:
            return value

    dag.include(inner, prefix="x_", variables={"row": {"idd": 1}})


def itself(dag: Dag) -> None:
    dag.node(name="n")(lambda: 1)
    dag.include(dag, prefix="x_")


def open_dag(dag: Dag) -> None:
    dag.node(name="n")(lambda: 1)
    dag.include(Dag("open"), prefix="x_")


def cycle(dag: Dag) -> None:
    taken = dag.include(clean, prefix="x_", variables={"raw": dag.output_of("last", list[int]), "low": 1})
    rows = taken.output(above)

    @dag.node
    def last(rows: list[int] = rows) -> list[int]:
        return rows


@pytest.mark.parametrize(
    ("define", "codes"),
    [
        (collision, ["dag.duplicate_name"]),
        (twice, ["dag.duplicate_name"] * 2),
        (bad_prefix, ["dag.bad_name"] * 2),
        (unknown_variable, ["dag.unknown_variable"]),
        (wrong_type, ["dag.wrong_type"]),
        (missing_part, ["dag.no_such_part"]),
        (itself, ["dag.include"]),
        (open_dag, ["dag.include"]),
        (cycle, ["dag.cycle"]),
    ],
)
def test_a_wrong_inclusion_is_told_at_the_end_of_the_block(define: Callable[[Dag], None], codes: list[str]) -> None:
    """With the line of the inclusion, or of the node."""
    with pytest.raises(DagDefinitionError) as refused, Dag("outer") as outer:
        define(outer)
    assert [each.code for each in refused.value.violations] == codes
    assert all(f"{__file__}:" in each.message for each in refused.value.violations)


def test_an_included_node_that_is_wrong_names_both_lines() -> None:
    """Where it was included, and where it is written."""
    with pytest.raises(DagDefinitionError) as refused, Dag("outer") as outer:
        collision(outer)
    line = inspect.getsourcelines(collision)[1] + 2
    assert refused.value.violations[0].line == line
    assert f"(written at {clean.definitions[0].place})" in refused.value.violations[0].message


def test_a_node_of_a_third_dag_is_refused_at_once() -> None:
    """What was not included has no output here."""
    with Dag("third") as third:
        node = third.node(name="n")(lambda: 1)
    with pytest.raises(DagDefinitionError) as refused, Dag("outer") as outer:
        outer.include(clean, prefix="x_").output(node)
    assert refused.value.code == "dag.foreign_source"

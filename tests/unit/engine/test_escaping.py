"""Values that are brought into a sub-mission's document."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.errors import StepError
from engine.escaping import escaped, escaped_scope
from engine.reference import ItemScope, Scope, parse, resolve


class Values:
    """A scope of given values."""

    def __init__(self, variables: dict[str, Any], outputs: dict[str, Any] | None = None) -> None:
        self.variables = variables
        self.step_outputs = outputs or {}


def twice(parameters: dict[str, Any], outer: Scope, inner: Scope) -> Any:
    """Resolve as the outer mission does for a sub-mission, and the result as the sub-mission does."""
    template = parse(parameters)
    once = resolve(template, escaped_scope(outer)) if template is not None else parameters
    assert isinstance(once, dict)
    again = parse(once)
    return resolve(again, inner) if again is not None else once


TEXT = st.text(st.sampled_from("$${}x.") | st.characters(exclude_categories=["Cs"]))


@given(TEXT, TEXT)
@example("${variables.secret}", "x")
@example("$${", "$$${")
@example("x", "{variables.secret}")
def test_what_is_brought_in_is_text_after_the_second_parse_too(first: str, second: str) -> None:
    """Whatever a value says, and whatever stands beside it, the sub-mission sees that text and no reference."""
    outer = Values({"a": first}, {"s": {"b": [second]}})
    parameters = {"one": "${variables.a}", "many": "<${variables.a}${steps.s.output.b.0}{variables.secret}>"}
    if first.endswith("$") or second.endswith("$"):
        with pytest.raises(StepError, match=r"ends in \$"):
            twice(parameters, outer, Values({"secret": "told"}))
    else:
        seen = twice(parameters, outer, Values({"secret": "told"}))
        assert seen == {"one": first, "many": f"<{first}{second}{{variables.secret}}>"}


def test_a_reference_that_was_written_for_the_sub_mission_is_one() -> None:
    """`$${` of the outer document is `${` of the nested one."""
    assert twice({"x": "$${variables.a}"}, Values({"a": "outer"}), Values({"a": "inner"})) == {"x": "inner"}


def test_values_of_every_form_are_escaped() -> None:
    """Also deep inside, and of an item; what is no text stays as it is."""
    value = {"a": [{"b": "${x}"}, 1, None, True], "${k}": 1.5}
    assert escaped(value) == {"a": [{"b": "$${x}"}, 1, None, True], "${k}": 1.5}
    scope = escaped_scope(ItemScope(Values({"v": "${x}"}), ["${y}"]))
    assert isinstance(scope, ItemScope)
    assert (scope.item, scope.variables["v"]) == (["$${y}"], "$${x}")


@pytest.mark.parametrize("values", [{"a": "5$"}, {"a": "$", "b": "{variables.secret}"}])
def test_a_text_that_could_begin_a_reference_is_refused(values: dict[str, Any]) -> None:
    """A `$` at the end would join with a `{` that follows; it is refused, and trying again does not help."""
    with pytest.raises(StepError) as refused:
        twice({"x": "${variables.a}{variables.secret}"}, Values(values), Values({"secret": "told"}))
    assert (refused.value.code, refused.value.retryable) == ("reference.nested", False)


def test_values_that_are_not_used_do_not_matter() -> None:
    """Only what is looked at is escaped, or refused; the scope still says what there is."""
    scope = escaped_scope(Values({"bad": "5$", "good": "g"}))
    assert scope.variables["good"] == "g"
    assert (len(scope.variables), list(scope.variables)) == (2, ["bad", "good"])

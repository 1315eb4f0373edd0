"""References are parsed from the mission's own text, once, and bring in values with their types."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from engine.errors import RefusalError, StepError
from engine.reference import (
    ItemScope,
    Reference,
    has_reference,
    lookup,
    parse,
    parse_alone,
    refuse_references,
    resolve,
)


@dataclass
class Scope:
    """Values without an engine."""

    variables: Mapping[str, Any] = field(default_factory=dict)
    step_outputs: Mapping[str, Any] = field(default_factory=dict)


SCOPE = Scope(
    variables={"n": 7, "deep": {"list": [{"x": True}, None]}, "text": "${variables.n} $${"},
    step_outputs={"fetch-1": {"body": {"1": "one"}, "ratio": 0.5}, "none": None},
)


def resolved(value: Any, scope: Scope | ItemScope = SCOPE) -> Any:
    """Return `value` as one parameter, parsed and resolved."""
    template = parse({"p": value})
    assert template is not None
    parameters = resolve(template, scope)
    assert isinstance(parameters, dict)
    return parameters["p"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${variables.n}", 7),
        ("${variables.deep}", {"list": [{"x": True}, None]}),
        ("${variables.deep.list.0.x}", True),
        ("${variables.deep.list.1}", None),
        ("${steps.fetch-1.output.ratio}", 0.5),
        ("${steps.fetch-1.output.body.1}", "one"),
        ("${steps.none.output}", None),
    ],
)
def test_a_string_that_is_one_reference_becomes_the_value(text: str, value: object) -> None:
    """Types survive: a number stays a number, an object an object."""
    result = resolved(text)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("n=${variables.n}!", "n=7!"),
        ("${variables.n}${variables.n}", "77"),
        ("${variables.deep.list.0.x} ${steps.none.output} ${steps.fetch-1.output.ratio}", "true null 0.5"),
        ("a $${variables.n} b", "a ${variables.n} b"),
        ("$$${variables.n}", "$${variables.n}"),
        ("$${${variables.n}}", "${7}"),
        ("cost: $5 and $ and {x}, ${variables.n}", "cost: $5 and $ and {x}, 7"),
    ],
)
def test_scalars_are_written_into_text(text: str, value: str) -> None:
    """Inside a longer string, scalars are written as JSON writes them; $${ is a literal ${."""
    assert resolved(text) == value


def test_what_comes_in_is_never_scanned() -> None:
    """A value that looks like a reference or an escape stays the text that it is."""
    assert resolved("${variables.text}") == "${variables.n} $${"
    assert resolved("<${variables.text}>") == "<${variables.n} $${>"


def test_only_what_changes_is_copied() -> None:
    """A subtree without references is the very object of the parameters; the parameters are never changed."""
    kept = {"a": [1, 2, {"b": None}]}
    parameters = {"kept": kept, "list": [kept, "${variables.n}"]}
    template = parse(parameters)
    assert template is not None
    result: Any = resolve(template, SCOPE)
    assert result == {"kept": kept, "list": [kept, 7]}
    assert result["kept"] is kept
    assert parameters["list"] == [kept, "${variables.n}"]


@pytest.mark.parametrize("value", [{}, {"a": [1, "b", None, {"c": "$"}]}, {"a": "$ {x} $(y)"}])
def test_parameters_without_references_have_no_template(value: dict[str, Any]) -> None:
    """A step without references costs nothing when it runs."""
    assert parse(value) is None


@pytest.mark.parametrize(
    "text",
    [
        "${steps.missing.output}",
        "${variables.missing}",
        "${variables.n.x}",
        "${variables.deep.list.2}",
        "${variables.deep.list.-1}",
        "${variables.deep.list.00}",
        "${variables.deep.list.x}",
        "x ${steps.none.output.a} y",
    ],
)
def test_a_path_that_does_not_exist_fails_the_step(text: str) -> None:
    """There is no default and no null for what is not there."""
    with pytest.raises(StepError) as caught:
        resolved(text)
    assert caught.value.code == "reference.unresolved"


def test_a_structure_does_not_fit_into_text() -> None:
    """An object inside a longer string is refused, not printed."""
    with pytest.raises(StepError) as caught:
        resolved("see ${variables.deep}")
    assert caught.value.code == "reference.not_scalar"


@pytest.mark.parametrize("text", ["${variables.big}", "-${variables.big}"])
def test_references_cannot_multiply_data(text: str) -> None:
    """A thousand references to one large value are refused before they are a gigabyte."""
    template = parse({"p": [text] * 1_000})
    assert template is not None
    with pytest.raises(StepError) as caught:
        resolve(template, Scope(variables={"big": "x" * 1_000_000}))
    assert caught.value.code == "reference.too_large"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("${", "reference.syntax"),
        ("${}", "reference.syntax"),
        ("${HOME}", "reference.syntax"),
        ("${variables}", "reference.syntax"),
        ("${variables.}", "reference.syntax"),
        ("${variables.a..b}", "reference.syntax"),
        ("${ variables.a }", "reference.syntax"),
        ("${variables.${variables.n}}", "reference.syntax"),
        ("${steps.a}", "reference.syntax"),
        ("${steps.a.result}", "reference.syntax"),
        ("${variables.a\n}", "reference.syntax"),
        ("${variables.ü}", "reference.syntax"),
        ("${secrets}", "reference.syntax"),
        ("${secrets.TOKEN.x}", "reference.syntax"),
        ("${items}", "reference.syntax"),
        ("${item.}", "reference.syntax"),
        ("${item[0]}", "reference.syntax"),
    ],
)
def test_what_is_no_reference_is_refused(text: str, code: str) -> None:
    """Whatever begins like a reference and is none is refused, never passed on as text."""
    with pytest.raises(RefusalError) as caught:
        parse({"p": f"a {text} b"})
    assert caught.value.code == code


def test_a_key_holds_no_reference() -> None:
    """Keys are what policy and schemas match on; they are never computed."""
    with pytest.raises(RefusalError, match="a key cannot hold a reference"):
        parse({"${variables.n}": 1})


def test_every_fault_is_reported_with_its_path() -> None:
    """With a report, parsing goes on behind a fault."""
    faults: list[tuple[object, str]] = []
    parse({"a": ["${x}", {"b": "${secrets} ${y}", "${z}": 1}]}, lambda path, code, _: faults.append((path, code)))
    assert faults == [
        (("a", 0), "reference.syntax"),
        (("a", 1, "${z}"), "reference.syntax"),
        (("a", 1, "b"), "reference.syntax"),
        (("a", 1, "b"), "reference.syntax"),
    ]


def test_the_item_is_what_the_step_is_run_for() -> None:
    """`${item}` is the value itself, a path leads into it, and all that the step sees is there as well."""
    scope = ItemScope(SCOPE, {"id": 3, "tags": ["x", "${item}"]})
    assert resolved("${item}", scope) == {"id": 3, "tags": ["x", "${item}"]}
    assert resolved("${item.id}", scope) == 3
    assert resolved("${item.tags.1}-${variables.n}-${steps.fetch-1.output.ratio}", scope) == "${item}-7-0.5"


@pytest.mark.parametrize(
    ("text", "scope", "code"),
    [
        ("${item}", SCOPE, "reference.no_item"),
        ("x ${item.a}", SCOPE, "reference.no_item"),
        ("${item.a}", ItemScope(SCOPE, {"b": 1}), "reference.unresolved"),
        ("${item.0}", ItemScope(SCOPE, None), "reference.unresolved"),
    ],
)
def test_an_item_that_is_not_there_fails_the_step(text: str, scope: Any, code: str) -> None:
    """A step that is run for no item, and an item without such a part."""
    with pytest.raises(StepError) as caught:
        resolved(text, scope)
    assert caught.value.code == code


def test_a_secret_stays_a_reference() -> None:
    """Its value never comes here: what stands in the mission stands in what is resolved."""
    assert resolved("${secrets.TOKEN}") == "${secrets.TOKEN}"
    assert resolved("Bearer ${secrets.TOKEN} ${variables.n}") == "Bearer ${secrets.TOKEN} 7"


def test_a_text_that_looks_like_a_secret_gets_no_handle() -> None:
    """Only what the mission's own text says is a secret; a value that was brought in, or escaped, is none."""
    template = parse({"p": ["${secrets.K}", "a ${secrets.K}", "${variables.v}", "$${secrets.K}"]})
    assert template is not None
    scope = Scope(variables={"v": "${secrets.K}"})
    found = resolve(template, scope, secret=lambda reference: f"handle of {reference.name}")
    assert found == {"p": ["handle of K", "a handle of K", "${secrets.K}", "${secrets.K}"]}


def test_a_secret_is_not_looked_up() -> None:
    """Not even where a variable has its name."""
    with pytest.raises(StepError) as caught:
        lookup(Reference("secrets", "n"), SCOPE)
    assert caught.value.code == "reference.unresolved"


@pytest.mark.parametrize("text", ["${variables.n}", "${steps.x.output.a.0}", "${item}", "${item.a}", "${secrets.K}"])
def test_a_reference_is_written_as_it_was_read(text: str) -> None:
    """What a message shows can be found in the document."""
    assert str(parse_alone(text, (), lambda *_: None)) == text


@pytest.mark.parametrize(
    "text", ["", "x", " ${item}", "${item} ", "${item}${item}", "$${item}", "${item}\n", "${", "${x}"]
)
def test_one_reference_alone_is_nothing_else(text: str) -> None:
    """Where one reference is expected, text around it is a fault, and so is an escape."""
    faults: list[tuple[object, str]] = []
    assert parse_alone(text, ("a",), lambda path, code, _: faults.append((path, code))) is None
    assert faults == [(("a",), "reference.syntax")]


def test_where_no_reference_can_stand_each_is_reported() -> None:
    """In keys as in values, however deep; escapes too, since there are none in such a place."""
    faults: list[tuple[object, str]] = []
    value = ["a", {"b": ["${variables.n}", "$${", "$ {"], "k${": 1, "c": None}, 7]
    refuse_references(value, ("w",), lambda path, code, _: faults.append((path, code)))
    assert faults == [
        (("w", 1, "b", 0), "reference.not_here"),
        (("w", 1, "b", 1), "reference.not_here"),
        (("w", 1, "k${"), "reference.not_here"),
    ]


def test_a_template_knows_its_references_and_where_they_are() -> None:
    """Taint and ancestry are worked out from `uses`, without another scan."""
    template = parse({"a": "${steps.x.output.k.0}", "b": [1, "u/${variables.v}"]})
    assert template is not None
    assert template.uses == (
        (("a",), Reference("steps", "x", ("k", "0"))),
        (("b", 1), Reference("variables", "v")),
    )
    assert [str(r) for r in template.references] == ["${steps.x.output.k.0}", "${variables.v}"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("${a}", True), ("$${a}", False), ("$$${a}", False), ("$${a}${b}", True), ("$a {b}", False), ("", False)],
)
def test_has_reference_sees_escapes(text: str, expected: object) -> None:
    """An escaped ${ is no reference."""
    assert has_reference(text) is expected

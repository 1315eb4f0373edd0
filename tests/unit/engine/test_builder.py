"""The mission builder: references become `${…}`, text stays text, and mistakes are told with their line."""

import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from engine.builder import MissionBuilder
from engine.builder_values import Condition, Ref
from engine.dsl import DagDefinitionError
from engine.loader import load_mission
from engine.mission import MissionConfig, MissionLimits, Strategy
from engine.plan import Plan
from engine.reference import resolve
from engine.retry import RetryPolicy
from engine.values import JsonValue


def load(m: MissionBuilder, data: bytes) -> Plan:
    kinds = {str(step["step_type"]) for step in m.document()["steps"]}  # type: ignore[index,union-attr,call-overload]
    return load_mission(data, limits=MissionLimits(), step_types=kinds)


def parameters(m: MissionBuilder, step: int = -1) -> Any:
    return m.document()["steps"][step]["parameters"]  # type: ignore[index,call-overload]


def complete() -> MissionBuilder:
    """Return a mission that uses everything that the loader reads."""
    config = MissionConfig(parallel_limit=3, strategy=Strategy.LEVELS, priority=7)
    m = MissionBuilder("report", description="é ${x}", labels={"team": "a"}, config=config)
    n = m.variable("n", {"deep": [1, 2.5, None, True, "${not.a.reference}"]})
    fetch = m.step("fetch", "http", {"url": "https://example.org", "n": n["deep"][1]}, retry=RetryPolicy(jitter=True))
    each = m.step(
        "each", "http", {"row": m.item["id"]}, foreach=fetch.output["rows"], items_parallel_limit=2, idempotent=True
    )
    m.step("literal", "http", {"row": m.item}, foreach=[0, "a", None])
    condition = (fetch.output["status"] == 200) & ~fetch.output["skip"].exists()
    m.step("some", "noop", {}, when=condition, after=[each, "literal"], timeout_seconds=3, continue_on_error=True)
    return m


def test_json_and_yaml_are_read_to_one_digest() -> None:
    """Every field, and text that YAML could take for something else."""
    m = complete()
    m.step("texts", "noop", {"texts": ["no", "0o17", "1e3", "~", "12:30", "", " x ", "\x07", "é\u2028", "- a", "#"]})
    assert load(m, m.to_json()).mission.digest() == load(m, m.to_yaml()).mission.digest()
    assert load(m, m.to_yaml()).mission.steps[-1].parameters == parameters(m)


def test_a_reference_is_a_dependency() -> None:
    """In a parameter, inside a text, in a condition, in a fan-out; each step once, after those of `after`."""
    m = MissionBuilder("m")
    a, b, c, d = (m.step(name, "noop", {}) for name in "abcd")
    m.step(
        "e",
        "noop",
        {"x": [a.output["k"], {"y": f"{b.output[0]}-{a.output}"}], "z": m.item},
        after=[d, "a"],
        when=c.output["ok"] == True,  # noqa: E712 - a condition, not a comparison
        foreach=b.output["rows"],
    )
    step = m.document()["steps"][-1]  # type: ignore[index,call-overload]
    assert step["depends_on"] == ["d", "a", "b", "c"]
    assert step["parameters"] == {
        "x": ["${steps.a.output.k}", {"y": "${steps.b.output.0}-${steps.a.output}"}],
        "z": "${item}",
    }


@pytest.mark.parametrize(
    "text", ["${variables.secret}", "$${x}", "$", "${", "$$${", "a${b}c${d}", "${steps.a.output}", "\x02ref:7:0\x03"]
)
def test_text_never_becomes_a_reference(text: str) -> None:
    """Whatever a program passes on reaches the step as it was."""
    m = MissionBuilder("m")
    a = m.step("a", "noop", {})
    m.step("b", "noop", {"text": text, "mixed": f"{text} {a.output}"})
    plan = load(m, m.to_json())
    template = plan.templates[1]
    assert template is not None
    scope = SimpleNamespace(variables={}, step_outputs={"a": "A"})
    assert resolve(template, scope) == {"text": text, "mixed": f"{text} A"}


def test_a_condition_is_data() -> None:
    """Every operator, flat where it can be, negated twice as it was."""
    m = MissionBuilder("m")
    a = m.step("a", "noop", {}).output
    ref = "${steps.a.output}"
    eq, gt = {"eq": [ref, 1]}, {"gt": [ref, 2]}
    expected: list[tuple[Condition, JsonValue]] = [
        (a == 1, eq),
        (a != "x", {"ne": [ref, "x"]}),
        (a < 1, {"lt": [ref, 1]}),
        (a > 2, gt),
        (a <= 2, {"not": gt}),
        (a >= 1, {"not": {"lt": [ref, 1]}}),
        (a.is_in([1, "b"]), {"in": [ref, [1, "b"]]}),
        (a["k"].exists(), {"exists": ["${steps.a.output.k}"]}),
        ((a == 1) & (a > 2) & (a == 1), {"all": [eq, gt, eq]}),
        ((a == 1) | (a > 2) | (a == 1), {"any": [eq, gt, eq]}),
        (~((a == 1) | (a > 2)), {"not": {"any": [eq, gt]}}),
        (~~(a == 1), eq),
    ]
    assert [condition.document() for condition, _ in expected] == [value for _, value in expected]


@pytest.mark.parametrize(
    "misuse",
    [
        bool,
        lambda ref: bool(ref == 1),
        list,
        lambda ref: f"{ref:>10}",
        lambda ref: {ref: 1},
        lambda ref: (ref == 1) and (ref == 2),
    ],
)
def test_a_reference_has_no_value_yet(misuse: Callable[[Ref], object]) -> None:
    """Asking one for what only a value has is an error where it stands."""
    with pytest.raises(TypeError):
        misuse(MissionBuilder("m").variable("x", 1))


def test_a_mark_is_worth_nothing_elsewhere() -> None:
    """Two builders have different marks, and `repr` has none: it is for people."""
    one, two = (MissionBuilder("m").variable("x", 1) for _ in range(2))
    assert str(one) != str(two)
    assert repr(one) == "<reference variables.x>"


def errors_of(define: Callable[[MissionBuilder], object]) -> DagDefinitionError:
    with pytest.raises(DagDefinitionError) as refused, MissionBuilder("wrong") as m:
        define(m)
    for use in (m.document, m.to_json, m.to_yaml):
        with pytest.raises(DagDefinitionError):
            use()
    return refused.value


def test_mistakes_are_told_together_with_their_lines() -> None:
    """The rules are the loader's; each violation has the file and the line of its step."""

    def define(m: MissionBuilder) -> None:
        m.variable("a b", 1)
        first = m.step("first", "noop", {}, timeout_seconds=-1, after=["secnd"])
        m.step("second", "noop", {"x": first.output["bad key"]})
        m.step("second", "noop", {})

    error = errors_of(define)
    start = inspect.getsourcelines(define)[1]
    assert [(each.code, each.line and each.line - start) for each in error.violations] == [
        ("mission.bad_identifier", 1),
        ("mission.out_of_range", 2),
        ("mission.unknown_dependency", 2),
        ("reference.syntax", 3),
        ("mission.duplicate_id", 4),
    ]
    assert all(f"{__file__}:{each.line}: " in str(error) for each in error.violations)
    assert "did you mean 'second'?" in str(error)


def test_a_cycle_is_printed_with_the_line_of_each_step() -> None:
    """`after` takes names of steps that come later, so there can be one."""

    def define(m: MissionBuilder) -> None:
        m.step("a", "noop", {}, after=["b"])
        m.step("b", "noop", {}, after=["a"])

    error = errors_of(define)
    start = inspect.getsourcelines(define)[1]
    assert error.code == "mission.cycle"
    for name, line in (("a", 1), ("b", 2)):
        assert f"{name} ({__file__}:{start + line})" in error.violations[0].message


OTHER = MissionBuilder("other")
OTHER_STEP = OTHER.step("s", "noop", {})


def marked_name(m: MissionBuilder) -> object:
    return m.step("a", "noop", {}, name=f"{m.variable('x', 1)}")


def marked_condition(m: MissionBuilder) -> object:
    x = m.variable("x", 1)
    return m.step("a", "noop", {}, when=x == f"{x}")


WRONG: dict[str, list[Callable[[MissionBuilder], object]]] = {
    "reference.foreign": [
        lambda m: m.step("a", "noop", {"x": OTHER_STEP.output}),
        lambda m: m.step("a", "noop", {"x": f"{OTHER_STEP.output}.txt"}),
        lambda m: m.step("a", "noop", {}, when=OTHER_STEP.output == 1),
        lambda m: m.step("a", "noop", {}, foreach=OTHER_STEP.output),
        lambda m: m.step("a", "noop", {}, after=[OTHER_STEP]),
    ],
    "reference.syntax": [
        lambda m: m.step("a", "noop", {"x": f"${m.variable('x', 1)}"}),
        lambda m: m.step("a", "noop", {f"{m.variable('x', 1)}": 1}),
        lambda m: m.step("a", "noop", {"${x}": 1}),
        lambda m: m.step("a", "noop", {"x": m.variable("x", [1])[-1]}),
        lambda m: m.step("a", "noop", {"x": m.variable("x", [1])["a.b"]}),
    ],
    "reference.not_here": [
        lambda m: m.variable("y", [m.variable("x", 1)]),  # type: ignore[list-item]
        lambda m: (m.variable("y", f"{m.variable('x', 1)}"), m.step("a", "noop", {})),
        marked_name,
        lambda m: m.step("a", "noop", {}, foreach=[1, {"x": "${variables.x}"}]),
        lambda m: m.step("a", "noop", {}, foreach=[m.variable("x", 1)]),  # type: ignore[list-item]
        lambda m: m.step("a", "noop", {}, when=m.variable("x", 1).is_in(["${variables.y}"])),
        lambda m: m.step("a", "noop", {}, when=m.variable("x", 1) == m.variable("y", 1)),
        marked_condition,
    ],
    "reference.no_item": [lambda m: m.step("a", "noop", {"x": m.item})],
    "mission.duplicate_variable": [lambda m: (m.variable("x", 1), m.variable("x", 2))],
    "document.not_json": [lambda m: m.step("a", "noop", {"x": object()})],
    "mission.no_steps": [lambda _m: None],
}


@pytest.mark.parametrize(("code", "define"), [(code, define) for code, defines in WRONG.items() for define in defines])
def test_every_mistake_is_found(code: str, define: Callable[[MissionBuilder], object]) -> None:
    """As what it is."""
    assert code in [each.code for each in errors_of(define).violations]


def test_a_secret_is_a_reference() -> None:
    """Its value is never there; the name must be one that the mission asks for."""
    m = MissionBuilder("m")
    m.step("a", "noop", {"token": m.secret("API_TOKEN"), "header": f"Bearer {m.secret('API_TOKEN')}"})
    assert parameters(m) == {"token": "${secrets.API_TOKEN}", "header": "Bearer ${secrets.API_TOKEN}"}


def test_an_exception_of_the_block_is_not_hidden() -> None:
    """What the block raises goes on."""
    with pytest.raises(ZeroDivisionError), MissionBuilder("m"):
        raise ZeroDivisionError

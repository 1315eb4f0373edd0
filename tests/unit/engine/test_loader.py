"""Every rule of a mission, each broken once: the code, the field and the place of the refusal."""

import json
from typing import Any

import pytest

from engine.document import document_of
from engine.errors import MissionInvalidError, Violation
from engine.loader import load_mission, load_mission_value
from engine.mission import Mission, MissionConfig, MissionLimits, MissionStep
from engine.plan import Plan

STEP_TYPES = frozenset({"transform", "create_file", "http"})
LIMITS = MissionLimits()

WHOLE = b"""\
version: "1.0"
name: Nightly report
description: |
  Fetch, shape, write.
labels: {team: data, example.org/tier: gold}
config: {timeout_seconds: 60, fail_fast: false, parallel_limit: 4, strategy: parallel}
variables:
  host: example.org
  paths: [{name: out/report.json}]
steps:
  - id: fetch
    name: Fetch the data
    step_type: Http
    timeout_seconds: 2.5
    continue_on_error: true
    parameters: {url: "https://${variables.host}/data"}
  - id: shape
    name: Shape it
    step_type: transform
    depends_on: [fetch]
    profile: wasm
    parameters: {input: "${steps.fetch.output.body}"}
  - id: write
    name: Write it
    step_type: CreateFile
    depends_on: [shape]
    parameters: {path: "${variables.paths.0.name}", content: "${steps.fetch.output.body} costs $${x}"}
"""


def load(data: bytes | str, **limits: Any) -> Plan:
    """Return the plan of a document."""
    text = data.encode() if isinstance(data, str) else data
    return load_mission(text, limits=MissionLimits(**limits), step_types=STEP_TYPES)


def refused(data: bytes | str, **limits: Any) -> tuple[Violation, ...]:
    """Return the violations of a document."""
    with pytest.raises(MissionInvalidError) as caught:
        load(data, **limits)
    return caught.value.violations


def step(step_id: str = "a", **fields: Any) -> dict[str, Any]:
    """Return a step with the required fields."""
    return {"id": step_id, "name": step_id, "step_type": "transform", "parameters": {}} | fields


def mission(*steps: Any, **fields: Any) -> str:
    """Return a mission as JSON, one step a line from line 2 on."""
    head = json.dumps({"version": "1.0", "name": "m"} | fields)[:-1]
    return head + ', "steps": [\n' + ",\n".join(json.dumps(s) for s in steps) + "\n]}"


def test_a_whole_mission_is_read() -> None:
    """Every supported field arrives, normalised where two spellings mean one thing."""
    plan = load(WHOLE)
    fetch, shape, write = plan.mission.steps
    assert fetch == MissionStep(
        id="fetch",
        name="Fetch the data",
        step_type="http",
        timeout_seconds=2.5,
        continue_on_error=True,
        parameters={"url": "https://${variables.host}/data"},
    )
    assert (shape.depends_on, shape.profile, write.step_type) == (("fetch",), "wasm", "create_file")
    assert plan.mission == Mission(
        name="Nightly report",
        description="Fetch, shape, write.\n",
        labels={"team": "data", "example.org/tier": "gold"},
        config=MissionConfig(timeout_seconds=60.0, fail_fast=False, parallel_limit=4),
        variables={"host": "example.org", "paths": [{"name": "out/report.json"}]},
        steps=(fetch, shape, write),
    )
    assert plan.level_ids() == [["fetch"], ["shape"], ["write"]]
    assert [template is not None for template in plan.templates] == [True, True, True]


def test_the_least_mission_gets_the_defaults() -> None:
    """Optional fields have the documented defaults, and no references mean no template."""
    plan = load(mission(step()))
    assert plan.mission == Mission(
        name="m", steps=(MissionStep(id="a", name="a", step_type="transform", parameters={}),)
    )
    assert plan.templates == (None,)


def test_every_spelling_of_a_mission_has_one_digest() -> None:
    """YAML, JSON in any order, and the canonical form are the same mission."""
    plan = load(WHOLE)
    again = load(plan.mission.canonical())
    assert again.mission == plan.mission
    assert again.mission.digest() == plan.mission.digest()
    reordered = json.loads(plan.mission.canonical())
    assert load(json.dumps(dict(reversed(reordered.items())), indent=1)).mission.digest() == plan.mission.digest()


@pytest.mark.parametrize(
    ("steps", "fields", "code", "field", "line"),
    [
        ([step()], {"version": 1.0}, "mission.bad_version", "version", 1),
        ([step()], {"version": "2.0"}, "mission.bad_version", "version", 1),
        ([step()], {"name": ""}, "mission.out_of_range", "name", 1),
        ([step()], {"name": None}, "mission.wrong_type", "name", 1),
        ([step()], {"name": "é" * 2_049}, "mission.out_of_range", "name", 1),
        ([step()], {"nam": "x"}, "mission.unknown_field", "nam", 1),
        ([step()], {"labels": {"-x": "y"}}, "mission.bad_identifier", 'labels["-x"]', 1),
        ([step()], {"labels": {"x": 1}}, "mission.wrong_type", "labels.x", 1),
        ([step()], {"labels": dict.fromkeys(map(str, range(65)), "")}, "mission.out_of_range", "labels", 1),
        ([step()], {"labels": ["x"]}, "mission.wrong_type", "labels", 1),
        ([step()], {"variables": {"a.b": 1}}, "mission.bad_identifier", 'variables["a.b"]', 1),
        ([step()], {"variables": None}, "mission.wrong_type", "variables", 1),
        ([step()], {"config": {"timeout_seconds": 0}}, "mission.out_of_range", "config.timeout_seconds", 1),
        ([step()], {"config": {"timeout_seconds": 1e9}}, "mission.out_of_range", "config.timeout_seconds", 1),
        ([step()], {"config": {"timeout_seconds": "1"}}, "mission.wrong_type", "config.timeout_seconds", 1),
        ([step()], {"config": {"timeout_seconds": True}}, "mission.wrong_type", "config.timeout_seconds", 1),
        ([step()], {"config": {"parallel_limit": 0}}, "mission.out_of_range", "config.parallel_limit", 1),
        ([step()], {"config": {"parallel_limit": 1025}}, "mission.out_of_range", "config.parallel_limit", 1),
        ([step()], {"config": {"parallel_limit": True}}, "mission.wrong_type", "config.parallel_limit", 1),
        ([step()], {"config": {"parallel_limit": 1.0}}, "mission.wrong_type", "config.parallel_limit", 1),
        ([step()], {"config": {"fail_fast": "no"}}, "mission.wrong_type", "config.fail_fast", 1),
        ([step()], {"config": {"strategy": "levels"}}, "mission.not_supported", "config.strategy", 1),
        ([step()], {"config": {"priority": 1}}, "mission.not_supported", "config.priority", 1),
        ([step()], {"config": {"concurrency_key": "k"}}, "mission.not_supported", "config.concurrency_key", 1),
        ([], {}, "mission.no_steps", "steps", 1),
        ([step(), "x"], {}, "mission.wrong_type", "steps[1]", 3),
        ([step(), step(id="b c")], {}, "mission.bad_identifier", "steps[1].id", 3),
        ([step(), step(id="-b")], {}, "mission.bad_identifier", "steps[1].id", 3),
        ([step(), step(id="b\n")], {}, "mission.bad_identifier", "steps[1].id", 3),
        ([step(), step(id="b" * 129)], {}, "mission.bad_identifier", "steps[1].id", 3),
        ([step(), step(id=7)], {}, "mission.wrong_type", "steps[1].id", 3),
        ([step(), step()], {}, "mission.duplicate_id", "steps[1].id", 3),
        ([step(), step("b", step_type="creatfile")], {}, "mission.unknown_step_type", "steps[1].step_type", 3),
        ([step(), step("b", step_type="createFile")], {}, "mission.unknown_step_type", "steps[1].step_type", 3),
        ([step(), step("b", depends_on="a")], {}, "mission.wrong_type", "steps[1].depends_on", 3),
        ([step(), step("b", depends_on=["a", 1])], {}, "mission.wrong_type", "steps[1].depends_on[1]", 3),
        ([step(), step("b", depends_on=["z"])], {}, "mission.unknown_dependency", "steps[1].depends_on[0]", 3),
        ([step(), step("b", depends_on=["b"])], {}, "mission.self_dependency", "steps[1].depends_on[0]", 3),
        ([step(), step("b", depends_on=["a", "a"])], {}, "mission.duplicate_dependency", "steps[1].depends_on[1]", 3),
        ([step(), step("b", timeout_seconds=-1)], {}, "mission.out_of_range", "steps[1].timeout_seconds", 3),
        ([step(), step("b", timeout_seconds=86_401)], {}, "mission.out_of_range", "steps[1].timeout_seconds", 3),
        ([step(), step("b", continue_on_error=1)], {}, "mission.wrong_type", "steps[1].continue_on_error", 3),
        ([step(), step("b", profile="a/b")], {}, "mission.bad_identifier", "steps[1].profile", 3),
        ([step(), step("b", parameters=[])], {}, "mission.wrong_type", "steps[1].parameters", 3),
        ([step(), step("b", when={"eq": [1, 1]})], {}, "mission.not_supported", "steps[1].when", 3),
        ([step(), step("b", foreach=[1])], {}, "mission.not_supported", "steps[1].foreach", 3),
        ([step(), step("b", retry={})], {}, "mission.not_supported", "steps[1].retry", 3),
        ([step(), step("b", x=1)], {}, "mission.unknown_field", "steps[1].x", 3),
        ([step(depends_on=["b"]), step("b", depends_on=["a"])], {}, "mission.cycle", "steps[0].depends_on", 2),
    ],
)  # fmt: skip
def test_each_rule_has_its_refusal(steps: list[Any], fields: dict[str, Any], code: str, field: str, line: int) -> None:
    """One broken rule gives one violation: its code, its field, its line."""
    assert [(v.code, v.field, v.line) for v in refused(mission(*steps, **fields))] == [(code, field, line)]


@pytest.mark.parametrize("name", ["version", "name", "steps"])
def test_required_fields_of_a_mission_are_required(name: str) -> None:
    """What is missing is named, and the place is that of the object that lacks it."""
    document = json.loads(mission(step()))
    del document[name]
    (violation,) = refused("\n " + json.dumps(document))
    assert (violation.code, violation.field) == ("mission.missing_field", name)
    assert (violation.line, violation.column) == (2, 2)


@pytest.mark.parametrize("name", ["id", "name", "step_type", "parameters"])
def test_required_fields_of_a_step_are_required(name: str) -> None:
    """A step without one of them is refused where the step begins."""
    bare = step("b")
    del bare[name]
    (violation,) = refused(mission(step(), bare))
    assert (violation.code, violation.field) == ("mission.missing_field", f"steps[1].{name}")
    assert (violation.line, violation.column) == (3, 1)


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        ("${steps.zz.output}", "reference.unknown_step"),
        ("${steps.side.output}", "reference.not_a_dependency"),
        ("${steps.after.output}", "reference.not_a_dependency"),
        ("${steps.it.output}", "reference.not_a_dependency"),
        ("${variables.w}", "reference.unknown_variable"),
        ("${variables.v.b}", "reference.unknown_variable"),
        ("${nothing}", "reference.syntax"),
        ("${secrets.TOKEN}", "reference.secret_not_supported"),
        ("${item}", "mission.not_supported"),
    ],
)
def test_a_reference_names_what_is_known_and_comes_before(reference: str, code: str) -> None:
    """Steps must be ancestors, variables must exist with their path; all else is refused at the string."""
    it = {"id": "it", "name": "it", "step_type": "transform", "depends_on": ["mid"]}
    text = mission(
        step("first"),
        step("side"),
        step("mid", depends_on=["first"]),
        it | {"parameters": {"ok": "${steps.first.output} ${variables.v.a}", "list": [f"x {reference}"]}},
        step("after", depends_on=["it"]),
        variables={"v": {"a": 1}},
    )
    (violation,) = refused(text)
    assert (violation.code, violation.field, violation.line) == (code, "steps[3].parameters.list[0]", 5)
    assert violation.column == text.splitlines()[4].index('"x ') + 1


def test_everything_that_is_wrong_is_said_at_once() -> None:
    """One reading finds the faults of all stages, in the order of the document, with line and column."""
    text = """\
version: 1.0
name: x
descripton: y
steps:
  - id: a
    name: A
    step_type: CreatFile
    depends_on: [c]
    parameters: {p: "${steps.zz.output}"}
  - id: b
    step_type: http
    depends_on: [a, q]
    parameters: {}
  - {id: c, name: C, step_type: http, depends_on: [b], parameters: {}, timeout_seconds: 0}
"""
    assert [(v.code, v.field, v.line, v.column) for v in refused(text)] == [
        ("mission.bad_version", "version", 1, 10),
        ("mission.unknown_field", "descripton", 3, 1),
        ("mission.unknown_step_type", "steps[0].step_type", 7, 16),
        ("mission.cycle", "steps[0].depends_on", 8, 18),
        ("reference.unknown_step", "steps[0].parameters.p", 9, 21),
        ("mission.missing_field", "steps[1].name", 10, 5),
        ("mission.unknown_dependency", "steps[1].depends_on[1]", 12, 21),
        ("mission.out_of_range", "steps[2].timeout_seconds", 14, 89),
    ]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (mission(step(), naem="x"), "did you mean 'name'?"),
        (mission(step(dependson=[])), "did you mean 'depends_on'?"),
        (mission(step(step_type="CreatFile")), "did you mean 'create_file'?"),
        (mission(step("fetch"), step("b", depends_on=["fetsh"])), "did you mean 'fetch'?"),
    ],
)
def test_the_nearest_name_is_suggested(text: str, hint: str) -> None:
    """A typing error is answered with the name that was meant."""
    assert refused(text)[0].message.endswith(hint)


def test_the_cycle_is_printed() -> None:
    """The message walks the cycle once, from its first step back to it, in the direction of depends_on."""
    text = mission(
        step("x"), step("a", depends_on=["x", "c"]), step("b", depends_on=["a"]), step("c", depends_on=["b"])
    )
    (violation,) = refused(text)
    assert "a → c → b → a" in violation.message
    assert (violation.line, violation.field) == (3, "steps[1].depends_on")
    assert violation.column == text.splitlines()[2].index('"c"') + 1


def test_the_cycle_is_shown_where_it_is_written() -> None:
    """The position is that of the dependency in the cycle, also beside one that does not exist."""
    text = mission(step("a", depends_on=["nope", "b"]), step("b", depends_on=["a"]))
    cycle = next(v for v in refused(text) if v.code == "mission.cycle")
    assert (cycle.line, cycle.column) == (2, text.splitlines()[1].index('"b"') + 1)


def test_too_many_dependencies_are_the_only_complaint() -> None:
    """Over the limit of edges no order is known, so no reference is called one to a step that does not come before."""
    steps = [step("a"), step("b", depends_on=["a"], parameters={"p": "${steps.a.output}"}), step("c", depends_on=["a"])]
    with pytest.raises(MissionInvalidError) as caught:
        load_mission(mission(*steps).encode(), limits=MissionLimits(edges_max=1), step_types=STEP_TYPES)
    assert [(v.code, v.kind) for v in caught.value.violations] == [("mission.too_many_edges", "limit")]


def test_one_step_too_many_is_a_limit() -> None:
    """10,000 steps load, and 10,001 are refused as over the limit, not as malformed."""
    steps = [step(f"s{i}") for i in range(10_001)]
    assert len(load(mission(*steps[:-1])).mission.steps) == 10_000
    (violation,) = refused(mission(*steps))
    assert (violation.code, violation.field, violation.kind) == ("mission.too_many_steps", "steps", "limit")


def test_edges_are_bounded() -> None:
    """The number of dependencies is limited as a whole."""
    steps = [step("a"), step("b", depends_on=["a"]), step("c", depends_on=["a", "b"])]
    assert load(mission(*steps), edges_max=3)
    assert [v.code for v in refused(mission(*steps), edges_max=2)] == ["mission.too_many_edges"]


def test_limits_and_mistakes_are_told_apart() -> None:
    """Only what is over a maximum is a limit; below a minimum is malformed."""
    over = refused(mission(step(timeout_seconds=1e6), config={"parallel_limit": 5_000}))
    under = refused(mission(step(timeout_seconds=0), config={"parallel_limit": 0}))
    assert {v.kind for v in over} == {"limit"}
    assert {v.kind for v in under} == {"malformed"}


def test_at_most_sixty_four_violations_are_reported() -> None:
    """A mission that is wrong everywhere is refused early, and what is reported stays in order."""
    violations = refused(mission(*(step(f"s{i}", nope=1) for i in range(5_000))))
    assert len(violations) == 64
    assert [v.line for v in violations] == list(range(2, 66))


def test_messages_are_bounded_and_printable() -> None:
    """A client's text is cut and escaped before it is repeated; a terminal that shows it obeys nothing."""
    hostile = "\x1b[2J\u202e" + "x" * 100_000
    for text in (
        mission(step(), **{hostile: 1}),
        mission(step(step_type=hostile)),
        mission(step(depends_on=[hostile])),
    ):
        (violation,) = refused(text)
        assert len(violation.message) < 300
        assert len(violation.field) < 300
        assert violation.message.isprintable()
        assert violation.field.isprintable()


def test_a_mission_from_a_message_needs_no_text() -> None:
    """A value that never was text gives the same plan, and violations without lines."""
    value = json.loads(load(WHOLE).mission.canonical())
    plan = load_mission_value(document_of(value, LIMITS), limits=LIMITS, step_types=STEP_TYPES)
    assert plan.mission == load(WHOLE).mission
    with pytest.raises(MissionInvalidError) as caught:
        load_mission_value(document_of(value | {"steps": []}, LIMITS), limits=LIMITS, step_types=STEP_TYPES)
    (violation,) = caught.value.violations
    assert (violation.code, violation.line, violation.column) == ("mission.no_steps", None, None)


def test_variables_are_data_and_not_templates() -> None:
    """A variable whose text looks like a reference is admitted as the text that it is."""
    assert load(mission(step(), variables={"v": "${steps.zz.output} ${"})).templates == (None,)


@pytest.mark.parametrize("text", ["[]", "hello", "1", "null", '"x"', "- a"])
def test_only_an_object_is_a_mission(text: str) -> None:
    """Any other value is refused at its beginning."""
    (violation,) = refused(text)
    assert (violation.code, violation.field, violation.line, violation.column) == ("mission.wrong_type", "", 1, 1)

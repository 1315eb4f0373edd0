"""Every rule of a mission, each broken once: the code, the field and the place of the refusal."""

import json
from typing import Any

import pytest

from engine.document import document_of
from engine.errors import MissionInvalidError, Violation
from engine.loader import load_mission, load_mission_value
from engine.mission import (
    ForEach,
    Mission,
    MissionConfig,
    MissionLimits,
    MissionStep,
    RestartScope,
    Strategy,
    Supervision,
)
from engine.plan import Plan
from engine.retry import Backoff, RetryPolicy

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


def supervised(order: str | None = None, /, **supervision: Any) -> dict[str, Any]:
    """Return the field `config` of a mission that is supervised."""
    config: dict[str, Any] = {"supervision": supervision}
    return {"config": config | ({"strategy": order} if order is not None else {})}


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
        ([step()], {"config": {"strategy": "level"}}, "mission.unknown_choice", "config.strategy", 1),
        ([step()], {"config": {"strategy": "LEVELS"}}, "mission.unknown_choice", "config.strategy", 1),
        ([step()], {"config": {"strategy": None}}, "mission.wrong_type", "config.strategy", 1),
        ([step()], {"config": {"priority": -1}}, "mission.out_of_range", "config.priority", 1),
        ([step()], {"config": {"priority": 10}}, "mission.out_of_range", "config.priority", 1),
        ([step()], {"config": {"priority": "9"}}, "mission.wrong_type", "config.priority", 1),
        ([step()], {"config": {"priority": True}}, "mission.wrong_type", "config.priority", 1),
        ([step()], {"config": {"concurrency_key": ""}}, "mission.bad_identifier", "config.concurrency_key", 1),
        ([step()], {"config": {"concurrency_key": "a b"}}, "mission.bad_identifier", "config.concurrency_key", 1),
        ([step()], {"config": {"concurrency_key": "k\n"}}, "mission.bad_identifier", "config.concurrency_key", 1),
        ([step()], {"config": {"concurrency_key": "кey"}}, "mission.bad_identifier", "config.concurrency_key", 1),
        ([step()], {"config": {"concurrency_key": "k" * 129}}, "mission.bad_identifier", "config.concurrency_key", 1),
        ([step()], {"config": {"concurrency_key": 7}}, "mission.wrong_type", "config.concurrency_key", 1),
        ([step()], {"config": {"supervision": "one_for_one"}}, "mission.wrong_type", "config.supervision", 1),
        ([step()], supervised(max=1), "mission.unknown_field", "config.supervision.max", 1),
        ([step()], supervised(strategy="rest_for_one"), "mission.unknown_choice", "config.supervision.strategy", 1),
        ([step()], supervised(strategy="one_for_all"), "mission.needs_levels", "config.supervision.strategy", 1),
        ([step()], supervised("parallel", strategy="one_for_all"), "mission.needs_levels",
         "config.supervision.strategy", 1),
        ([step()], supervised("level", strategy="one_for_all"), "mission.unknown_choice", "config.strategy", 1),
        ([step()], supervised(max_restarts=-1), "mission.out_of_range", "config.supervision.max_restarts", 1),
        ([step()], supervised(max_restarts=1_001), "mission.out_of_range", "config.supervision.max_restarts", 1),
        ([step()], supervised(within_seconds=0), "mission.out_of_range", "config.supervision.within_seconds", 1),
        ([step()], supervised(within_seconds=1e9), "mission.out_of_range", "config.supervision.within_seconds", 1),
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
        ([step(), step("b", idempotent="yes")], {}, "mission.wrong_type", "steps[1].idempotent", 3),
        ([step(), step("b", retry=3)], {}, "mission.wrong_type", "steps[1].retry", 3),
        ([step(), step("b", retry={"attempts": 3})], {}, "mission.unknown_field", "steps[1].retry.attempts", 3),
        ([step(), step("b", retry={"max_attempts": 0})], {}, "mission.out_of_range", "steps[1].retry.max_attempts", 3),
        ([step(), step("b", retry={"max_attempts": 101})], {}, "mission.out_of_range",
         "steps[1].retry.max_attempts", 3),
        ([step(), step("b", retry={"base_ms": -1})], {}, "mission.out_of_range", "steps[1].retry.base_ms", 3),
        ([step(), step("b", retry={"base_ms": 3_600_001})], {}, "mission.out_of_range", "steps[1].retry.base_ms", 3),
        ([step(), step("b", retry={"base_ms": 0.5})], {}, "mission.wrong_type", "steps[1].retry.base_ms", 3),
        ([step(), step("b", retry={"backoff": "linear"})], {}, "mission.unknown_choice", "steps[1].retry.backoff", 3),
        ([step(), step("b", retry={"jitter": 1})], {}, "mission.wrong_type", "steps[1].retry.jitter", 3),
        ([step(), step("b", foreach=[1])], {}, "mission.wrong_type", "steps[1].foreach", 3),
        ([step(), step("b", foreach={})], {}, "mission.missing_field", "steps[1].foreach.items", 3),
        ([step(), step("b", foreach={"items": 3})], {}, "mission.wrong_type", "steps[1].foreach.items", 3),
        ([step(), step("b", foreach={"items": {"a": 1}})], {}, "mission.wrong_type", "steps[1].foreach.items", 3),
        ([step(), step("b", foreach={"items": "a,b"})], {}, "reference.syntax", "steps[1].foreach.items", 3),
        ([step(), step("b", foreach={"items": "${steps.a.output} "})], {}, "reference.syntax",
         "steps[1].foreach.items", 3),
        ([step(), step("b", foreach={"items": [1, {"x": ["${variables.v}"]}]})], {"variables": {"v": 1}},
         "reference.not_here", "steps[1].foreach.items[1].x[0]", 3),
        ([step(), step("b", foreach={"items": [], "parallel_limit": 0})], {}, "mission.out_of_range",
         "steps[1].foreach.parallel_limit", 3),
        ([step(), step("b", foreach={"items": [], "limit": 1})], {}, "mission.unknown_field",
         "steps[1].foreach.limit", 3),
        ([step(), step("b", foreach={"items": [0] * 10_001})], {}, "mission.too_many_items",
         "steps[1].foreach.items", 3),
        ([step(), step("b", foreach={"items": [0] * 10_000})], {}, "mission.too_many_steps", "steps", 1),
        ([step(), step("b", when=True)], {}, "mission.wrong_type", "steps[1].when", 3),
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
        ("${steps.it.output}", "reference.own_output"),
        ("${variables.w}", "reference.unknown_variable"),
        ("${variables.v.b}", "reference.unknown_variable"),
        ("${nothing}", "reference.syntax"),
        ("${secrets.TOKEN}", "reference.unknown_secret"),
        ("${item}", "reference.no_item"),
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


CONTROLLED = b"""\
version: "1.0"
name: Controlled
config:
  strategy: levels
  priority: 0
  concurrency_key: deploy/eu-west:db
  supervision: {strategy: one_for_all, max_restarts: 0, within_seconds: 5}
variables: {rows: [1, 2]}
steps:
  - {id: list, name: List, step_type: transform, parameters: {}, retry: {}}
  - id: each
    name: Each
    step_type: http
    depends_on: [list]
    when: {all: [{eq: ["${steps.list.output.ok}", true]}, {not: {exists: ["${variables.rows.7}"]}}]}
    foreach: {items: "${steps.list.output.rows}", parallel_limit: 2}
    retry: {max_attempts: 5, backoff: exponential, base_ms: 10, jitter: true}
    idempotent: true
    parameters: {url: "https://x/${item.id}", token: "${secrets.TOKEN}"}
  - {id: two, name: Two, step_type: http, foreach: {items: [{url: x}, null]}, parameters: {url: "${item.url}"}}
"""


def test_everything_that_controls_a_mission_is_read() -> None:
    """Each field becomes the value that the scheduler takes, with the defaults of what is left out."""
    plan = load_mission(CONTROLLED, limits=LIMITS, step_types=STEP_TYPES, secrets={"TOKEN"})
    assert plan.mission.config == MissionConfig(
        strategy=Strategy.LEVELS,
        priority=0,
        concurrency_key="deploy/eu-west:db",
        supervision=Supervision(strategy=RestartScope.ONE_FOR_ALL, max_restarts=0, within_seconds=5.0),
    )
    first, each, two = plan.mission.steps
    assert first.retry == RetryPolicy()
    assert each.retry == RetryPolicy(max_attempts=5, backoff=Backoff.EXPONENTIAL, base_ms=10, jitter=True)
    assert (each.idempotent, first.idempotent) == (True, False)
    assert each.foreach == ForEach(items="${steps.list.output.rows}", parallel_limit=2)
    assert two.foreach == ForEach(items=[{"url": "x"}, None])
    assert (sorted(plan.conditions), sorted(plan.fan_outs)) == ([1], [1, 2])
    assert [source.parallel_limit for source in plan.fan_outs.values()] == [2, None]
    again = load_mission(plan.mission.canonical(), limits=LIMITS, step_types=STEP_TYPES, secrets={"TOKEN"})
    assert again.mission == plan.mission


def test_a_plan_knows_all_that_a_step_refers_to() -> None:
    """In parameters, conditions and fan-outs alike: what follows data need not know where references may stand."""
    plan = load_mission(CONTROLLED, limits=LIMITS, step_types=STEP_TYPES, secrets={"TOKEN"})
    assert [[str(reference) for reference in of_step] for of_step in plan.references] == [
        [],
        [
            "${item.id}",
            "${secrets.TOKEN}",
            "${steps.list.output.ok}",
            "${variables.rows}",
            "${steps.list.output.rows}",
        ],
        ["${item.url}"],
    ]


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        ("${steps.zz.output}", "reference.unknown_step"),
        ("${steps.side.output.x}", "reference.not_a_dependency"),
        ("${steps.after.output}", "reference.not_a_dependency"),
        ("${steps.it.output}", "reference.own_output"),
        ("${variables.w}", "reference.unknown_variable"),
        ("${item}", "reference.no_item"),
        ("${secrets.TOKEN}", "reference.not_here"),
        ("${nothing}", "reference.syntax"),
        ("$${steps.first.output}", "reference.syntax"),
    ],
)
@pytest.mark.parametrize("place", ["when.eq[0]", "when.not.exists[0]", "foreach.items"])
def test_conditions_and_fan_outs_refer_to_what_comes_before(place: str, reference: str, code: str) -> None:
    """The rules of parameters, but for secrets and items, which are not there when these are looked at."""
    fields: dict[str, Any] = {
        "when.eq[0]": {"when": {"eq": [reference, 1]}},
        "when.not.exists[0]": {"when": {"not": {"exists": [reference]}}},
        "foreach.items": {"foreach": {"items": reference}},
    }
    it = step("it", depends_on=["mid"]) | fields[place]
    if place != "foreach.items":
        it["foreach"] = {"items": [1]}
    steps = [step("first"), step("side"), step("mid", depends_on=["first"]), it, step("after", depends_on=["it"])]
    with pytest.raises(MissionInvalidError) as caught:
        load_mission(mission(*steps).encode(), limits=LIMITS, step_types=STEP_TYPES, secrets={"TOKEN"})
    (violation,) = caught.value.violations
    assert (violation.code, violation.field, violation.line) == (code, f"steps[3].{place}", 5)
    it[place.partition(".")[0]] = json.loads(
        json.dumps(it[place.partition(".")[0]]).replace(reference, "${steps.first.output.x}")
    )
    assert load(mission(*steps)).references[3]


def test_a_path_of_a_variable_must_lead_somewhere_unless_that_is_the_question() -> None:
    """`exists` asks for what may not be there; elsewhere a path that leads nowhere can only be a mistake."""
    variables = {"v": {"a": 1}}
    assert load(mission(step(when={"exists": ["${variables.v.b}"]}), variables=variables)).conditions
    codes = [v.code for v in refused(mission(step(when={"eq": ["${variables.v.b}", 1]}), variables=variables))]
    assert codes == ["reference.unknown_variable"]


def test_secrets_are_known_by_name_only() -> None:
    """Where there are none, or others, a secret is refused, and the message tells no other name."""
    text = mission(step(parameters={"t": "${secrets.TOKEN}"})).encode()
    assert load_mission(text, limits=LIMITS, step_types=STEP_TYPES, secrets=["TOKEN"]).templates != (None,)
    for secrets in ((), ("TOKENS",)):
        with pytest.raises(MissionInvalidError) as caught:
            load_mission(text, limits=LIMITS, step_types=STEP_TYPES, secrets=secrets)
        (violation,) = caught.value.violations
        assert violation.code == "reference.unknown_secret"
        assert "TOKENS" not in violation.message


def test_items_count_as_steps() -> None:
    """10,000 items of one step are as many as a mission may have; with another step beside them, too many."""
    fan = step("fan", foreach={"items": list(range(10_000))})
    empty = step("empty", foreach={"items": []})
    assert load(mission(fan)).fan_outs
    for other in (step(), empty):
        (violation,) = refused(mission(fan, other))
        assert (violation.code, violation.kind) == ("mission.too_many_steps", "limit")


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

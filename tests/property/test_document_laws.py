"""Laws of documents: writing then reading is the identity, two formats agree, and garbage is only ever refused."""

import json
from fractions import Fraction
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from engine.condition import json_equal, parse_condition
from engine.document import parse_document
from engine.errors import MissionInvalidError, StepError
from engine.findings import Findings
from engine.json_text import read_json
from engine.loader import load_mission
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
from engine.reference import has_reference, parse, resolve
from engine.retry import ATTEMPTS_MAX, BASE_MS_MAX, Backoff, RetryPolicy

LIMITS = MissionLimits()
STEP_TYPES = ("transform", "create_file")

texts = st.text(st.characters(codec="utf-8"), max_size=20)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4))
objects = st.dictionaries(texts, values, max_size=5)
# What YAML lets stand unescaped, and reads as no line break.
yaml_texts = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters="\ufeff\ufffe\uffff"),
    max_size=20,
)
yaml_scalars = (
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | st.floats(-1e300, 1e300) | yaml_texts
)
yaml_values = st.recursive(
    yaml_scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(yaml_texts, inner, max_size=4)
)
identifiers = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,10}", fullmatch=True)
plain_objects = st.dictionaries(
    texts.map(lambda text: text.replace("$", "")),
    values.map(lambda value: json.loads(json.dumps(value).replace("$", ""))),
)


plain_values = values.map(lambda value: json.loads(json.dumps(value).replace("$", "")))
orderable = st.integers(-(1 << 63), (1 << 63) - 1) | st.floats(-1e300, 1e300) | texts.map(lambda t: t.replace("$", ""))
retries = st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, ATTEMPTS_MAX),
    base_ms=st.integers(0, BASE_MS_MAX),
    backoff=st.sampled_from(Backoff),
    jitter=st.booleans(),
)


def conditions(references: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """Return conditions of a few parts about what is referred to."""
    leaf = (
        st.builds(lambda op, r, v: {op: [r, v]}, st.sampled_from(["eq", "ne"]), references, plain_values)
        | st.builds(lambda op, r, v: {op: [r, v]}, st.sampled_from(["lt", "gt"]), references, orderable)
        | st.builds(lambda r, v: {"in": [r, v]}, references, st.lists(plain_values, max_size=3))
        | st.builds(lambda r: {"exists": [r]}, references)
    )
    return st.recursive(
        leaf,
        lambda inner: (
            st.builds(lambda op, parts: {op: parts}, st.sampled_from(["all", "any"]), st.lists(inner, min_size=1))
            | st.builds(lambda part: {"not": part}, inner)
        ),
        max_leaves=6,
    )


@st.composite
def configs(draw: st.DrawFn) -> MissionConfig:
    """A valid configuration."""
    strategy = draw(st.sampled_from(Strategy))
    scopes = [scope for scope in RestartScope if scope is RestartScope.ONE_FOR_ONE or strategy is Strategy.LEVELS]
    supervision = st.builds(
        Supervision,
        strategy=st.sampled_from(scopes),
        max_restarts=st.integers(0, 1_000),
        within_seconds=st.floats(0.001, 604_800),
    )
    return MissionConfig(
        timeout_seconds=draw(st.floats(0.001, 604_800)),
        fail_fast=draw(st.booleans()),
        parallel_limit=draw(st.integers(1, 1_024)),
        strategy=strategy,
        priority=draw(st.integers(0, 9)),
        concurrency_key=draw(st.none() | st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._/:-]{0,127}", fullmatch=True)),
        supervision=draw(st.none() | supervision),
    )


@st.composite
def missions(draw: st.DrawFn) -> Mission:
    """A valid mission; its steps come in an order that is not that of execution."""
    ids = draw(st.lists(identifiers, min_size=1, max_size=8, unique=True))
    seconds = st.none() | st.floats(0.001, 86_400)
    steps = []
    for at, step_id in enumerate(ids):
        parents = tuple(draw(st.lists(st.sampled_from(ids[:at]), unique=True))) if at else ()
        references = st.sampled_from([f"${{steps.{parent}.output{end}}}" for parent in parents for end in ("", ".x.0")])
        foreach = st.none() | st.builds(
            ForEach,
            items=st.lists(plain_values, max_size=3) | references if parents else st.lists(plain_values, max_size=3),
            parallel_limit=st.none() | st.integers(1, 1_024),
        )
        steps.append(
            MissionStep(
                id=step_id,
                name=draw(texts.filter(bool)),
                step_type=draw(st.sampled_from(STEP_TYPES)),
                depends_on=parents,
                when=draw(st.none() | conditions(references)) if parents else None,
                foreach=draw(foreach),
                timeout_seconds=draw(seconds),
                continue_on_error=draw(st.booleans()),
                retry=draw(st.none() | retries),
                idempotent=draw(st.booleans()),
                profile=draw(st.none() | identifiers),
                parameters=draw(plain_objects),
            )
        )
    return Mission(
        name=draw(texts.filter(bool)),
        description=draw(texts),
        labels=draw(st.dictionaries(st.from_regex(r"[a-z][a-z0-9]{0,5}", fullmatch=True), texts, max_size=3)),
        config=draw(configs()),
        variables=draw(st.dictionaries(identifiers, values, max_size=3)),
        steps=tuple(draw(st.permutations(steps))),
    )


@given(missions())
def test_the_canonical_form_loads_to_the_same_mission(mission: Mission) -> None:
    """Load after canonical is the identity, so a digest names what will run, however it was sent."""
    loaded = load_mission(mission.canonical(), limits=LIMITS, step_types=STEP_TYPES).mission
    assert loaded == mission
    assert loaded.digest() == mission.digest()


WORDS = st.sampled_from(
    ["eq", "ne", "lt", "gt", "in", "exists", "all", "any", "not", "items", "parallel_limit", "max_attempts", "backoff",
     "base_ms", "jitter", "strategy", "priority", "concurrency_key", "supervision", "max_restarts", "within_seconds",
     "one_for_all", "levels", "exponential", "${steps.a.output}", "${steps.a.output.x}", "${steps.b.output}",
     "${steps.c.output}", "${variables.v}", "${variables.v.x}", "${variables.w}", "${item}", "${item.x}",
     "${secrets.K}", "${secrets.L}", "$${", "${", "${}"]
)  # fmt: skip
odd = st.recursive(
    scalars | WORDS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(WORDS | texts, inner, max_size=3)
        | st.builds(lambda word, part: {word: part}, WORDS, inner | st.tuples(WORDS, inner).map(list))
    ),
    max_leaves=12,
)
ODD_STEP = ("when", "foreach", "retry", "idempotent", "depends_on", "parameters")


def loaded_or_refused(document: dict[str, Any]) -> Plan | None:
    """Return the plan, or None where it is refused, with a field and a place of every fault."""
    try:
        return load_mission(json.dumps(document).encode(), limits=LIMITS, step_types=STEP_TYPES, secrets={"K"})
    except MissionInvalidError as error:
        violations = error.violations
    assert all(v.field and v.line and v.column for v in violations)
    return None


@given(st.dictionaries(st.sampled_from(ODD_STEP), odd), st.none() | odd)
def test_any_json_in_a_field_makes_a_plan_or_a_refusal(fields: dict[str, Any], config: Any) -> None:
    """Whatever stands in what controls a step: nothing but a refusal is raised, and a plan is what it says it is."""
    step = {"id": "b", "name": "b", "step_type": "transform", "depends_on": ["a"], "parameters": {}}
    document: dict[str, Any] = {
        "version": "1.0",
        "name": "m",
        "variables": {"v": {"x": [1]}},
        "steps": [{"id": "a", "name": "a", "step_type": "transform", "parameters": {}}, step | fields],
    }
    if config is not None:
        document["config"] = config
    plan = loaded_or_refused(document)
    if plan is not None:
        again = loaded_or_refused(json.loads(plan.mission.canonical()))
        assert again is not None
        assert again.mission == plan.mission


@given(conditions(st.sampled_from(["${variables.v}", "${variables.v.x}", "${steps.a.output}"])), values, values)
def test_a_condition_is_true_or_false_or_a_failed_step(document: Any, value: Any, output: Any) -> None:
    """Whatever it is asked about: and the same question has the same answer, which `not` turns round."""
    answers: list[bool | str] = []
    for asked in (document, document, {"not": document}):
        findings = Findings()
        condition = parse_condition(asked, ("when",), findings, nodes_max=100)
        findings.refuse_if_any()
        scope = _Scope(value)
        scope.step_outputs = {"a": output}
        try:
            answers.append(condition.holds(scope))
        except StepError as error:
            answers.append(error.code)
    first, second, negated = answers
    assert first in {True, False, "reference.unresolved", "condition.type"}
    assert first == second
    assert negated == (not first if isinstance(first, bool) else first)


@given(values, values)
def test_values_are_equal_as_their_json_is(one: Any, other: Any) -> None:
    """Equality is that of canonical JSON, but that a number is one whether it is written with a point or not."""
    assert json_equal(one, other) is (_canonical(one) == _canonical(other))
    assert json_equal(one, json.loads(json.dumps(one)))


def _canonical(value: Any) -> str:
    def exact(item: Any) -> Any:
        if isinstance(item, dict):
            return {key: exact(each) for key, each in item.items()}
        if isinstance(item, list):
            return [exact(each) for each in item]
        return f"number {Fraction(item)}" if type(item) in {int, float} else [item] if isinstance(item, str) else item

    return json.dumps(exact(value), sort_keys=True)


@given(objects, st.booleans())
def test_json_is_read_as_it_was_written(value: dict[str, Any], ascii_only: bool) -> None:
    """Whatever JSON can say is read back, value for value and type for type."""
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert json.dumps(parse_document(text.encode(), LIMITS).value) == json.dumps(value)


@given(yaml_values)
def test_yaml_reads_what_json_writes(value: Any) -> None:
    """Values in JSON's own notation mean the same inside a YAML document."""
    text = f"m: {json.dumps(value, ensure_ascii=False)}\n"
    assert json.dumps(parse_document(text.encode(), LIMITS).value) == json.dumps({"m": value})


class _QuotingDumper(yaml.SafeDumper):
    """Quotes every string: PyYAML writes YAML 1.1, where `0E0` needs no quotes."""


_QuotingDumper.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
)


@given(yaml_values)
def test_yaml_in_blocks_is_the_same_value(value: Any) -> None:
    """A block-style document, written by another writer, is read as the value that it was written from."""
    text = yaml.dump([value], Dumper=_QuotingDumper, default_flow_style=False, allow_unicode=True, sort_keys=False)
    assert json.dumps(parse_document(text.encode(), LIMITS).value) == json.dumps([value])


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """No input raises anything but the refusal, and a refusal has a place."""
    _assert_read_or_refused(data)


@given(st.text(st.sampled_from('{}[]:,"\\-?|>&*!%#\n \ta10.eE~<'), max_size=40))
def test_any_punctuation_is_read_or_refused(text: str) -> None:
    """The characters that both grammars are made of, in any order, end in a value or a refusal."""
    _assert_read_or_refused(text.encode())


def _assert_read_or_refused(data: bytes) -> None:
    try:
        document = parse_document(data, LIMITS)
    except MissionInvalidError as error:
        violations = error.violations
    else:
        assert document.locate(()) is not None
        assert json.dumps(document.value, allow_nan=False)
        return
    assert all(v.line is not None and v.column is not None and min(v.line, v.column) >= 1 for v in violations)


@given(st.text(st.sampled_from('{}[]:,"\\u0d8\n -1.eEntrufalsN'), max_size=30))
def test_this_reader_takes_no_json_that_the_standard_library_refuses(text: str) -> None:
    """What is read here is read alike there; this reader may only be stricter."""
    try:
        value = read_json(text, LIMITS)
    except MissionInvalidError:
        return
    assert json.loads(text) == value


@given(objects)
def test_every_value_can_be_located(value: dict[str, Any]) -> None:
    """In indented JSON, each member of the top object is found at the column that its key leads to."""
    text = json.dumps(value, indent=1, ensure_ascii=False)
    document = parse_document(text.encode(), LIMITS)
    lines = text.split("\n")
    for key in value:
        position = document.locate((key,))
        assert position is not None
        opening = json.dumps(value[key], indent=1, ensure_ascii=False)[0]
        assert lines[position.line - 1][position.column - 1] == opening


@given(plain_objects)
def test_parameters_without_a_dollar_are_left_alone(parameters: dict[str, Any]) -> None:
    """Without a reference there is no template."""
    assert parse(parameters) is None


class _Scope:
    def __init__(self, value: object) -> None:
        self.variables: Any = {"v": value}
        self.step_outputs: Any = {}


@given(values, texts, texts)
def test_a_value_arrives_as_it_is(value: Any, before: str, after: str) -> None:
    """One reference gives the value itself; between texts, a string arrives unscanned, whatever it holds."""
    template = parse({"p": "${variables.v}"})
    assert template is not None
    assert resolve(template, _Scope(value)) == {"p": value}
    before, after = before.replace("$", ""), after.replace("$", "")
    template = parse({"p": before + "${variables.v}" + after})
    assert template is not None
    if isinstance(value, str):
        assert resolve(template, _Scope(value)) == {"p": before + value + after}


@given(texts)
def test_escaping_makes_any_text_literal(text: str) -> None:
    """After ${ becomes $${ there is no reference in a text, and resolving gives the text back."""
    escaped = text.replace("${", "$${")
    assert not has_reference(escaped)
    template = parse({"p": escaped})
    assert (resolve(template, _Scope(None)) if template is not None else {"p": escaped}) == {"p": text}

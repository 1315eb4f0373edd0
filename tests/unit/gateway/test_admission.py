"""Stage 1 as a whole: what a mission is called is checked like what its steps are given, whatever form it came in."""

import json
from dataclasses import replace
from typing import Any

import pytest

from engine.clock import SystemClock
from engine.constraints.enforcer import ConstraintEnforcer
from engine.errors import MissionInvalidError, Violation
from engine.mission import MissionLimits
from gateway.admission import Admission
from gateway.constrained.data import rules_from
from gateway.constrained.sanitizer import ConstrainedSanitizer
from gateway.errors import HookRefusedError, SanitizationError
from gateway.hookset import FixedHooks, HookSet, StepKind
from gateway.policy.decision import Decision
from gateway.sandbox.hooks import Hook
from gateway.sandbox.profile import profiles_from
from gateway.sandbox.routing import RoutedSandbox
from gateway.sanitizer.schema import ParameterSchema
from gateway.security_levels import security_levels

LIMITS = MissionLimits()
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"path": {"type": "string", "x-type": "path"}}}
HOOK = Hook(
    name="pure",
    version="1.0.0",
    abi=1,
    kind="step",
    profile="wasm",
    effects=(),
    schema=SCHEMA,
    module=b"",
    sha256="0" * 64,
)


class NoPolicy:
    """Stage 1 asks nobody."""

    async def decide(self, entrypoint: str, document: bytes) -> Decision:
        raise AssertionError(f"stage 1 has asked {entrypoint} of {document!r}")


KIND = StepKind(hook=HOOK, schema=ParameterSchema.compile(SCHEMA), constraints=profiles_from({})["wasm"])
ADMISSION = Admission(
    hooks=FixedHooks(HookSet(kinds={"pure": KIND}, placed=(), sandbox=RoutedSandbox({}))),
    levels=security_levels({}),
    policy=NoPolicy(),
    limits=LIMITS,
    sanitizer=ConstrainedSanitizer(ConstraintEnforcer(SystemClock(), chance=lambda: 0.0), rules_from({})),
)


def mission(**fields: object) -> dict[str, Any]:
    """Return a mission of one step."""
    step = {"id": "a", "name": "A", "step_type": "pure", "parameters": {}}
    return {"version": "1.0", "name": "m", "steps": [step], **fields}


def refused(form: bytes | dict[str, Any]) -> tuple[Violation, ...]:
    """Return the violations of a form that must be refused as unsanitary."""
    with pytest.raises(SanitizationError) as caught:
        ADMISSION.sanitize(form)
    return caught.value.violations


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("control", "a\x1b[2Jb"),
        ("control", "a\x00b"),
        ("control", "a\x85b"),
        ("bidi", "a\u202etxt.exe"),
        ("bidi", "a\u2066b"),
        ("invisible", "a\u200bb"),
        ("invisible", "a\U000e0041\U000e0042"),
        ("noncharacter", "a\uffffb"),
    ],
)
@pytest.mark.parametrize(
    ("field", "line", "of"),
    [
        ("name", 3, lambda text: mission(name=text)),
        ("description", 3, lambda text: mission(description=text)),
        ("labels.team", 3, lambda text: mission(labels={"team": text})),
        ('labels["example.org/team"]', 3, lambda text: mission(labels={"example.org/team": text})),
        ("steps[0].name", 3, lambda text: mission(steps=[mission()["steps"][0] | {"name": text}])),
    ],
)
def test_what_nobody_can_see_is_no_name(rule: str, text: str, field: str, line: int, of: Any) -> None:
    """A name, a description, a label or a step's name with hidden characters is refused at its field and line."""
    violations = refused(json.dumps(of(text), separators=(",\n\n", ":")).encode())
    assert [(v.code, v.field) for v in violations] == [(f"sanitize.text.{rule}", field)]
    assert violations[0].line is not None
    assert violations[0].line >= line


def test_a_name_is_refused_at_its_line() -> None:
    """The violation points to the value, in YAML as in JSON."""
    text = 'version: "1.0"\nname: m\nlabels:\n  ok: fine\n  team: "a\\u202eb"\n'
    text += 'steps:\n- id: a\n  name: "x\\0"\n  step_type: pure\n  parameters: {}\n'
    assert [(v.field, v.line, v.column) for v in refused(text.encode())] == [
        ("labels.team", 5, 9),
        ("steps[0].name", 8, 9),
    ]


@pytest.mark.parametrize(
    "name",
    ["Übersicht 日本語", "\u0645\u06cc\u200c\u062e", "👨\u200d👩\u200d👧 family", "a\nb\tc"],
)
def test_honest_names_pass(name: str) -> None:
    """Any language, joiners where they are needed, and line breaks are names."""
    assert ADMISSION.sanitize(mission(name=name, description=name)).plan.mission.name == name


@pytest.mark.parametrize("form", ["value", "text"])
def test_at_most_sixty_four_violations_are_told(form: str) -> None:
    """A mission that is unsanitary everywhere is refused with the first of its violations."""
    steps = [
        {"id": f"s{i}", "name": "\u202e", "step_type": "pure", "parameters": {"path": ".."}} for i in range(10_000)
    ]
    value = mission(steps=steps)
    assert len(refused(value if form == "value" else json.dumps(value).encode())) == 64


def test_a_message_has_the_bounds_of_its_document() -> None:
    """Nesting that a document may not have, no value may: steps[0].parameters.x at level 64 is refused in both."""
    deep: object = 0
    for _ in range(62):
        deep = [deep]
    value = mission(steps=[mission()["steps"][0] | {"parameters": {"x": deep}}])
    for form in (value, json.dumps(value).encode()):
        with pytest.raises(MissionInvalidError) as caught:
            ADMISSION.sanitize(form)
        assert [v.code for v in caught.value.violations] == ["document.too_deep"]


def test_both_forms_have_one_digest() -> None:
    """The same mission as JSON, as YAML and as a value is one mission."""
    value = mission(variables={"n": 1, "f": 1.0, "big": 2**53 + 1})
    text = json.dumps(value).encode()
    yaml = b"# as YAML\n" + json.dumps(value, indent=1).encode()
    assert len({ADMISSION.sanitize(form).digest for form in (value, text, yaml)}) == 1


class ChangingHooks:
    """Hooks of which another set is in force with each look, as where an operator changes them meanwhile."""

    def __init__(self, *sets: HookSet) -> None:
        self._sets = iter(sets)

    @property
    def current(self) -> HookSet:
        return next(self._sets)


@pytest.mark.parametrize(
    ("kinds", "code"),
    [
        ({}, "hook.disabled"),
        ({"pure": replace(KIND, hook=replace(HOOK, effects=("file.write",)))}, "hook.effects_grew"),
    ],
)
def test_a_part_of_a_mission_is_refused_by_name_where_its_kind_has_changed(kinds: Any, code: str) -> None:
    """Between the reading of a sub-mission and the look at its level hooks may change: that is no bug of the host."""
    before, after = (HookSet(kinds=each, placed=(), sandbox=RoutedSandbox({})) for each in ({"pure": KIND}, kinds))
    admission = Admission(
        hooks=ChangingHooks(before, after),
        levels=security_levels({}),
        policy=NoPolicy(),
        limits=LIMITS,
        sanitizer=ConstrainedSanitizer(ConstraintEnforcer(SystemClock(), chance=lambda: 0.0), rules_from({})),
    )
    sanitized = admission.sanitize(json.dumps(mission()).encode())
    with pytest.raises(HookRefusedError) as refused:
        admission.as_part(sanitized, frozenset(), "balanced")
    assert refused.value.code == code

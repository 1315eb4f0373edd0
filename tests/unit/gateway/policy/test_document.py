import dataclasses
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson
import pytest

from engine.loader import load_mission
from engine.mission import MissionLimits
from engine.plan import Plan
from gateway.identity import ANONYMOUS, Principal
from gateway.policy import document
from tests import policy_documents

SCHEMAS = Path(__file__).parents[4] / "policies" / "schemas"
NOW = datetime(2026, 11, 26, 14, 35, 59, 999_999, tzinfo=UTC)
TIME = {"rfc3339": "2026-11-26T14:35:00Z", "weekday": "thursday", "minute_of_day": 875, "unix_seconds": 1_795_703_700}
ANN = Principal(subject="ann", tenant="red", roles=("submitter",))
MISSION = b"""
version: "1.0"
name: nightly
labels: {team: red}
variables: {n: 9007199254740993}
steps:
  - {id: a, name: A, step_type: read_file, parameters: {path: in.json}}
  - {id: b, name: B, step_type: transform, depends_on: [a], profile: fast, parameters: {input: "${steps.a.output}"}}
"""


@pytest.fixture(scope="module")
def plan() -> Plan:
    return load_mission(MISSION, limits=MissionLimits(), step_types={"read_file", "transform"})


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (NOW, TIME),
        (datetime(2026, 11, 26, 14, 35, tzinfo=UTC), TIME),
        (datetime(2026, 11, 27, 0, 5, tzinfo=timezone(timedelta(hours=9, minutes=30))), TIME),
        (
            datetime(2027, 1, 3, 23, 59, 1, tzinfo=UTC),
            {
                "rfc3339": "2027-01-03T23:59:00Z",
                "weekday": "sunday",
                "minute_of_day": 1439,
                "unix_seconds": 1_799_020_740,
            },
        ),
    ],
)
def test_time_is_the_minute_in_utc(now: datetime, expected: dict[str, Any]) -> None:
    """Every moment of one minute gives one document, whatever zone the clock is in."""
    assert document.time_document(now) == expected


@pytest.mark.parametrize("entrypoint", ["rpc", "mission", "step", "effect"])
def test_time_is_the_last_key_of_every_document(plan: Plan, entrypoint: str) -> None:
    """The minute in which the decision is taken, and nothing finer, so that a kept decision is right within it."""
    first, second, later = (
        _each(plan, entrypoint, now) for now in (NOW, NOW.replace(second=0), NOW + timedelta(minutes=1))
    )
    assert first == second != later
    assert list(valid(entrypoint, first))[-1] == "time"
    assert valid(entrypoint, first)["time"] == TIME


def _each(plan: Plan, entrypoint: str, now: datetime) -> bytes:
    step = plan.mission.steps[0]
    facts: dict[str, Any] = {"profile": "wasm", "parameters": {}, "taint": (), "security_level": "strict", "now": now}
    match entrypoint:
        case "rpc":
            return document.rpc_document(ANN, service="s.S", method="M", resource={}, now=now)
        case "mission":
            return document.mission_document(ANN, plan, "sha256:ab", [()] * 2, "strict", now=now)
        case "step":
            return document.step_document(ANN, "m1", plan.mission, step, **facts)
        case _:
            return document.effect_document(ANN, "m1", plan.mission, step, **facts, op="file.read", index=0, args={})


def test_what_an_effect_is_has_no_time(plan: Plan) -> None:
    """An approval is bound to this document: asked for again in another minute, it is about the same."""
    facts: dict[str, Any] = {"profile": "wasm", "parameters": {}, "taint": (), "security_level": "strict"}
    asked = document.effect_document(
        ANN, "m1", plan.mission, plan.mission.steps[0], **facts, op="file.read", index=0, args={}, now=None
    )
    assert "time" not in orjson.loads(asked)


def valid(name: str, raw: bytes) -> dict[str, Any]:
    """Return the document, after holding it to its published schema."""
    schema = orjson.loads((SCHEMAS / f"{name}.json").read_bytes())
    value: dict[str, Any] = orjson.loads(raw)
    jsonschema_rs.validator_for(schema).validate(value)
    return value


@pytest.mark.parametrize(
    "resource", [{}, {"mission_id": "m"}, {"mission_id": "m", "tenant": "red", "submitter": "ann"}]
)
def test_rpc_documents_have_the_published_shape(resource: dict[str, str]) -> None:
    """The resource has what is known, and nothing else."""
    value = valid("rpc", document.rpc_document(ANONYMOUS, service="s.S", method="M", resource=resource, now=NOW))
    assert value["rpc"] == {"service": "s.S", "method": "M"}
    assert value["resource"] == resource
    assert value["principal"]["anonymous"] is True


def test_mission_documents_have_the_published_shape(plan: Plan) -> None:
    """The whole plan: unresolved parameters, profiles as asked, taint sorted, integers exact."""
    taint = (frozenset({"workspace", "client"}), frozenset[str]())
    value = valid("mission", document.mission_document(ANN, plan, "sha256:ab", taint, "balanced", now=NOW))
    mission = value["mission"]
    assert [step["profile"] for step in mission["steps"]] == [None, "fast"]
    assert [step["taint"] for step in mission["steps"]] == [["client", "workspace"], []]
    assert mission["steps"][1]["parameters"] == {"input": "${steps.a.output}"}
    assert mission["variables"] == {"n": 9007199254740993}
    assert mission["levels"] == 2
    assert mission["security_level"] == "balanced"


def test_a_missing_taint_is_an_error(plan: Plan) -> None:
    """Labels are given for every step, or there is no document."""
    with pytest.raises(ValueError, match="shorter"):
        document.mission_document(ANN, plan, "sha256:ab", (frozenset(),), "balanced", now=NOW)


def test_step_and_effect_documents_have_the_published_shape(plan: Plan) -> None:
    """The effect document is the step document and the effect."""
    step = plan.mission.steps[0]
    facts: dict[str, Any] = {
        "profile": "wasm",
        "parameters": {"path": "in.json"},
        "taint": {"workspace"},
        "security_level": "relaxed",
        "now": NOW,
    }
    asked = valid("step", document.step_document(ANN, "m1", plan.mission, step, **facts))
    effect = valid(
        "effect",
        document.effect_document(
            ANN, "m1", plan.mission, step, **facts, op="file.read", index=3, args={"path": "in.json"}
        ),
    )
    assert effect.pop("effect") == {"op": "file.read", "index": 3, "args": {"path": "in.json"}, "secrets": []}
    assert effect == asked
    assert asked["mission"]["security_level"] == "relaxed"
    assert asked["step"] == {
        "id": "a",
        "name": "A",
        "step_type": "read_file",
        "profile": "wasm",
        "attempt": 1,
        "item": None,
        "idempotent": False,
        "secrets": [],
    }


def test_an_item_and_an_attempt_are_told(plan: Plan) -> None:
    """In the document of the step and in those of its effects alike."""
    step = dataclasses.replace(plan.mission.steps[0], idempotent=True)
    facts: dict[str, Any] = {
        "profile": "wasm",
        "parameters": {},
        "taint": (),
        "attempt": 2,
        "item": 0,
        "security_level": "none",
        "now": NOW,
    }
    asked = valid("step", document.step_document(ANN, "m1", plan.mission, step, **facts))
    effect = valid(
        "effect", document.effect_document(ANN, "m1", plan.mission, step, **facts, op="file.read", index=0, args={})
    )
    assert asked["step"] == effect["step"]
    assert {name: asked["step"][name] for name in ("attempt", "item", "idempotent")} == {
        "attempt": 2,
        "item": 0,
        "idempotent": True,
    }


CONTROLLED = b"""
version: "1.0"
name: controlled
config: {strategy: levels, priority: 9, concurrency_key: "a/b", supervision: {max_restarts: 7}}
steps:
  - {id: a, name: A, step_type: transform, retry: {max_attempts: 4}, idempotent: true, parameters: {}}
  - {id: b, name: B, step_type: transform, foreach: {items: [1, 2, 3]}, parameters: {}}
  - {id: c, name: C, step_type: transform, foreach: {items: []}, parameters: {}}
  - id: d
    name: D
    step_type: transform
    depends_on: [a]
    when: {exists: ["${steps.a.output.x}"]}
    foreach: {items: "${steps.a.output.x}"}
    parameters: {}
"""


def test_what_controls_a_mission_is_told(plan: Plan) -> None:
    """How it is run, and how often its steps are, as far as the mission says; defaults are said, too."""
    controlled = load_mission(CONTROLLED, limits=MissionLimits(), step_types={"transform"})
    value = valid("mission", document.mission_document(ANN, controlled, "sha256:ab", [()] * 4, "balanced", now=NOW))[
        "mission"
    ]
    config = {name: value["config"][name] for name in ("strategy", "priority", "concurrency_key", "max_restarts")}
    assert config == {"strategy": "levels", "priority": 9, "concurrency_key": "a/b", "max_restarts": 7}
    told = ("conditional", "fan_out", "items", "max_attempts", "idempotent")
    assert [tuple(step[name] for name in told) for step in value["steps"]] == [
        (False, False, None, 4, True),
        (False, True, 3, 1, False),
        (False, True, 0, 1, False),
        (True, True, None, 1, False),
    ]
    assert value["runs"] == 1 + 3 + 1 + 1
    plain = valid("mission", document.mission_document(ANN, plan, "sha256:ab", [()] * 2, "strict", now=NOW))["mission"]
    assert (plain["runs"], plain["config"]["concurrency_key"], plain["config"]["max_restarts"]) == (2, None, 0)


def test_integers_beyond_64_bits_are_no_document(plan: Plan) -> None:
    """Regorus would round them, so they never reach it."""
    with pytest.raises(TypeError, match="64-bit"):
        document.step_document(
            ANN,
            "m1",
            plan.mission,
            plan.mission.steps[0],
            profile="wasm",
            parameters={"n": 2**70},
            taint=(),
            security_level="none",
            now=NOW,
        )


def test_documents_are_stable(plan: Plan) -> None:
    """Equal values give equal bytes, whatever the order of labels in a set: digests of documents are compared."""
    step = dataclasses.replace(plan.mission.steps[0])
    first, second = (
        document.step_document(
            ANN,
            "m1",
            plan.mission,
            step,
            profile="wasm",
            parameters={},
            taint=labels,
            security_level="balanced",
            now=NOW,
        )
        for labels in (["network", "client"], ["client", "network"])
    )
    assert first == second


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("rpc", policy_documents.rpc("s.S", "M", tenant="red", submitter="ann")),
        ("mission", policy_documents.mission(3)),
        ("step", policy_documents.step("transform", {})),
        ("effect", policy_documents.effect("delay", "timer.sleep", {"ms": 1})),
    ],
)
def test_the_documents_of_other_tests_have_the_published_shape(name: str, raw: bytes) -> None:
    """What tests and benchmarks decide about is what a gateway would ask."""
    assert valid(name, raw)["version"] == document.VERSION


def step_of(plan: Plan, *, now: datetime = NOW, attempt: int = 1, **fields: Any) -> bytes:
    step = plan.mission.steps[1]
    given: dict[str, Any] = {"parameters": {"input": 1}, "taint": {"client"}, **fields}
    return document.step_document(
        ANN, "m1", plan.mission, step, profile="fast", security_level="strict", now=now, attempt=attempt, **given
    )


def test_a_persons_yes_stands_in_the_document_and_nothing_else_changes(plan: Plan) -> None:
    """Null before, and then who agreed; the time stays the last key; the published shape holds for both."""
    before = step_of(plan)
    approval = {"approved": True, "id": "x", "by": "lee", "roles": ["approver"], "decided_at": "2026-11-26T14:30:00Z"}
    after = document.with_approval(before, approval)
    assert orjson.loads(before)["approval"] is None
    assert orjson.loads(after) == {**orjson.loads(before), "approval": approval}
    assert list(orjson.loads(after)) == list(orjson.loads(before))
    schema = jsonschema_rs.validator_for(orjson.loads((SCHEMAS / "step.json").read_bytes()))
    assert schema.is_valid(orjson.loads(before))
    assert schema.is_valid(orjson.loads(after))
    assert not schema.is_valid({**orjson.loads(after), "approval": {**approval, "approved": False}})


def test_what_is_approved_does_not_change_by_itself(plan: Plan) -> None:
    """Another minute, another attempt, a yes that was given, other handles of the same secrets: the same subject."""
    first = document.subject_of(step_of(plan, parameters={"input": "Bearer h-1"}), {"TOKEN": "h-1"})
    later = step_of(plan, now=NOW + timedelta(days=1), attempt=3, parameters={"input": "Bearer h-2"})
    later = document.with_approval(later, {"approved": True})
    assert document.subject_of(later, {"TOKEN": "h-2"}) == first
    assert first["parameters"] == {"input": "Bearer secret TOKEN~"}
    assert not first.keys() & {"time", "approval"}


@pytest.mark.parametrize(
    ("shown", "meant"),
    [
        (("h-1", "secret TOKEN"), ("h-1", "h-1")),  # a second secret where a text stood
        (("secret TOKEN", "h-1"), ("h-1", "secret TOKEN")),  # the other way round
        (("h-1", "h-2"), ("h-1", "h-1S")),  # TOKENS, and TOKEN with a letter behind it
        (("h-1", "secret TOKEN~"), ("h-1", "h-1")),
        (("h-1", "secret ~TOKEN"), ("h-1", "secret TOKEN")),
    ],
)
def test_a_text_is_not_taken_for_a_secret(plan: Plan, shown: tuple[str, str], meant: tuple[str, str]) -> None:
    """A module chooses where handles stand in an effect: what a person has agreed to is that, to the letter."""
    handles = {"TOKEN": "h-1", "TOKENS": "h-2"}
    seen, done = (step_of(plan, parameters={"a": a, "b": b}, secrets=["TOKEN", "TOKENS"]) for a, b in (shown, meant))
    assert document.subject_of(seen, handles) != document.subject_of(done, handles)


@pytest.mark.parametrize(
    "fields", [{"parameters": {"input": 2}}, {"taint": {"client", "network"}}, {"item": 0}, {"secrets": ["TOKEN"]}]
)
def test_anything_else_is_another_subject(plan: Plan, fields: dict[str, Any]) -> None:
    """Inputs, their sources, the item, the secrets."""
    assert document.subject_of(step_of(plan, **fields), {}) != document.subject_of(step_of(plan), {})

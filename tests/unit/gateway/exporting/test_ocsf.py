"""Audit events as OCSF: every type has its place, every object holds to the real schema, and nothing gets lost."""

import hashlib
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.events import EventType
from gateway.exporting.ocsf import Projector
from gateway.exporting.ocsf_classes import CLASSES, VERSION
from gateway.exporting.ocsf_rows import ROWS
from tests.ocsf_schema import CLASSES as SCHEMA_CLASSES
from tests.ocsf_schema import SCHEMA, breaches

ROOT = Path(__file__).resolve().parents[4]
PROJECTOR = Projector(log_name="example.com/gateway", product_version="1.2.3")
HASH, PREVIOUS = "a" * 64, "b" * 64


def event(event_type: str = "step.refused", **fields: Any) -> dict[str, Any]:
    return {
        "seq": 7,
        "event_id": "6b86b273ff34fce19d6b804eff5a3f57",
        "timestamp": "2026-01-31T12:00:00.123456Z",
        "event_type": event_type,
        "actor": "red/ann",
        "target": "m-1/s",
        "details": {},
        "previous_hash": PREVIOUS,
        "hash": HASH,
        **fields,
    }


def own_events_of_the_log() -> set[str]:
    """Return the types that engine.audit writes itself, as its source spells them."""
    sources = (path.read_text() for path in (ROOT / "engine/audit").glob("*.py") if path.stem != "errors")
    return {name for source in sources for name in re.findall(r'(?<!code=)"(audit\.[a-z_]+)"', source)}


def test_every_event_type_has_its_place() -> None:
    """A type without a row of its own fails here: nobody is told of it as `Unmapped` by oversight."""
    assert own_events_of_the_log() >= {"audit.opened", "audit.recovered"}
    assert set(EventType) | own_events_of_the_log() <= set(ROWS)


def test_the_version_is_that_of_the_schema() -> None:
    """What readers are told is what tests hold it to; classes and activities are called what the schema calls them."""
    assert SCHEMA["version"] == VERSION
    for kind in CLASSES:
        entry = SCHEMA_CLASSES[kind.uid]
        captions = entry["attributes"]["activity_id"]["enum"]
        assert (kind.name, kind.category_uid) == (entry["name"], entry["category_uid"])
        assert kind.category_name == entry["attributes"]["category_uid"]["enum"][str(kind.category_uid)]
        assert {str(number): name for number, name in kind.activities.items()}.items() <= captions.items()


DETAILS: tuple[dict[str, Any], ...] = (
    {},
    {
        "code": "step.path_closed",
        "reasons": [{"code": "a", "message": "secret words", "rule": "r"}, {"code": "b"}],
        "bundle": "sha256:" + "c" * 64,
        "op": "http.request",
        "status": "Failed",
        "state": "denied",
        "stale": True,
        "rule": "sanitizer.step",
        "kind": "constraint.wall",
        "policy": "open",
        "version": "1.0.0",
        "revision": "r1",
        "would_deny": True,
    },
    {"code": 1, "reasons": {}, "bundle": None, "op": [], "status": {}, "version": 2, "rule": 3, "kind": []},
)


def test_every_event_holds_to_the_schema() -> None:
    """Required attributes, types, numbers, captions, constraints and profiles; whatever stands in the details."""
    seen: dict[str, list[str]] = {}
    for event_type in [*sorted(map(str, ROWS)), "later.than_this"]:
        for details in DETAILS:
            line = orjson.dumps(event(event_type, details=details))
            for raw in (False, True):
                told = Projector(log_name="example.com/gateway", raw=raw).project(orjson.loads(line), line)
                seen.setdefault(event_type, []).extend(breaches(told))
    assert {event_type: found for event_type, found in seen.items() if found} == {}


def test_the_check_finds_what_is_wrong() -> None:
    """The schema test tests: each of these is seen."""
    good = PROJECTOR.project(event())
    assert breaches(good) == []
    broken: list[dict[str, Any]] = [
        {**good, "time": "now"},
        {**good, "severity_id": 42},
        {**good, "severity": "High"},
        {**good, "status_id": True},
        {**good, "resources": []},
        {**good, "actor": {}},
        {**good, "api": {"service": {"name": "x"}}},
        {**good, "type_uid": 600_301},
        {**good, "invented": 1},
        {**good, "metadata": {**good["metadata"], "profiles": []}},
        {**good, "metadata": {**good["metadata"], "version": "1.1.0"}},
        {key: value for key, value in good.items() if key != "src_endpoint"},
    ]
    assert [each for each in broken if not breaches(each)] == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
known_keys = st.sampled_from(
    ["code", "reasons", "bundle", "op", "status", "state", "stale", "rule", "kind", "policy", "version", "x"]
)


@settings(max_examples=60)
@given(
    event_type=st.sampled_from([*sorted(map(str, ROWS)), "x.y"]),
    actor=st.text(),
    target=st.text(),
    details=st.dictionaries(known_keys, json_values, max_size=6),
)
def test_nothing_is_lost_and_nothing_raises(event_type: str, actor: str, target: str, details: dict[str, Any]) -> None:
    """Whatever an event holds: all nine fields can be read back from the object, which holds to the schema."""
    given_event = event(event_type, actor=actor, target=target, details=details)
    told = PROJECTOR.project(given_event)
    rest, about = told["unmapped"], told["metadata"]
    assert breaches(told) == []
    assert {
        "seq": about["sequence"],
        "event_id": about["uid"],
        "timestamp": about["original_time"],
        "event_type": about["event_code"],
        "actor": told["actor"]["user"]["uid"] if "actor" in told else rest["actor"],
        "target": rest["target"],
        "details": rest["details"],
        "previous_hash": rest["previous_hash"],
        "hash": rest["hash"],
    } == given_event


def test_a_refusal_is_told_as_one() -> None:
    """The numbers that a detection rule would be written with."""
    details = {
        "code": "step.path_closed",
        "reasons": [{"code": "step.path_closed", "message": "a client's words", "rule": "r"}],
        "bundle": "sha256:b",
    }
    told = PROJECTOR.project(event(details=details))
    assert (told["class_uid"], told["activity_id"], told["type_uid"]) == (6003, 99, 600_399)
    assert (told["status_id"], told["severity_id"], told["action_id"], told["disposition_id"]) == (2, 3, 2, 2)
    assert told["time"] == 1_769_860_800_123
    assert told["actor"] == {"user": {"uid": "red/ann", "type_id": 1, "type": "User"}}
    assert told["policy"] == {"uid": "sha256:b", "name": "policy bundle", "is_applied": True}
    assert told["resources"] == [{"uid": "m-1/s", "type": "step", "role_id": 1}]
    assert (told["status_code"], told["status_detail"]) == ("step.path_closed", "step.path_closed")
    assert "a client's words" not in orjson.dumps({**told, "unmapped": {}}).decode()
    assert told["metadata"] == {
        "version": VERSION,
        "product": {"name": "Missiongate", "vendor_name": "Missiongate", "version": "1.2.3"},
        "uid": "6b86b273ff34fce19d6b804eff5a3f57",
        "event_code": "step.refused",
        "log_name": "example.com/gateway",
        "log_provider": "Missiongate",
        "sequence": 7,
        "original_time": "2026-01-31T12:00:00.123456Z",
        "profiles": ["security_control"],
        "tenant_uid": "red",
        "correlation_uid": "m-1",
    }


def told(event_type: str, details: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return PROJECTOR.project(event(event_type, details=details or {}, **fields))


def test_an_outcome_depends_on_what_the_event_says() -> None:
    """A mission that failed, an approval that was denied, a constraint that was passed over, a policy in dry run."""
    assert told("mission.ended", {"status": "Success"})["status_id"] == 1
    assert [told("mission.ended", {"status": "Failed"})[key] for key in ("status_id", "severity_id")] == [2, 2]
    assert told("approval.decided", {"state": "approved"})["action_id"] == 1
    assert told("approval.decided", {"state": "expired"})["action_id"] == 2
    assert told("constraint.violated", {"policy": "closed"})["action_id"] == 2
    assert told("constraint.violated", {"policy": "open"})["action_id"] == 3
    assert told("step.allowed", {"would_deny": True})["action_id"] == 3
    assert told("step.held")["status"] == "Pending"
    assert told("policy.bundle_stale", {"stale": False})["status_id"] == 1
    assert told("effect.performed", {"op": "file.write"})["api"]["operation"] == "file.write"


@pytest.mark.parametrize(
    ("method", "activity"), [("GetMission", 2), ("SubmitMission", 1), ("DisableHook", 4), ("PauseMission", 3), ("", 3)]
)
def test_a_denied_call_is_of_what_it_would_have_done(method: str, activity: int) -> None:
    """Read, create, delete or change, by the method's own name."""
    denied = told("rpc.denied", target=f"gateway.v1.MissionService/{method}")
    assert denied["activity_id"] == activity
    assert denied["api"]["service"] == {"name": "gateway.v1.MissionService"}


def test_a_raw_line_can_be_hashed_again() -> None:
    """With `raw`, the object carries the very bytes, and their SHA-256."""
    line = orjson.dumps(event())
    raw = Projector(log_name="x", raw=True).project(event(), line)
    assert raw["raw_data"].encode() == line
    assert raw["raw_data_hash"]["value"] == hashlib.sha256(line).hexdigest()


def test_nobody_is_made_up() -> None:
    """A rule that belongs to no mission correlates with none; the gateway's own acts are the system's."""
    alone = told("constraint.violated", {"rule": "sanitizer.mission"}, actor="gateway", target="sanitizer.mission")
    assert "correlation_uid" not in alone["metadata"]
    assert alone["actor"]["user"]["type_id"] == 3
    assert "correlation_uid" not in told("mission.refused", target="mission")["metadata"]
    assert told("rpc.denied")["src_endpoint"] == {"name": "not recorded", "type_id": 0}

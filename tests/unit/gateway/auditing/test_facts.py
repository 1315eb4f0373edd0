"""What a line is about."""

import pytest

from engine.values import JsonObject
from gateway.auditing.facts import Facts, facts_of
from tests.audit_events import lines_of


def facts(event_type: str, target: str = "m1", **details: object) -> Facts:
    """Return the facts of one event."""
    told: JsonObject = details  # type: ignore[assignment]
    (line,) = lines_of([(event_type, "red/ann", target, told)])
    return facts_of(line)


@pytest.mark.parametrize(
    ("event_type", "target", "details", "missions"),
    [
        ("mission.ended", "m1", {}, ("m1",)),
        ("step.ended", "m1/a", {}, ("m1",)),
        ("effect.failed", "m1/a[2]", {}, ("m1",)),
        ("approval.decided", "m1/a", {}, ("m1",)),
        ("audit.replayed", "m1", {}, ("m1",)),
        ("mission.refused", "mission", {}, ()),
        ("mission.pruned", "missions", {"missions": ["m1", "m2", "m1", 7]}, ("m1", "m2")),
        ("rpc.denied", "S/M", {"mission_id": "m1"}, ("m1",)),
        ("audit.read", "S/M", {"mission_id": "m1"}, ("m1",)),
        ("hook.enabled", "m1", {}, ()),
        ("gateway.started", "gateway", {}, ()),
    ],
)
def test_missions_are_those_that_an_event_is_about(
    event_type: str, target: str, details: dict[str, object], missions: tuple[str, ...]
) -> None:
    """By its target, or by what its details name; a hook that is named as a mission is none."""
    assert facts(event_type, target, **details).missions == missions


@pytest.mark.parametrize(
    ("event_type", "details", "allow"),
    [
        ("step.allowed", {}, True),
        ("mission.admitted", {}, True),
        ("effect.refused", {}, False),
        ("rpc.denied", {}, False),
        ("hook.publish_refused", {}, False),
        ("approval.decided", {"state": "approved"}, True),
        ("approval.decided", {"state": "denied"}, False),
        ("approval.decided", {"state": "expired"}, None),
        ("step.held", {}, None),
        ("step.ended", {}, None),
    ],
)
def test_a_decision_is_a_yes_a_no_or_neither(event_type: str, details: dict[str, object], allow: bool | None) -> None:
    """What a person has not decided yet is neither."""
    assert facts(event_type, **details).allow is allow


def test_the_code_is_the_events_own_or_that_of_its_first_reason() -> None:
    """In this order."""
    reasons = [{"code": "a.b"}, {"code": "c.d"}]
    assert facts("step.refused", code="x.y", reasons=reasons).code == "x.y"
    assert facts("step.refused", reasons=reasons).code == "a.b"
    assert facts("step.refused", reasons=["odd"]).code is None


def test_a_tenant_is_believed_only_where_an_event_says_whose_it_is() -> None:
    """Not where a field is called so by chance."""
    assert facts("mission.admitted", tenant="red").tenant == "red"
    assert facts("step.ended", tenant="red").tenant is None


@pytest.mark.parametrize("line", [b"", b"[]", b"{}", b'{"seq":0}', b'{"event_type":1,"target":2,"details":3}'])
def test_what_is_no_event_is_refused(line: bytes) -> None:
    """With one kind of error."""
    with pytest.raises(ValueError, match=r"event|Input|unexpected"):
        facts_of(line)

import orjson
import pytest

from gateway.errors import PolicyDeniedError, Reason
from gateway.policy.decision import LIMIT_MAX, REASONS_MAX, TEXT_CHARS_MAX, Decision, denied, parse_decision
from gateway.policy.obligations import ApprovalDemand

REASON = {"code": "a.b", "message": "because", "rule": "data.a.b"}


def parse(value: object) -> Decision:
    return parse_decision(orjson.dumps(value), bundle="sha256:0", entrypoint="step")


def test_a_full_decision_is_read() -> None:
    """Every documented field arrives."""
    decision = parse(
        {
            "allow": True,
            "reasons": [REASON],
            "constraints": {"wall_ms_max": 5},
            "profile": "fast",
            "require_approval": True,
            "labels": {"team": "red"},
        }
    )
    assert decision == Decision(
        allow=True,
        bundle="sha256:0",
        reasons=(Reason("a.b", "because", "data.a.b"),),
        constraints={"wall_ms_max": 5},
        profile="fast",
        require_approval=ApprovalDemand(),
        labels={"team": "red"},
    )


def test_the_document_of_a_decision_is_read_back() -> None:
    """`document` less its bundle is what `parse_decision` takes."""
    decision = parse({"allow": False, "reasons": [REASON], "constraints": {"fuel_max": 9}, "labels": {"a": "b"}})
    document = decision.document()
    assert document.pop("bundle") == "sha256:0"
    assert parse(document) == decision


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"true",
        b"1",
        b"[]",
        b"{}",
        b'"<undefined>"',
        b'{"allow":true}',
        b'{"reasons":[]}',
        b'{"allow":true,"reasons":[]',
        b'{"allow":"true","reasons":[]}',
        b'{"allow":1,"reasons":[]}',
        b'{"allow":null,"reasons":[]}',
        b'{"Allow":true,"reasons":[]}',
        b'{"allow":true,"reasons":{}}',
        b'{"allow":true,"reasons":["x"]}',
        b'{"allow":true,"reasons":[{"code":"a","message":"b"}]}',
        b'{"allow":true,"reasons":[{"code":"a","message":"b","rule":"c","more":1}]}',
        b'{"allow":true,"reasons":[{"code":"","message":"b","rule":"c"}]}',
        b'{"allow":true,"reasons":[],"constraints":[]}',
        b'{"allow":true,"reasons":[],"constraints":{"wall_ms_max":0}}',
        b'{"allow":true,"reasons":[],"constraints":{"wall_ms_max":-1}}',
        b'{"allow":true,"reasons":[],"constraints":{"wall_ms_max":1.5}}',
        b'{"allow":true,"reasons":[],"constraints":{"wall_ms_max":true}}',
        b'{"allow":true,"reasons":[],"constraints":{"wall_ms_max":9007199254740993}}',
        b'{"allow":true,"reasons":[],"constraints":{"wall_ms":5}}',
        b'{"allow":true,"reasons":[],"profile":null}',
        b'{"allow":true,"reasons":[],"profile":""}',
        b'{"allow":true,"reasons":[],"require_approval":"no"}',
        b'{"allow":true,"reasons":[],"labels":{"a":1}}',
        b'{"allow":true,"reasons":[],"labels":null}',
        b'{"allow":true,"reasons":[],"surprise":1}',
        b'\xff{"allow":true,"reasons":[]}',
        b'{"allow":true,"reasons":[]}{"allow":false,"reasons":[]}',
    ],
)
def test_what_is_not_exactly_a_decision_is_a_deny(answer: bytes) -> None:
    """No answer that departs from the contract, however slightly, is a yes."""
    decision = parse_decision(answer, bundle="sha256:0", entrypoint="step")
    assert decision.allow is False
    assert [reason.code for reason in decision.reasons] == ["policy.malformed"]


def test_bounds_of_an_answer() -> None:
    """What is at a bound is read, what is over it is a deny."""
    assert parse({"allow": True, "reasons": [REASON] * REASONS_MAX, "constraints": {"fuel_max": LIMIT_MAX}}).allow
    assert not parse({"allow": True, "reasons": [REASON] * (REASONS_MAX + 1)}).allow
    assert not parse({"allow": True, "reasons": [{**REASON, "message": "x" * (TEXT_CHARS_MAX + 1)}]}).allow
    assert not parse_decision(
        b'{"allow":true,"reasons":[]}' + b" " * 300_000, bundle="sha256:0", entrypoint="step"
    ).allow


def test_a_no_is_raised_with_its_reasons() -> None:
    """`require` returns for a yes and raises the reasons of a no."""
    parse({"allow": True, "reasons": []}).require()
    with pytest.raises(PolicyDeniedError) as caught:
        denied("policy.timeout", "too late", bundle="sha256:0").require()
    assert caught.value.reasons == (Reason("policy.timeout", "too late", "host"),)
    assert caught.value.code == "policy.timeout"

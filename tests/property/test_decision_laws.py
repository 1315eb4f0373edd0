from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.answer import Status, decide
from gateway.policy.decision import CONSTRAINT_NAMES, LIMIT_MAX, parse_decision

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAME = st.text(min_size=1, max_size=20)
REASON = st.fixed_dictionaries({"code": NAME, "message": st.text(max_size=40), "rule": NAME})
VALID = st.fixed_dictionaries(
    {"allow": st.booleans(), "reasons": st.lists(REASON, max_size=4)},
    optional={
        "constraints": st.dictionaries(st.sampled_from(sorted(CONSTRAINT_NAMES)), st.integers(1, LIMIT_MAX)),
        "profile": NAME,
        "require_approval": st.booleans(),
        "labels": st.dictionaries(NAME, st.text(max_size=20), max_size=4),
    },
)


@given(st.binary(max_size=200))
def test_no_bytes_raise(answer: bytes) -> None:
    """Whatever a policy engine sends, there is a decision, and a yes only where the bytes say so."""
    decision = parse_decision(answer, bundle="sha256:0", entrypoint="step")
    assert decision.allow is False or orjson.loads(answer)["allow"] is True


@given(JSON)
def test_json_that_is_no_decision_is_never_a_yes(value: Any) -> None:
    """Arbitrary JSON: allow is true only for an object whose `allow` is true and whose `reasons` is a list."""
    if parse_decision(orjson.dumps(value), bundle="sha256:0", entrypoint="step").allow:
        assert value["allow"] is True
        assert isinstance(value["reasons"], list)


@given(VALID)
def test_reading_undoes_writing(value: dict[str, Any]) -> None:
    """A decision's document is read back as the same decision."""
    decision = parse_decision(orjson.dumps(value), bundle="sha256:0", entrypoint="step")
    assert decision.allow is value["allow"]
    document = decision.document()
    del document["bundle"]
    assert parse_decision(orjson.dumps(document), bundle="sha256:0", entrypoint="step") == decision


@given(VALID, st.text(max_size=12), JSON)
def test_one_more_field_is_a_deny(value: dict[str, Any], name: str, extra: Any) -> None:
    """A decision with any field that is not documented is a no: a misspelled constraint never gets lost."""
    known = {"allow", "reasons", "constraints", "profile", "require_approval", "labels"}
    decision = parse_decision(orjson.dumps({**value, name: extra}), bundle="sha256:0", entrypoint="step")
    assert name in known or decision.allow is False


@given(VALID.filter(lambda value: value["allow"]), st.sampled_from(["allow", "reasons"]), JSON)
def test_a_damaged_field_is_a_deny(value: dict[str, Any], name: str, damage: Any) -> None:
    """Replacing `allow` or `reasons` by anything that is not exactly valid makes a no."""
    if name == "allow" and damage is True:
        return
    if name == "reasons" and damage == []:
        return
    assert parse_decision(orjson.dumps({**value, name: damage}), bundle="sha256:0", entrypoint="step").allow is False


@given(st.binary(max_size=100))
def test_every_answer_frame_is_a_decision(frame: bytes) -> None:
    """Frames of a worker: only status VALUE can carry a yes."""
    decision = decide("step", frame, bundle="sha256:0")
    assert decision.allow is False or frame[0] == Status.VALUE
    assert decision.bundle == "sha256:0"

"""A mission means the same as a document and as a message."""

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import RefusalError
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
from engine.retry import Backoff, RetryPolicy
from gateway.client.mission_message import mission_message
from gateway.rpc.forms import form_of, mission_value
from gateway.v1 import mission_pb2

LIMITS = MissionLimits()
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(WORDS, VALUES, max_size=3)
SECONDS = st.floats(0.001, 1e6)
COUNTS = st.integers(0, 2**31 - 1)
RETRIES = st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, 100),
    base_ms=st.integers(0, 3_600_000),
    backoff=st.sampled_from(Backoff),
    jitter=st.booleans(),
)
STEPS = st.builds(
    MissionStep,
    id=WORDS,
    name=WORDS,
    step_type=WORDS,
    depends_on=st.lists(WORDS, max_size=3).map(tuple),
    when=st.none() | OBJECTS,
    foreach=st.none()
    | st.builds(ForEach, items=st.lists(VALUES, max_size=3) | WORDS, parallel_limit=st.none() | COUNTS),
    timeout_seconds=st.none() | SECONDS,
    continue_on_error=st.booleans(),
    retry=st.none() | RETRIES,
    idempotent=st.booleans(),
    profile=st.none() | WORDS,
    parameters=OBJECTS,
)
CONFIGS = st.builds(
    MissionConfig,
    timeout_seconds=SECONDS,
    fail_fast=st.booleans(),
    parallel_limit=COUNTS,
    strategy=st.sampled_from(Strategy),
    priority=COUNTS,
    concurrency_key=st.none() | WORDS,
    supervision=st.none()
    | st.builds(Supervision, strategy=st.sampled_from(RestartScope), max_restarts=COUNTS, within_seconds=SECONDS),
)
MISSIONS = st.builds(
    Mission,
    name=WORDS,
    steps=st.lists(STEPS, max_size=4).map(tuple),
    description=WORDS,
    labels=st.dictionaries(WORDS, WORDS, min_size=1, max_size=3),
    config=CONFIGS,
    variables=OBJECTS,
)


def canonical(value: Any) -> bytes:
    """Return the bytes that a digest is taken of; they tell 1 from 1.0 and True."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


@given(MISSIONS)
def test_decode_after_encode_is_the_identity(mission: Mission) -> None:
    """Whatever a document says, its message says, over the wire, to the last digit: so both have one digest."""
    document = mission.document()
    raw = mission_message(document).SerializeToString()
    assert canonical(mission_value(mission_pb2.Mission.FromString(raw), LIMITS)) == canonical(document)


@given(st.binary(max_size=200))
def test_no_bytes_of_a_stranger_are_more_than_refused(raw: bytes) -> None:
    """Any bytes in any JSON field give a value of JSON, or a refusal: never another error."""
    for step in (
        mission_pb2.MissionStep(when=raw),
        mission_pb2.MissionStep(parameters=raw),
        mission_pb2.MissionStep(foreach=mission_pb2.ForEach(items=raw)),
    ):
        request = mission_pb2.PlanMissionRequest(mission=mission_pb2.Mission(steps=[step]))
        try:
            form = form_of(request, LIMITS)
        except RefusalError:
            continue
        assert isinstance(form, dict)
        orjson.dumps(form)

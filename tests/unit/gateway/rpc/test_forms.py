"""Mission messages to documents."""

import pytest

from engine.errors import MissionInvalidError
from engine.loader import load_mission
from engine.mission import MissionLimits
from gateway.errors import SanitizationError
from gateway.rpc import forms
from gateway.v1 import mission_pb2

LIMITS = MissionLimits()


def step(**fields: object) -> mission_pb2.MissionStep:
    return mission_pb2.MissionStep(**{"id": "a", "name": "A", "step_type": "transform", **fields})


def mission(*steps: mission_pb2.MissionStep, **fields: object) -> mission_pb2.Mission:
    return mission_pb2.Mission(version="1.0", name="m", steps=steps or (step(),), **fields)


def test_unset_fields_are_left_out() -> None:
    """So that a default is given once, by the engine, and both forms of a mission have one digest."""
    assert forms.mission_value(mission(), LIMITS) == {
        "version": "1.0",
        "name": "m",
        "steps": [{"id": "a", "name": "A", "step_type": "transform", "parameters": {}}],
    }


def test_set_fields_are_kept_also_where_they_are_zero() -> None:
    """fail_fast false, a timeout of 0 for the engine to refuse, integers beyond doubles, labels, dependencies."""
    config = mission_pb2.MissionConfig(
        timeout_seconds=0, fail_fast=False, parallel_limit=0, priority=0, concurrency_key="", supervision={}
    )
    value = forms.mission_value(
        mission(
            step(
                depends_on=["b"],
                timeout_seconds=1.5,
                continue_on_error=True,
                profile="fast",
                parameters=b'{"n":9007199254740993}',
            ),
            description="d",
            labels={"k": "v"},
            config=config,
            variables=b' {"x": [1, 1.0]}',
        ),
        LIMITS,
    )
    assert value["config"] == {
        "timeout_seconds": 0, "fail_fast": False, "parallel_limit": 0, "priority": 0, "concurrency_key": "",
        "supervision": {},
    }  # fmt: skip
    assert value["variables"] == {"x": [1, 1.0]}
    assert value["labels"] == {"k": "v"}
    assert value["steps"] == [
        {
            "id": "a", "name": "A", "step_type": "transform", "depends_on": ["b"], "timeout_seconds": 1.5,
            "continue_on_error": True, "profile": "fast", "parameters": {"n": 9007199254740993},
        }
    ]  # fmt: skip


@pytest.mark.parametrize("raw", [b"[]", b"1", b"null", b"a: 1", b"\xef\xbb\xbf{}", b"# {}"])
def test_json_fields_hold_objects_and_no_yaml(raw: bytes) -> None:
    """The documents' parser reads YAML too; a bytes field of JSON does not."""
    for message, field in (
        (mission(variables=raw), "variables"),
        (mission(step(parameters=raw)), "steps[0].parameters"),
    ):
        with pytest.raises(SanitizationError) as caught:
            forms.mission_value(message, LIMITS)
        assert caught.value.violations[0].code == "request.not_a_json_object"
        assert caught.value.violations[0].field == field


@pytest.mark.parametrize(
    "raw", [b'{"a":1,"a":2}', b'{"a":NaN}', b'{"a":1e999}', b"{", b'{"a":"\xff"}', b'{"a":18446744073709551616}']
)
def test_json_fields_obey_the_rules_of_documents(raw: bytes) -> None:
    """Duplicate keys, NaN, infinities, bad encoding, integers beyond 63 bits: there is no second parser."""
    with pytest.raises(MissionInvalidError):
        forms.mission_value(mission(variables=raw), LIMITS)


def test_a_document_is_passed_on_byte_for_byte() -> None:
    """Positions in errors are positions in what the client sent."""
    request = mission_pb2.PlanMissionRequest(document=b"\xff any bytes \n")
    assert forms.form_of(request, LIMITS) == b"\xff any bytes \n"


def test_a_request_without_a_mission_is_refused() -> None:
    """Neither form is set."""
    with pytest.raises(SanitizationError) as caught:
        forms.form_of(mission_pb2.PlanMissionRequest(), LIMITS)
    assert caught.value.code == "request.form_missing"


def test_a_mission_message_obeys_the_limit_of_documents() -> None:
    """By its size on the wire, as a limit, not as malformed."""
    with pytest.raises(MissionInvalidError) as caught:
        forms.form_of(
            mission_pb2.PlanMissionRequest(mission=mission(description="x" * 2_000)),
            MissionLimits(document_bytes_max=1_024),
        )
    assert caught.value.code == "document.too_large"
    assert not caught.value.malformed


def test_the_value_of_a_message_is_a_mission() -> None:
    """What mission_value gives is what a document of the same fields gives."""
    value = forms.mission_value(mission(), LIMITS)
    document = b'{"version":"1.0","name":"m","steps":[{"id":"a","name":"A","step_type":"transform","parameters":{}}]}'
    plan = load_mission(document, limits=LIMITS, step_types={"transform"})
    assert value["steps"] == [s.document() for s in plan.mission.steps]


def test_the_fields_of_the_full_contract_are_the_documents() -> None:
    """Words for enums, JSON for conditions and items, a present but empty retry as such."""
    value = forms.mission_value(
        mission(
            step(
                when=b'{"eq": ["${variables.x}", 1]}',
                foreach=mission_pb2.ForEach(items=b' "${variables.rows}"', parallel_limit=0),
                retry=mission_pb2.RetryPolicy(max_attempts=0, backoff=mission_pb2.BACKOFF_EXPONENTIAL, jitter=False),
                idempotent=True,
            ),
            step(foreach=mission_pb2.ForEach(items=b"[]"), retry=mission_pb2.RetryPolicy()),
            step(foreach=mission_pb2.ForEach()),
            config=mission_pb2.MissionConfig(
                strategy=mission_pb2.STRATEGY_LEVELS,
                supervision=mission_pb2.Supervision(
                    strategy=mission_pb2.RESTART_SCOPE_ONE_FOR_ALL, max_restarts=0, within_seconds=1.5
                ),
            ),
        ),
        LIMITS,
    )
    assert value["config"] == {
        "strategy": "levels",
        "supervision": {"strategy": "one_for_all", "max_restarts": 0, "within_seconds": 1.5},
    }
    first, second, third = value["steps"]
    assert first["when"] == {"eq": ["${variables.x}", 1]}
    assert first["foreach"] == {"items": "${variables.rows}", "parallel_limit": 0}
    assert first["retry"] == {"max_attempts": 0, "backoff": "exponential", "jitter": False}
    assert first["idempotent"] is True
    assert (second["foreach"], second["retry"], third["foreach"]) == ({"items": []}, {}, {})


@pytest.mark.parametrize(
    ("raw", "code", "field"),
    [
        (b"{}", "request.not_json_items", "steps[0].foreach.items"),
        (b"7", "request.not_json_items", "steps[0].foreach.items"),
        (b"- a", "request.not_json_items", "steps[0].foreach.items"),
        (b'[], "more": 1', "request.not_json_items", "steps[0].foreach.items"),
    ],
)
def test_items_are_one_list_or_one_string(raw: bytes, code: str, field: str) -> None:
    """Nothing else passes, and nothing is smuggled behind it."""
    with pytest.raises(SanitizationError) as caught:
        forms.mission_value(mission(step(foreach=mission_pb2.ForEach(items=raw))), LIMITS)
    assert [(v.code, v.field) for v in caught.value.violations] == [(code, field)]


@pytest.mark.parametrize(
    "raw", [b'[{"a":1,"a":2}]', b"[NaN]", b"[", b'["\xff"]', b'[],"items":[]', b"[]}", b"[" * 200 + b"]" * 200]
)
def test_items_obey_the_rules_of_documents(raw: bytes) -> None:
    """Duplicate keys, NaN, bad encoding, nesting: the parser of documents reads them."""
    with pytest.raises(MissionInvalidError) as caught:
        forms.mission_value(mission(step(foreach=mission_pb2.ForEach(items=raw))), LIMITS)
    assert all(v.field.startswith("steps[0].foreach") and v.line is None for v in caught.value.violations)


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (mission(config=mission_pb2.MissionConfig(strategy=9)), "config.strategy"),
        (mission(config=mission_pb2.MissionConfig(supervision={"strategy": 9})), "config.supervision.strategy"),
        (mission(step(retry=mission_pb2.RetryPolicy(backoff=9))), "steps[0].retry.backoff"),
    ],
)
def test_a_number_that_is_no_word_is_refused(message: mission_pb2.Mission, field: str) -> None:
    """Protobuf passes unknown enum numbers on; taking one for the default would run something else."""
    with pytest.raises(SanitizationError) as caught:
        forms.mission_value(message, LIMITS)
    assert [(v.code, v.field) for v in caught.value.violations] == [("request.unknown_value", field)]

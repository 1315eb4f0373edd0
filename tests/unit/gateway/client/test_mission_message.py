"""The message of a mission document stands for that document: the codec of the gateway reads it back."""

from typing import Any

import pytest

from engine.builder import MissionBuilder
from engine.errors import MissionInvalidError
from engine.mission import MissionConfig, MissionLimits, RestartScope, Strategy, Supervision
from engine.retry import RetryPolicy
from engine.values import JsonObject
from gateway.client.mission_message import mission_message
from gateway.rpc.forms import mission_value

LIMITS = MissionLimits()


def plain() -> JsonObject:
    m = MissionBuilder("report", description="d", labels={"team": "a"})
    n = m.variable("n", {"a": [1, 2.5, None, True]})
    fetch = m.step("fetch", "http", {"url": "https://example.org", "n": n}, timeout_seconds=5, profile="net")
    m.step("save", "create_file", {"path": f"{fetch.output['id']}.txt"}, continue_on_error=True)
    m.step("end", "noop", after=[fetch])
    return m.document()


def complete() -> JsonObject:
    config = MissionConfig(
        strategy=Strategy.LEVELS,
        priority=7,
        concurrency_key="nightly",
        supervision=Supervision(strategy=RestartScope.ONE_FOR_ALL, max_restarts=0),
        fail_fast=False,
    )
    m = MissionBuilder("report", config=config)
    fetch = m.step("fetch", "http", {"url": "https://example.org"}, retry=RetryPolicy(jitter=True), idempotent=True)
    m.step("each", "http", {"row": m.item}, foreach=fetch.output["rows"], items_parallel_limit=3)
    m.step("literal", "http", {"row": m.item}, foreach=[0, "a", None])
    m.step("some", "noop", when=(fetch.output["status"] == 200) & ~fetch.output["skip"].exists())
    return m.document()


@pytest.mark.parametrize("document", [plain, complete])
def test_a_document_comes_back_from_its_message(document: Any) -> None:
    """Every field, and nothing else."""
    value = document()
    assert mission_value(mission_message(value), LIMITS) == value


def test_the_message_survives_the_wire() -> None:
    """Serialised and parsed it is the same."""
    message = mission_message(plain())
    assert type(message).FromString(message.SerializeToString()) == message


@pytest.mark.parametrize(
    ("document", "code", "field"),
    [
        ({"nmae": "x"}, "mission.unknown_field", "nmae"),
        ({"name": 7}, "mission.wrong_type", "name"),
        ({"steps": [{"id": "a"}, {"retries": 1}]}, "mission.unknown_field", "steps[1].retries"),
        ({"steps": 7}, "mission.wrong_type", "steps"),
        ({"config": {"parallel_limit": "many"}}, "mission.wrong_type", "config.parallel_limit"),
        ({"config": 7}, "mission.wrong_type", "config"),
    ],
)
def test_what_the_protocol_does_not_hold_is_an_error(document: JsonObject, code: str, field: str) -> None:
    """It is told with its place, and never dropped."""
    with pytest.raises(MissionInvalidError) as refused:
        mission_message(document)
    assert (refused.value.code, refused.value.violations[0].field) == (code, field)

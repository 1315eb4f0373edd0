"""What an OPA is told beside the question: where in a trace it is, while somebody traces."""

import pytest

from gateway.policy.opa.client import Client
from gateway.policy.opa.settings import OpaSettings
from gateway.watch import POSITION, Position
from tests.collector import collecting

HERE = Position(b"\1" * 16, b"\2" * 8, sampled=True)


@pytest.mark.parametrize("position", [HERE, None])
async def test_a_question_is_a_part_of_its_trace(position: Position | None) -> None:
    """By the header of W3C Trace Context; outside of a trace there is none."""
    async with collecting() as collector:
        host, _, port = collector.url.removeprefix("http://").partition(":")
        client = Client(OpaSettings(host=host, port=int(port)))
        token = POSITION.set(position)
        try:
            await client.fetch("POST", "/v1/data", b"[]", 1_000)
        finally:
            POSITION.reset(token)
            await client.close_connection()
    [asked] = collector.requests
    assert asked.get("traceparent") == (HERE.traceparent if position is not None else None)
    assert asked["content-type"] == "application/json"

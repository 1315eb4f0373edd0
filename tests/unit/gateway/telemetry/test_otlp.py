"""Spans on their way to a collector: in the words of the protocol, in bounded batches, and dropped where nobody is."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from gateway.delivery.collector import Answer, Collector, Names
from gateway.errors import ConfigurationError
from gateway.telemetry.otlp import BATCH_MAX, About, Exporter, request
from gateway.telemetry.spans import Ended, Tracer
from tests.collector import Collector as Collecting
from tests.collector import collecting
from tests.telemetry import Counting, HandClock, logged

ABOUT = About(service="missiongate", version="0.1.0", instance="i1")
NAMES = Names(section="tracing", code="config.tracing")


def filled(count: int = 2) -> Tracer:
    """Return a tracer with so many spans that have ended, each inside of the one before."""
    tracer, parent = Tracer(HandClock(), Counting(), ratio=1.0), None
    for n in range(count):
        parent, span = tracer.begin(f"s{n}", parent, "server" if n == 0 else "internal", {"rpc.method": f"m{n}"})
        assert span is not None
        tracer.end(span, "step.failed" if n == 1 else "")
    return tracer


class Answers:
    """A collector that answers as it is told."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self.answers = list(answers)
        self.bodies: list[Any] = []
        self.closed = False

    async def post(self, body: bytes, _content_type: str) -> Answer:
        self.bodies.append(json.loads(body))
        answer = self.answers.pop(0) if self.answers else Answer(200, None)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        self.closed = True


def exporter(tracer: Tracer, collector: Any) -> Exporter:
    return Exporter(tracer, collector, ABOUT, every_seconds=0.001)


def test_a_request_is_what_opentelemetry_defines() -> None:
    """Its own definition reads it, once ids, which OTLP spells in hex, are in base64 as protobuf's JSON has bytes."""
    document = json.loads(request(filled().take(9), ABOUT))
    for span in document["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        for name in ("traceId", "spanId", "parentSpanId"):
            if name in span:
                span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()
    message = json_format.ParseDict(document, trace_service_pb2.ExportTraceServiceRequest())
    [resource] = message.resource_spans
    assert {each.key: each.value.string_value for each in resource.resource.attributes} == {
        "service.name": "missiongate",
        "service.version": "0.1.0",
        "service.instance.id": "i1",
    }
    first, second = resource.scope_spans[0].spans
    assert (len(first.trace_id), len(first.span_id), first.parent_span_id) == (16, 8, b"")
    assert (second.trace_id, second.parent_span_id) == (first.trace_id, first.span_id)
    assert (first.kind, second.kind) == (first.SPAN_KIND_SERVER, first.SPAN_KIND_INTERNAL)
    assert (first.status.code, second.status.code) == (0, second.status.STATUS_CODE_ERROR)
    assert second.status.message == "step.failed"
    assert first.start_time_unix_nano > 1_700_000_000_000_000_000


async def test_batches_are_bounded() -> None:
    """However much waits."""
    collector = Answers()
    sending = exporter(filled(BATCH_MAX + 3), collector)
    await sending.flush()
    sizes = [len(body["resourceSpans"][0]["scopeSpans"][0]["spans"]) for body in collector.bodies]
    assert sizes == [BATCH_MAX, 3]
    assert (sending.sent, sending.lost) == (BATCH_MAX + 3, 0)


@pytest.mark.parametrize(
    ("answers", "tries", "sent"),
    [
        ([Answer(503, None), Answer(200, None)], 2, 2),
        ([Answer(429, 0.001), OSError("no"), Answer(200, None)], 3, 2),
        ([TimeoutError()] * 3, 3, 0),
        ([Answer(400, None)], 1, 0),
        ([ConfigurationError("no token", code="config.tracing")], 1, 0),
    ],
)
async def test_what_may_pass_is_tried_again_and_nothing_else(
    answers: list[Answer | Exception], tries: int, sent: int
) -> None:
    """OTLP/HTTP, "Failures": so often, and then the spans are gone and counted."""
    collector = Answers(*answers)
    sending = exporter(filled(), collector)
    await sending.flush()
    assert (len(collector.bodies), sending.sent, sending.lost) == (tries, sent, 2 - sent)


async def test_a_collector_that_is_away_is_told_of_once() -> None:
    """And once more when it is back."""
    sending = exporter(filled(), Answers(Answer(400, None), Answer(400, None)))
    with logged() as lines:
        for _ in range(4):
            await sending.flush()
            sending._tracer = filled()
    assert [line["event"].split()[0] for line in lines] == ["the", "spans"]


@asynccontextmanager
async def collected() -> AsyncIterator[tuple[Exporter, Collecting]]:
    async with collecting() as collector:
        sending = Exporter(
            filled(), Collector(f"{collector.url}/v1/traces", NAMES, HandClock()), ABOUT, every_seconds=0.01
        )
        yield sending, collector
        await sending.close(1.0)


async def test_it_goes_over_http() -> None:
    """Gzipped JSON, to the path that is configured, in a task that is cancelled at the end."""
    async with collected() as (sending, collector):
        task = asyncio.create_task(sending.run())
        async with asyncio.timeout(10):
            while not sending.sent:  # noqa: ASYNC110 - a collector's answer sets no event here
                await asyncio.sleep(0.01)
        task.cancel()
    assert collector.requests[0][":path"].endswith("/v1/traces")
    assert collector.requests[0]["content-type"] == "application/json"
    assert collector.requests[0]["content-encoding"] == "gzip"


async def test_the_end_waits_for_nobody() -> None:
    """A collector that does not answer delays no stop beyond its time."""

    class Silent(Answers):
        async def post(self, body: bytes, _content_type: str) -> Answer:
            await asyncio.Event().wait()
            raise AssertionError(body)

    silent = Silent()
    await exporter(filled(), silent).close(0.01)
    assert silent.closed


def test_ended_spans_hold_no_more_than_is_sent() -> None:
    """What there is of a span, and nothing that could be a payload."""
    fields = {"position", "parent", "name", "kind", "start_ns", "end_ns", "attributes", "failed"}
    assert set(Ended.__dataclass_fields__) == fields

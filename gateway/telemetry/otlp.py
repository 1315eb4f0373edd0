"""Sends spans to a collector: OTLP over HTTP with JSON, in a task of its own, a bounded number at a time.

Sources: OpenTelemetry Protocol 1.x, "OTLP/HTTP" and "JSON Protobuf Encoding" (ids are hex, integers of 64 bits are
text, names are camel case); opentelemetry/proto/trace/v1/trace.proto. What a collector does not take is dropped and
counted: traces are no evidence, and nothing waits for them.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import orjson

from gateway.delivery.collector import Answer, Collector
from gateway.errors import ConfigurationError
from gateway.telemetry.spans import Ended, Tracer

BATCH_MAX: Final = 512  # spans of one request
EVERY_SECONDS: Final = 2.0
TRIES_MAX: Final = 3  # of one batch
WAIT_SECONDS_MAX: Final = 30.0  # that a collector may ask to be left alone
_JSON: Final = "application/json"
_KINDS: Final[Mapping[str, int]] = {"internal": 1, "server": 2}  # trace.proto: SpanKind
_ERROR: Final = 2  # trace.proto: STATUS_CODE_ERROR
_RETRYABLE: Final = frozenset({429, 502, 503, 504})  # OTLP/HTTP, "Retryable Response Codes"

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """Whose spans they are."""

    service: str
    version: str
    instance: str  # that tells this process from others of the service


class Exporter:
    """Takes from a tracer what has ended, until it is cancelled."""

    def __init__(
        self, tracer: Tracer, collector: Collector, about: About, *, every_seconds: float = EVERY_SECONDS
    ) -> None:
        """Prepare; the collector has been checked."""
        self._tracer = tracer
        self._collector = collector
        self._about = about
        self._every_seconds = every_seconds
        self._failing = False
        self.sent = 0
        self.lost = 0  # spans that the collector did not take

    async def run(self) -> None:
        """Send from time to time, until cancelled."""
        while True:
            await asyncio.sleep(self._every_seconds)
            await self.flush()

    async def flush(self) -> None:
        """Send all that waits now."""
        while spans := self._tracer.take(BATCH_MAX):
            taken = await self._send(request(spans, self._about))
            if taken:
                self.sent += len(spans)
            else:
                self.lost += len(spans)
            if taken == self._failing:  # said once, and not for each batch
                self._failing = not taken
                _LOG.warning("spans are taken again" if taken else "the collector of spans takes none: they are lost")

    async def close(self, seconds_max: float) -> None:
        """Send what is left, for so long at most, and let go of the connection."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds_max):
                await self.flush()
        await self._collector.close()

    async def _send(self, body: bytes) -> bool:
        """Return whether the collector has taken it."""
        for left in reversed(range(TRIES_MAX)):
            try:
                answer = await self._collector.post(body, _JSON)
            except ConfigurationError:
                return False
            except Exception:  # noqa: BLE001 - TimeoutError, OSError, aiohttp's: there was no answer, and a bug sends none
                answer = Answer(_NO_ANSWER, None)
            if answer.taken:
                return True
            if answer.status not in _RETRYABLE or not left:
                return False
            await asyncio.sleep(min(answer.retry_after_seconds or self._every_seconds, WAIT_SECONDS_MAX))
        return False


_NO_ANSWER: Final = 503  # as if it had said to come back


def request(spans: Sequence[Ended], about: About) -> bytes:
    """Return an ExportTraceServiceRequest as JSON."""
    resource = {
        "service.name": about.service,
        "service.version": about.version,
        "service.instance.id": about.instance,
    }
    scope = {"scope": {"name": "gateway.telemetry", "version": about.version}, "spans": [_span(each) for each in spans]}
    return orjson.dumps({"resourceSpans": [{"resource": {"attributes": _attributes(resource)}, "scopeSpans": [scope]}]})


def _span(span: Ended) -> dict[str, Any]:
    document: dict[str, Any] = {
        "traceId": span.position.trace_id.hex(),
        "spanId": span.position.span_id.hex(),
        "name": span.name,
        "kind": _KINDS[span.kind],
        "startTimeUnixNano": str(span.start_ns),
        "endTimeUnixNano": str(span.end_ns),
        "attributes": _attributes(span.attributes),
    }
    if span.parent is not None:
        document["parentSpanId"] = span.parent.hex()
    if span.failed:
        document["status"] = {"code": _ERROR, "message": span.failed}
        document["attributes"] += _attributes({"error.type": span.failed})
    return document


def _attributes(values: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"key": key, "value": {"stringValue": value}} for key, value in values.items()]

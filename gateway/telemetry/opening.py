"""Telemetry of one gateway, put together: what watches, and what goes on beside the calls so that somebody sees it."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from engine.clock import Clock
from gateway.telemetry.meters import Meters
from gateway.telemetry.readings import TracesReading
from gateway.telemetry.spans import Tracer
from gateway.telemetry.watching import Watching
from gateway.watch import UNWATCHED, Outgoing, Watch, nothing_outgoing, traceparent

if TYPE_CHECKING:  # aiohttp takes long to import, and most gateways trace nothing
    from gateway.telemetry.otlp import Exporter

CLOSE_SECONDS_MAX: Final = 2.0
_LAG_SECONDS: Final = 0.5  # between two looks at how late the event loop is
_SECTION: Final = "tracing"
_INSTANCE_BYTES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetrySettings:
    """What is wanted."""

    metrics: bool
    url: str  # of a collector; "": nothing is traced
    token_file: Path | None
    ca_file: Path | None
    ratio: float
    follow_callers: bool
    propagate_to: frozenset[str]  # hosts
    service: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry:
    """What watches a gateway."""

    watch: Watch
    meters: Meters
    outgoing: Outgoing
    tracer: Tracer | None
    exporter: "Exporter | None"
    clock: Clock

    @classmethod
    def of(cls, settings: TelemetrySettings, clock: Clock, entropy: Callable[[int], bytes]) -> Self:
        """Put together; nothing is sent yet.

        Raises:
            ConfigurationError: `config.tracing`, the collector cannot be spoken to as configured.
        """
        meters = Meters()
        tracer = Tracer(clock, entropy, ratio=settings.ratio) if settings.url else None
        watch: Watch = UNWATCHED
        if tracer is not None or settings.metrics:
            watch = Watching(meters, clock, tracer, follow_callers=settings.follow_callers)
        hosts = settings.propagate_to
        outgoing = (lambda host: traceparent() if host in hosts else None) if tracer and hosts else nothing_outgoing
        exporter = None if tracer is None else _exporter(settings, tracer, clock, entropy(_INSTANCE_BYTES).hex())
        return cls(watch=watch, meters=meters, outgoing=outgoing, tracer=tracer, exporter=exporter, clock=clock)

    def works(self) -> list[Coroutine[Any, Any, None]]:
        """Return what goes on until it is cancelled."""
        works = [self._look_at_the_loop()] if self.watch.on else []
        return works if self.exporter is None else [*works, self.exporter.run()]

    def adopt(self, ratio: float) -> None:
        """From now on sample so many of the traces that begin here."""
        if self.tracer is not None:
            self.tracer.adopt(ratio)

    async def close(self) -> None:
        """Send the last spans, if the collector takes them at once."""
        if self.exporter is not None:
            await self.exporter.close(CLOSE_SECONDS_MAX)

    def traces(self) -> TracesReading | None:
        """How it stands with spans; None where there are none."""
        if self.tracer is None or self.exporter is None:
            return None
        return TracesReading(
            ended=self.tracer.ended,
            waiting=self.tracer.waiting,
            dropped=self.tracer.dropped,
            lost=self.exporter.lost,
        )

    async def _look_at_the_loop(self) -> None:
        """Measure how late the event loop is, until cancelled."""
        now = self.clock.monotonic
        while True:
            due = now() + _LAG_SECONDS
            await asyncio.sleep(_LAG_SECONDS)
            self.meters.loop_lag.add((), now() - due)


def _exporter(settings: TelemetrySettings, tracer: Tracer, clock: Clock, instance: str) -> "Exporter":
    from gateway.delivery.collector import Collector, Names  # noqa: PLC0415 - a client of HTTP takes 200 ms to import
    from gateway.telemetry.otlp import About, Exporter  # noqa: PLC0415 - likewise

    names = Names(section=_SECTION, code="config.tracing")
    collector = Collector(
        settings.url, names, clock, token_file=settings.token_file, ca_file=settings.ca_file, timeout_seconds=10.0
    )
    collector.check()
    about = About(service=settings.service, version=metadata.version("missiongate"), instance=instance)
    return Exporter(tracer, collector, about)

"""All exports of the audit log that the configuration names: opened with the log, closed before it."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from engine.clock import Clock
from gateway.exporting.cursors import CursorFile
from gateway.exporting.export import Export, ExportParts, ExportState
from gateway.exporting.log_port import ReadableLog
from gateway.exporting.ocsf import Projector
from gateway.exporting.sinks import CODE, FileSink, Format, HttpSink, Sink
from gateway.exporting.type_filter import TypeFilter

DRAIN_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSettings:
    """One export, as configured; exactly one of `file` and `url` is given."""

    name: str
    file: Path | None = None
    url: str = ""
    token_file: Path | None = None
    ca_file: Path | None = None
    form: Format = "ndjson"
    wanted: TypeFilter
    events_max: int
    raw: bool


class Exports:
    """The exports of one log."""

    def __init__(self, exports: Sequence[Export]) -> None:
        """Use `open`."""
        self._exports = tuple(exports)

    @classmethod
    def open(
        cls,
        log: ReadableLog,
        directory: Path,
        settings: Sequence[ExportSettings],
        *,
        log_name: str,
        clock: Clock,
        chance: Callable[[], float],
    ) -> Self:
        """Open every sink; nothing is delivered before `start`.

        Args:
            log: is read, and told of gaps.
            directory: of the log; holds `cursors/`.
            settings: of each export.
            log_name: origin of the log.
            clock: for what collectors say of time.
            chance: for the jitter of retries, from 0 to 1.

        Raises:
            ConfigurationError: `config.audit_export`, a file, a URL, a token or authorities cannot be used.
        """
        exports = [
            Export(
                ExportParts(
                    name=each.name,
                    log=log,
                    sink=_sink(each, clock),
                    cursors=CursorFile(directory, each.name),
                    wanted=each.wanted,
                    projector=Projector(log_name=log_name, raw=each.raw),
                    chance=chance,
                    events_max=each.events_max,
                )
            )
            for each in settings
        ]
        return cls(exports)

    def start(self) -> None:
        """Begin to deliver, each at its own pace."""
        for export in self._exports:
            export.start()

    async def close(self, drain_seconds: float = DRAIN_SECONDS) -> None:
        """Deliver what there is by now, for at most so long, all side by side."""
        await asyncio.gather(*(export.close(drain_seconds) for export in self._exports))

    @property
    def states(self) -> tuple[ExportState, ...]:
        """How each of them does."""
        return tuple(export.state for export in self._exports)

    @property
    def next_seq(self) -> int | None:
        """The first event that some sink has not acknowledged; None where there is no sink."""
        return min((export.next_seq for export in self._exports), default=None)


def _sink(settings: ExportSettings, clock: Clock) -> Sink:
    if settings.file is not None:
        return FileSink(settings.file)
    from gateway.delivery.collector import Collector, Names  # noqa: PLC0415 - a client of HTTP takes 200 ms to import

    collector = Collector(
        settings.url,
        Names(section=f"audit.exports: {settings.name}", code=CODE),
        clock,
        token_file=settings.token_file,
        ca_file=settings.ca_file,
    )
    collector.check()
    return HttpSink(collector, settings.form)

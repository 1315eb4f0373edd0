"""Where events go: a file of JSON lines, or a collector over HTTP. What `deliver` returned from is acknowledged."""

import asyncio
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Protocol

from gateway.delivery.line_file import LineFile, Names
from gateway.delivery.pump import NotTakenError

if TYPE_CHECKING:
    from gateway.delivery.collector import Collector

CODE: Final = "config.audit_export"
_CLOSE_SECONDS: Final = 2.0  # for a disk that hangs
Format = Literal["ndjson", "json"]
_FILE: Final = Names(what="the export of the audit log", configured=CODE, fault="audit.export_file")


class TooLargeError(Exception):
    """The sink takes less at a time."""


class Sink(Protocol):
    """Takes events, in order."""

    async def deliver(self, events: Sequence[bytes]) -> None:
        """Return once they are where they stay.

        Raises:
            TooLargeError: fewer may be taken.
            Exception: they may be there, or not, or in part; they are to be delivered again.
        """

    async def close(self) -> None:
        """Let go of it."""


class FileSink:
    """Appends to a file, which is rotated by size."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            ConfigurationError: `config.audit_export`.
        """
        self._file = LineFile(path, _FILE, synced=True)
        self._writing: asyncio.Future[None] | None = None

    async def deliver(self, events: Sequence[bytes]) -> None:
        """Append, and wait for the disk."""
        self._writing = asyncio.ensure_future(asyncio.to_thread(self._file.append, events))
        await asyncio.shield(self._writing)

    async def close(self) -> None:
        """Close the file; not while a write that nobody waits for any more is under way, in another thread."""
        if self._writing is not None:
            await asyncio.wait([self._writing], timeout=_CLOSE_SECONDS)
            if not self._writing.done():
                return
            self._writing.exception()  # whoever waited has had it
        self._file.close()


class HttpSink:
    """Posts to a collector, which has them when it has answered 2xx."""

    def __init__(self, collector: "Collector", form: Format) -> None:
        self._collector = collector
        self._post = {
            "ndjson": partial(_post, collector, b"", b"\n", b"\n", "application/x-ndjson"),
            "json": partial(_post, collector, b"[", b",", b"]", "application/json"),
        }[form]

    async def deliver(self, events: Sequence[bytes]) -> None:
        """Post them."""
        await self._post(events)

    async def close(self) -> None:
        """Close the connection."""
        await self._collector.close()


async def _post(
    collector: "Collector", begin: bytes, between: bytes, end: bytes, content_type: str, events: Sequence[bytes]
) -> None:
    answer = await collector.post(begin + between.join(events) + end, content_type)
    if answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        raise TooLargeError
    if not answer.taken:
        raise NotTakenError(f"the collector answers {answer.status}", answer.retry_after_seconds)

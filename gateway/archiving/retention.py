"""Retention of the log itself: closed segments that are old enough go to the archive, and then out of the log.

The order is what makes it safe: the copy is on the disk and has been read back, then the log says that the segment
goes, then it goes. Only the oldest goes, so what is here is always one piece; leaves and seals stay, so that every
event that was ever recorded can be proved. What an export has not delivered is held back, for a bounded time.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from engine.audit.pruning import SealedSegment, prunable
from engine.clock import Clock
from gateway.archiving.archive import archive_segment

LOOK_SECONDS: Final = 3_600.0
_REASON: Final = "retention.log_days"
_LOG: Final = logging.getLogger(__name__)


class PrunableLog(Protocol):
    """What retention needs of the log; `engine.audit.log.AuditLog` is one."""

    async def prune(self, first: int, *, archived: bool, reason: str) -> None:
        """Record that the oldest sealed segment goes, then take it out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRetentionSettings:
    """Where segments go, and how long an export may hold them back."""

    archive: Path | None
    discard: bool  # without an archive: they are deleted, and that is meant
    hold: timedelta  # beyond their time


class LogRetention:
    """Prunes the log, a whole segment at a time."""

    def __init__(
        self,
        log: PrunableLog,
        directory: Path,
        settings: LogRetentionSettings,
        clock: Clock,
        *,
        days: int | None,
        undelivered: Callable[[], int | None],
    ) -> None:
        """Prepare; `run` begins.

        Args:
            log: whose segments they are.
            directory: of the log.
            settings: of the configuration.
            clock: says how old they are.
            days: for how long an event stays at least; None: for ever.
            undelivered: the first event that some export has not delivered; None where there is no export.
        """
        self._log = log
        self._directory = directory
        self._settings = settings
        self._clock = clock
        self._days = days
        self._undelivered = undelivered

    def adopt(self, days: int | None) -> None:
        """From now on keep events for so many days."""
        self._days = days

    async def prune(self) -> int:
        """Take out what is old enough, oldest first, and return how many segments that were.

        Raises:
            EngineError, OSError: log, disk or archive fail; what is left waits for the next time.
        """
        count = 0
        if self._days is None or (self._settings.archive is None and not self._settings.discard):
            return count
        before = self._clock.now() - timedelta(days=self._days)
        for segment in await asyncio.to_thread(prunable, self._directory):
            if segment.ended >= before or self._is_held(segment, before):
                break
            if self._settings.archive is not None:
                await asyncio.to_thread(archive_segment, segment, self._settings.archive)
            archived = self._settings.archive is not None
            await self._log.prune(segment.seal.first, archived=archived, reason=_REASON)
            count += 1
        return count

    def _is_held(self, segment: SealedSegment, before: datetime) -> bool:
        """Return whether an export still needs a segment; not for ever, so that a dead one does not fill the disk."""
        first, last = segment.seal.first, segment.seal.size - 1
        undelivered = self._undelivered()
        if undelivered is None or undelivered > last:
            return False
        if segment.ended >= before - self._settings.hold:
            _LOG.warning("events %d to %d of the audit log are old enough, and an export holds them", first, last)
            return True
        _LOG.error("events %d to %d of the audit log go, although an export has not delivered them", first, last)
        return False

    async def run(self) -> None:
        """Prune now, and once an hour from then on, until cancelled; nothing that happens in it ends it."""
        while True:
            try:
                await self.prune()
            except Exception:  # noqa: BLE001 - whatever it was, nothing is lost, and the next hour tries again
                _LOG.exception("old segments of the audit log could not be taken out; the next try is in an hour")
            await asyncio.sleep(LOOK_SECONDS)

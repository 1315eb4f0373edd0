"""Events of the decision log that nobody will get: counted, and told to the audit log and to the gateway's own."""

import logging
from typing import Final

from engine.clock import Clock
from engine.errors import EngineError
from gateway.events import Audit, EventType

TELL_SECONDS: Final = 60.0
_GATEWAY: Final = "gateway"
_LOG: Final = logging.getLogger(__name__)


class Drops:
    """Tells of the first at once, then at most once a minute, and of the rest at the end."""

    def __init__(self, audit: Audit | None, clock: Clock) -> None:
        self._audit = audit
        self._clock = clock
        self._untold = 0
        self._told_at: float | None = None
        self.dropped = 0

    def count(self, events: int) -> None:
        """Count events that were dropped just now; 0 where none was."""
        self.dropped += events
        self._untold += events
        now = self._clock.monotonic()
        if self._untold and (self._told_at is None or now - self._told_at >= TELL_SECONDS):
            self._told_at = now
            self.tell()

    def tell(self) -> None:
        """Tell of what was not told yet."""
        if not self._untold:
            return
        _LOG.error(
            "the decision log has lost %d events: the collector takes none, and the outbox is full", self._untold
        )
        if self._audit is not None:
            details = {"events": self._untold, "total": self.dropped}
            try:
                self._audit.append(
                    EventType.DECISION_LOG_DROPPED, actor=_GATEWAY, target="decision_log", details=details
                )
            except EngineError:
                _LOG.exception("and the audit log does not take it; it is told the next time")
                return
        self._untold = 0

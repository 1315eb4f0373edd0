"""Hooks that failed without stopping anything: counted, and told to the log at most once a minute each."""

import logging
from dataclasses import dataclass
from typing import Final

from engine.clock import Clock
from engine.errors import EngineError
from gateway.events import Audit, EventType
from gateway.hookset import PlacedHook

TOLD_EVERY_SECONDS: Final = 60.0
HOOKS_MAX: Final = 1_024  # versions of hooks that are remembered at once
_ACTOR: Final = "gateway"
_LOG: Final = logging.getLogger(__name__)


@dataclass(slots=True)
class _Untold:
    """What has happened to one hook since the log was told."""

    failed: int = 0
    dropped: int = 0
    code: str = ""
    told_at: float | None = None


class HookFailures:
    """Counts the failures of screens that fail open, and of observers, and what observers were not shown.

    Neither may stop or delay anything, so nothing here raises: where the log takes no event, the count waits.
    """

    def __init__(self, audit: Audit, clock: Clock) -> None:
        self._audit = audit
        self._clock = clock
        self._untold: dict[str, tuple[PlacedHook, _Untold]] = {}

    def failed(self, placed: PlacedHook, code: str) -> None:
        """Count a run that broke a limit, lied, or reported an error; `code` says which."""
        untold = self._of(placed)
        untold.failed += 1
        untold.code = code
        self._tell_if_due(placed, untold)

    def dropped(self, placed: PlacedHook) -> None:
        """Count what an observer was not shown since too much waited."""
        untold = self._of(placed)
        untold.dropped += 1
        self._tell_if_due(placed, untold)

    def flush(self) -> None:
        """Tell the log all that it has not heard."""
        for placed, untold in self._untold.values():
            self._tell(placed, untold)

    def _of(self, placed: PlacedHook) -> _Untold:
        key = placed.hook.key
        if key not in self._untold and len(self._untold) >= HOOKS_MAX:
            self.flush()
            self._untold.clear()
        return self._untold.setdefault(key, (placed, _Untold()))[1]

    def _tell_if_due(self, placed: PlacedHook, untold: _Untold) -> None:
        if untold.told_at is None or self._clock.monotonic() - untold.told_at >= TOLD_EVERY_SECONDS:
            self._tell(placed, untold)

    def _tell(self, placed: PlacedHook, untold: _Untold) -> None:
        if not untold.failed and not untold.dropped:
            return
        hook = placed.hook
        details = {
            "kind": hook.kind,
            "at": hook.at,
            "module": hook.sha256,
            "failed": untold.failed,
            "dropped": untold.dropped,
            "code": untold.code,
        }
        try:
            self._audit.append(EventType.HOOK_FAILED_OPEN, actor=_ACTOR, target=hook.key, details=details)
        except EngineError as error:
            _LOG.warning("the log was not told that hook %s failed: %s", hook.key, error)
            return
        untold.failed = untold.dropped = 0
        untold.code = ""
        untold.told_at = self._clock.monotonic()

"""The alarm: somebody outside this machine knows a history of the log that is not this one."""

import contextlib
import logging
from typing import Final

from engine.errors import EngineError
from engine.values import JsonObject
from gateway.anchoring.ports import AnchoredLog
from gateway.events import EventType

_LOG: Final = logging.getLogger(__name__)
_ACTOR: Final = "gateway"


class Alarms:
    """Raised once for each that says so. From the first on, no acknowledgement of level `witnessed` is given."""

    def __init__(self, log: AnchoredLog) -> None:
        self._log = log
        self._told: set[tuple[EventType, str]] = set()

    @property
    def raised(self) -> bool:
        """Whether any was."""
        return bool(self._told)

    def refused(self, event: EventType, name: str, reason: str, *, known: int | None = None) -> None:
        """Tell of it: in the log, where that still writes, and to whoever reads the gateway's messages.

        Args:
            event: `audit.witness_refused` or `audit.anchor_refused`.
            name: whose word it is.
            reason: in one sentence.
            known: the size that is known there, where it was said.
        """
        if (event, name) in self._told:
            return
        self._told.add((event, name))
        _LOG.critical("THE AUDIT LOG WAS ROLLED BACK OR FORKED, says %s: %s", name, reason)
        self._log.refuse_witnessed(f"{name}: {reason}")
        details: JsonObject = {"reason": reason, "size": self._log.size, "known": known}
        with contextlib.suppress(EngineError):  # a log that is dead has said so itself
            self._log.append(event, actor=_ACTOR, target=name, details=details)

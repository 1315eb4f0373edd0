"""Witnesses and anchors of one gateway: started behind the log, stopped before it, and asked how they are.

None of it stops the log. Where acknowledgements wait for witnesses, they are refused; everything else goes on.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from engine.clock import Clock
from gateway.anchoring.alarms import Alarms
from gateway.anchoring.anchors import Anchor
from gateway.anchoring.file_place import FilePlace
from gateway.anchoring.health import Standing
from gateway.anchoring.http import HttpClient, HttpPlace, HttpWitness
from gateway.anchoring.ports import AnchoredLog, Place
from gateway.anchoring.sections import AnchorSection, WitnessSection
from gateway.anchoring.settings import AnchoringSettings
from gateway.anchoring.witnesses import Member, Witnesses
from gateway.backoff import Backoff

FLUSH_SECONDS_MAX: Final = 3.0  # for the last checkpoint, when the gateway stops
_REQUEST_SECONDS_MAX: Final = 10.0
_BACKOFF_FIRST_SECONDS: Final = 0.25
_BACKOFF_SECONDS_MAX: Final = 60.0
_BACKOFF_WAITED_SECONDS_MAX: Final = 2.0  # where somebody waits for the witness to come back
_PAUSE_SECONDS: Final = 1.0  # where nobody waits: a witness is asked once a second, not ten times

_LOG: Final = logging.getLogger(__name__)


class Anchoring:
    """What runs beside the log for it. `start` begins, `close` ends."""

    def __init__(
        self, log: AnchoredLog, settings: AnchoringSettings, *, clock: Clock, chance: Callable[[], float]
    ) -> None:
        """Put it together; nothing is asked yet."""
        self._log = log
        self._settings = settings
        self._clock = clock
        self._chance = chance
        self._clients: list[HttpClient] = []
        self._alarms = Alarms(log)
        self._anchors = [self._anchor(section) for section in settings.anchors]
        self._witnesses = self._all_witnesses() if settings.witnesses else None
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to follow the log."""
        if self._witnesses is not None:
            self._tasks.append(_task(self._witnesses.run(), "witnesses"))
        self._tasks += [_task(anchor.run(), "anchor") for anchor in self._anchors]

    async def close(self, flush_seconds: float = FLUSH_SECONDS_MAX) -> None:
        """Bring the last checkpoint out, as far as that goes within `flush_seconds`, and end."""
        for anchor in self._anchors:
            anchor.stop()
        running = self._tasks[1:] if self._witnesses is not None else self._tasks
        last = set(running)
        if self._witnesses is not None and not self._alarms.raised:
            last.add(asyncio.create_task(self._witnesses.settled(self._log.size)))
        if last:
            await asyncio.wait(last, timeout=flush_seconds)
        everything = last | set(self._tasks)
        for task in everything:
            task.cancel()
        if everything:
            await asyncio.wait(everything)
        for client in self._clients:
            await client.close()

    def witnesses(self) -> tuple[Standing, ...]:
        """Return how it stands with each witness."""
        return () if self._witnesses is None else self._witnesses.standings()

    def anchors(self) -> tuple[Standing, ...]:
        """Return how it stands with each anchor."""
        return tuple(anchor.standing() for anchor in self._anchors)

    @property
    def witnessed(self) -> int:
        """Events of the newest checkpoint that a quorum has cosigned."""
        return 0 if self._witnesses is None else self._witnesses.size

    def _all_witnesses(self) -> Witnesses:
        settings = self._settings
        waited = settings.waited_for
        return Witnesses(
            self._log,
            [self._member(section) for section in settings.witnesses],
            required=settings.required,
            alarms=self._alarms,
            clock=self._clock,
            chance=self._chance,
            backoff_seconds_max=_BACKOFF_WAITED_SECONDS_MAX if waited else _BACKOFF_SECONDS_MAX,
            pause_seconds=0.0 if waited else _PAUSE_SECONDS,
        )

    def _member(self, section: WitnessSection) -> Member:
        settings = self._settings
        seconds = min(_REQUEST_SECONDS_MAX, settings.witness_seconds_max)
        return Member(key=section.witness_key(), port=HttpWitness(self._client(section.url, section.ca_file, seconds)))

    def _anchor(self, section: AnchorSection) -> Anchor:
        backoff = Backoff(first_seconds=_BACKOFF_FIRST_SECONDS, seconds_max=_BACKOFF_SECONDS_MAX, chance=self._chance)
        return Anchor(
            self._log,
            self._place(section),
            seconds=section.seconds,
            alarms=self._alarms,
            clock=self._clock,
            backoff=backoff,
        )

    def _place(self, section: AnchorSection) -> Place:
        settings = self._settings
        if section.file:
            return FilePlace(settings.home / section.file)
        client = self._client(section.url, section.ca_file, _REQUEST_SECONDS_MAX)
        return HttpPlace(client, section.url, settings.path(section.token_file))

    def _client(self, url: str, ca_file: str, seconds: float) -> HttpClient:
        client = HttpClient(url, ca_file=self._settings.path(ca_file), timeout_seconds=seconds)
        self._clients.append(client)
        return client


def _task(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_told)
    return task


def _told(task: asyncio.Task[None]) -> None:
    """Say so where one ends by a bug: nothing else would, and the log goes on."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _LOG.critical(
            "%s of the audit log ended by a bug, and no checkpoint gets there", task.get_name(), exc_info=error
        )

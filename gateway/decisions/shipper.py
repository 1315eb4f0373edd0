"""Takes the events of the outbox to a collector, as OPA does: POST of a gzipped JSON array to `<url>/logs`.

An event leaves the outbox when a collector has answered 2xx, so it is told at least once: after a dead collector, a
restart, or a kill between the answer and the deletion once more.
Source: openpolicyagent.org/docs/management-decision-logs, Decision Log Service API.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from pathlib import Path
from secrets import SystemRandom
from typing import Final, Self

from engine.clock import Clock
from gateway.decisions.drops import Drops
from gateway.decisions.ledger import Ledger, Page
from gateway.decisions.recorder import Recorder
from gateway.delivery.collector import TIMEOUT_SECONDS, Answer, Collector, Names
from gateway.delivery.pump import NotTakenError, Pump

EVENTS_MAX: Final = 1_000  # of one request
BYTES_MAX: Final = 1024 * 1024  # of one request, before it is compressed; one event may be larger
_LOOK_SECONDS: Final = 1.0
_NAMES: Final = Names(section="policy.decisions.log", code="config.decision_log")


class Shipper:
    """One task, which delivers page after page, in order."""

    def __init__(
        self,
        recorder: Recorder,
        ledger: Ledger,
        drops: Drops,
        url: str,
        clock: Clock,
        *,
        token_file: Path | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
        look_seconds: float = _LOOK_SECONDS,
    ) -> None:
        """Prepare; `async with` begins.

        Args:
            recorder: has the outbox.
            ledger: opens what is in it.
            drops: hears of events that no request can hold, or that were damaged.
            url: of the collector, without `/logs`.
            clock: to which dates that the collector gives are compared.
            token_file: a bearer token, read for every request.
            timeout_seconds: of a request.
            look_seconds: between two looks at an outbox that was empty, and after a first failure.
        """
        self._recorder = recorder
        self._ledger = ledger
        self._drops = drops
        self._collector = Collector(
            url.rstrip("/") + "/logs", _NAMES, clock, token_file=token_file, timeout_seconds=timeout_seconds
        )
        self._pump = Pump(
            "the collector of the decision log",
            self._deliver,
            partial(asyncio.sleep, look_seconds),
            chance=SystemRandom().random,
            first_seconds=look_seconds,
        )
        self._events_max = EVENTS_MAX
        self.delivered = 0

    @property
    def failing(self) -> str:
        """Why the last request was not taken."""
        return self._pump.failing

    async def __aenter__(self) -> Self:
        """Begin to deliver.

        Raises:
            ConfigurationError: `config.decision_log`, the URL is none of a collector, the token cannot be read, or
                would cross a network in the clear.
        """
        self._collector.check()
        self._pump.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop; what was not delivered waits for the next start."""
        await self._pump.stop()
        await self._collector.close()

    async def _deliver(self) -> bool:
        """Deliver one page; return whether there may be more.

        Raises:
            Exception: the collector cannot be asked, answers garbage or has not taken the page, or the outbox cannot
                be read.
        """
        page = await self._recorder.run(partial(self._ledger.waiting, events_max=self._events_max, bytes_max=BYTES_MAX))
        if not page.upto:
            return False
        if page.events:
            answer = await self._post(page.events)
            if answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                await self._too_large(page)
                return True
            if not answer.taken:
                raise NotTakenError(f"the collector answers {answer.status}", answer.retry_after_seconds)
        self._drops.count(page.unreadable)  # first: rather told twice than not at all
        await self._recorder.run(partial(self._ledger.delivered, upto=page.upto))
        self._events_max = min(2 * self._events_max, EVENTS_MAX)
        self.delivered += len(page.events)
        return True

    async def _too_large(self, page: Page) -> None:
        """Ask with less the next time; an event that is too large alone is dropped."""
        if self._events_max > 1:
            self._events_max = max(1, min(len(page.events), self._events_max) // 2)
            return
        self._drops.count(len(page.events) + page.unreadable)
        await self._recorder.run(partial(self._ledger.delivered, upto=page.upto))

    async def _post(self, events: Sequence[bytes]) -> Answer:
        return await self._collector.post(b"[" + b",".join(events) + b"]", "application/json")

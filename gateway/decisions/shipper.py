"""Takes the events of the outbox to a collector, as OPA does: POST of a gzipped JSON array to `<url>/logs`.

An event leaves the outbox when a collector has answered 2xx, so it is told at least once: after a dead collector, a
restart, or a kill between the answer and the deletion once more.
Source: openpolicyagent.org/docs/management-decision-logs, Decision Log Service API.
"""

import asyncio
import gzip
import logging
import re
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

import aiohttp

from gateway.decisions.drops import Drops
from gateway.decisions.ledger import Ledger, Page
from gateway.decisions.recorder import Recorder
from gateway.errors import ConfigurationError, SecretError
from gateway.vault.master import read_private

EVENTS_MAX: Final = 1_000  # of one request
BYTES_MAX: Final = 1024 * 1024  # of one request, before it is compressed; one event may be larger
_URL: Final = re.compile(r"https?://[^\s?#@/][^\s?#@]*/logs")
_TIMEOUT_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 1.0
_BACKOFF_SECONDS_MAX: Final = 60.0

_LOG: Final = logging.getLogger(__name__)


class Shipper:
    """One task, which delivers page after page, in order."""

    def __init__(
        self,
        recorder: Recorder,
        ledger: Ledger,
        drops: Drops,
        url: str,
        *,
        token_file: Path | None = None,
        timeout_seconds: float = _TIMEOUT_SECONDS,
        look_seconds: float = _LOOK_SECONDS,
    ) -> None:
        """Prepare; `async with` begins.

        Args:
            recorder: has the outbox.
            ledger: opens what is in it.
            drops: hears of events that no request can hold, or that were damaged.
            url: of the collector, without `/logs`.
            token_file: a bearer token, read for every request.
            timeout_seconds: of a request.
            look_seconds: between two looks at an outbox that was empty, and after a first failure.
        """
        self._recorder = recorder
        self._ledger = ledger
        self._drops = drops
        self._url = url.rstrip("/") + "/logs"
        self._token_file = token_file
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._look_seconds = look_seconds
        self._events_max = EVENTS_MAX
        self._task: asyncio.Task[None] | None = None
        self.failing = ""  # why the last request was not taken
        self.delivered = 0

    async def __aenter__(self) -> Self:
        """Begin to deliver.

        Raises:
            ConfigurationError: `config.decision_log`, the URL is none of a collector, the token cannot be read, or
                would cross a network in the clear.
        """
        if _URL.fullmatch(self._url) is None:
            message = "policy.decisions.log.url must begin with http:// or https://, and have no query"
            raise ConfigurationError(message, code="config.decision_log")
        if self._token_file is not None and not _protected(self._url):
            message = (
                "policy.decisions.log.token_file: a token is sent over https, or to this machine, and not otherwise"
            )
            raise ConfigurationError(message, code="config.decision_log")
        self._headers()
        self._task = asyncio.create_task(self._deliver_always())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop; what was not delivered waits for the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _deliver_always(self) -> None:
        wait = self._look_seconds
        async with aiohttp.ClientSession(timeout=self._timeout) as session:
            while True:
                try:
                    more = await self._deliver(session)
                except Exception as error:  # noqa: BLE001 - whatever it was, the events wait and are tried again
                    self._failed(f"{type(error).__name__}: {error}")
                    await asyncio.sleep(wait)
                    wait = min(2 * wait, _BACKOFF_SECONDS_MAX)
                    continue
                wait = self._look_seconds
                if not more:
                    await asyncio.sleep(wait)

    async def _deliver(self, session: aiohttp.ClientSession) -> bool:
        """Deliver one page; return whether there may be more.

        Raises:
            Exception: the collector cannot be asked, answers garbage or has not taken the page, or the outbox cannot
                be read.
        """
        page = await self._recorder.run(partial(self._ledger.waiting, events_max=self._events_max, bytes_max=BYTES_MAX))
        if not page.upto:
            return False
        if page.events:
            status = await self._post(session, page.events)
            if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                await self._too_large(page)
                return True
            if status // 100 != HTTPStatus.OK // 100:
                raise ConfigurationError(f"the collector answers {status}", code="decisions.collector")
        self._drops.count(page.unreadable)  # first: rather told twice than not at all
        await self._recorder.run(partial(self._ledger.delivered, upto=page.upto))
        self._events_max = min(2 * self._events_max, EVENTS_MAX)
        self.delivered += len(page.events)
        if self.failing:
            _LOG.warning("the collector of the decision log takes events again")
            self.failing = ""
        return True

    async def _too_large(self, page: Page) -> None:
        """Ask with less the next time; an event that is too large alone is dropped."""
        if self._events_max > 1:
            self._events_max = max(1, min(len(page.events), self._events_max) // 2)
            return
        self._drops.count(len(page.events) + page.unreadable)
        await self._recorder.run(partial(self._ledger.delivered, upto=page.upto))

    async def _post(self, session: aiohttp.ClientSession, events: Sequence[bytes]) -> int:
        body = await asyncio.to_thread(gzip.compress, b"[" + b",".join(events) + b"]", 6)
        async with session.post(self._url, data=body, headers=self._headers(), allow_redirects=False) as response:
            return response.status

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        if self._token_file is not None:
            try:
                headers["Authorization"] = f"Bearer {read_private(self._token_file).decode('ascii').strip()}"
            except (SecretError, UnicodeDecodeError) as error:
                message = f"the token of the decision log's collector: {error}"
                raise ConfigurationError(message, code="config.decision_log") from error
        return headers

    def _failed(self, why: str) -> None:
        if why != self.failing:
            _LOG.warning("the collector of the decision log takes nothing, and events wait: %s", why)
        self.failing = why


def _protected(url: str) -> bool:
    """Return whether nobody can read on its way what is sent there."""
    try:
        parts = urlsplit(url)
        return parts.scheme == "https" or parts.hostname == "localhost" or ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False

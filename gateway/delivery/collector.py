"""A collector over HTTP: what it is sent gzipped, with whose token, and what it answered. Redirects are not followed.

Neither proxies of the environment nor cookies are used: the configuration says who is spoken to. The token is read for
each request, the certificate authorities after each failure, so that new ones count without a restart.
"""

import asyncio
import gzip
import re
import ssl
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from engine.clock import Clock
from gateway.addresses import is_loopback_host
from gateway.errors import ConfigurationError, SecretError
from gateway.vault.master import read_private

TIMEOUT_SECONDS: Final = 30.0  # from the name to the end of the answer's head
_URL: Final = re.compile(r"https?://[^\s?#@/][^\s?#@]*")
_SECONDS: Final = re.compile(r"[0-9]{1,9}")
_LEVEL: Final = 6  # of gzip


@dataclass(frozen=True, slots=True)
class Answer:
    """What a collector said: the status, and how long it wants to be left alone, where it says so."""

    status: int
    retry_after_seconds: float | None

    @property
    def taken(self) -> bool:
        """Whether the collector has it."""
        return self.status // 100 == HTTPStatus.OK // 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Where in the configuration the collector is, for messages."""

    section: str  # "policy.decisions.log"
    code: str  # of everything that is wrong with it


class Collector:
    """One URL that takes POSTs. `check` before the first one."""

    def __init__(
        self,
        url: str,
        names: Names,
        clock: Clock,
        *,
        token_file: Path | None = None,
        ca_file: Path | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """Name it; nothing is asked.

        Args:
            url: http or https, without user, query and fragment: those would be told wherever the URL is.
            names: for messages.
            clock: to which a date in `Retry-After` is compared.
            token_file: a bearer token, read for every request.
            ca_file: certificate authorities instead of the machine's.
            timeout_seconds: of one request.
        """
        self._url = url
        self._names = names
        self._clock = clock
        self._token_file = token_file
        self._ca_file = ca_file
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._session: aiohttp.ClientSession | None = None

    def check(self) -> None:
        """Return if it can be spoken to as configured.

        Raises:
            ConfigurationError: the URL is none, the token or the authorities cannot be read, or the token would cross
                a network in the clear.
        """
        if _URL.fullmatch(self._url) is None:
            raise self._wrong("url must begin with http:// or https://, and have no query")
        if self._token_file is not None and not is_protected(self._url):
            raise self._wrong("token_file: a token is sent over https, or to this machine, and not otherwise")
        self._token()
        self._tls()

    async def post(self, body: bytes, content_type: str) -> Answer:
        """Send a body, gzipped.

        Raises:
            ConfigurationError: as `check`.
            TimeoutError, OSError, aiohttp.ClientError: there was no answer.
        """
        headers = {"Content-Type": content_type, "Content-Encoding": "gzip", **await asyncio.to_thread(self._token)}
        packed = await asyncio.to_thread(gzip.compress, body, _LEVEL)
        if self._session is None:
            self._session = await self._connect()
        try:
            async with self._session.post(self._url, data=packed, headers=headers, allow_redirects=False) as response:
                return Answer(response.status, self._wait(response.headers.get("Retry-After", "")))
        except Exception:
            await self.close()
            raise

    async def close(self) -> None:
        """Let go of the connection; the next request makes a new one."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _connect(self) -> aiohttp.ClientSession:
        tls = await asyncio.to_thread(self._tls)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, limit=1),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            trust_env=False,
        )

    def _tls(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=None if self._ca_file is None else str(self._ca_file))
        except OSError as error:  # ssl.SSLError among them
            raise self._wrong("ca_file: cannot be read, or has no certificate") from error

    def _token(self) -> dict[str, str]:
        if self._token_file is None:
            return {}
        try:
            token = read_private(self._token_file).decode("ascii").strip()
        except (SecretError, UnicodeDecodeError) as error:
            raise self._wrong(f"token_file: {error}") from error
        if not token or not token.isprintable() or " " in token:
            raise self._wrong("token_file: must have one token")
        return {"Authorization": f"Bearer {token}"}

    def _wait(self, header: str) -> float | None:
        """Return the seconds of a `Retry-After`, a number or a date (RFC 9110, 10.2.3); None where it is neither."""
        if _SECONDS.fullmatch(header):
            return float(header)
        try:
            moment = parsedate_to_datetime(header)
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(0.0, (moment - self._clock.now()).total_seconds())

    def _wrong(self, message: str) -> ConfigurationError:
        return ConfigurationError(f"{self._names.section}.{message}", code=self._names.code)


def is_protected(url: str) -> bool:
    """Return whether nobody can read on its way what is sent there."""
    try:
        parts = urlsplit(url)
        return parts.scheme == "https" or is_loopback_host(parts.hostname or "")
    except ValueError:
        return False

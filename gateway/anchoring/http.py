"""HTTP to witnesses and anchors: bounded, without redirects, and without proxies of the environment.

The configuration says who is asked; no one else is.
"""

import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import aiohttp

from engine.audit.witness import ANSWER_BYTES_MAX
from gateway.anchoring.ports import Answer, UnreachableError
from gateway.outbound import TokenFileError, bearer_token, open_session, read_bounded, tls_of, what_failed

CONNECT_SECONDS_MAX: Final = 5.0


class HttpClient:
    """One server, over a connection that is kept. `close` ends it."""

    def __init__(self, url: str, *, ca_file: Path | None, timeout_seconds: float) -> None:
        """Take the URL; nothing is asked yet.

        Args:
            url: of the server, checked by the configuration.
            ca_file: PEM of the authorities to believe instead of the system's.
            timeout_seconds: of a request, from the name to the last byte.
        """
        self._url = url.rstrip("/")
        self._ca_file = ca_file
        self._timeout_seconds = timeout_seconds
        self._session: aiohttp.ClientSession | None = None

    async def request(self, method: str, path: str, *, body: bytes = b"", headers: Mapping[str, str]) -> Answer:
        """Ask once.

        Raises:
            UnreachableError: no answer in time, or one over its bound.
        """
        try:
            async with asyncio.timeout(self._timeout_seconds):
                session = await self._opened()
                async with session.request(
                    method, self._url + path, data=body or None, headers=dict(headers), allow_redirects=False
                ) as response:
                    return Answer(
                        status=response.status,
                        content_type=response.headers.get("Content-Type", ""),
                        body=await _body(response),
                    )
        except TimeoutError:
            raise UnreachableError(f"no answer in {self._timeout_seconds:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise UnreachableError(what_failed(error)) from error

    async def close(self) -> None:
        """Close the connection."""
        if self._session is not None:
            await self._session.close()

    async def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            tls = await asyncio.to_thread(self._tls) if self._url.startswith("https:") else None
            self._session = open_session(tls, connect_seconds_max=CONNECT_SECONDS_MAX, connections_max=2)
        return self._session

    def _tls(self) -> ssl.SSLContext:
        try:
            return tls_of(self._ca_file)
        except OSError as error:
            raise UnreachableError(f"ca_file: {error.strerror or 'is no certificate'}") from error


class HttpWitness:
    """A witness at its submission prefix. Source: C2SP tlog-witness, add-checkpoint."""

    def __init__(self, client: HttpClient) -> None:
        self._client = client

    async def add_checkpoint(self, body: bytes) -> Answer:
        """POST the body."""
        headers = {"Content-Type": "text/plain; charset=utf-8", "Accept-Encoding": "identity"}
        return await self._client.request("POST", "/add-checkpoint", body=body, headers=headers)


class HttpPlace:
    """A URL that takes the newest checkpoint by PUT, and gives it by GET where it can."""

    _DONE: Final = frozenset({200, 201, 204})
    _TELLS_NOTHING: Final = frozenset({401, 403, 404, 405, 410, 501})

    def __init__(self, client: HttpClient, name: str, token_file: Path | None) -> None:
        self._client = client
        self._token_file = token_file
        self.name = name

    async def read(self) -> bytes | None:
        """GET it; a server that has none, or does not give it to us, says nothing against us."""
        answer = await self._client.request("GET", "", headers=await self._headers())
        if answer.status in self._TELLS_NOTHING:
            return None
        if answer.status != 200:  # noqa: PLR2004 - OK
            raise UnreachableError(f"GET: it answers {answer.status}")
        return answer.body

    async def put(self, note: bytes) -> None:
        """PUT it."""
        headers = {**await self._headers(), "Content-Type": "text/plain; charset=utf-8"}
        answer = await self._client.request("PUT", "", body=note, headers=headers)
        if answer.status not in self._DONE:
            raise UnreachableError(f"PUT: it answers {answer.status}")

    async def _headers(self) -> dict[str, str]:
        headers = {"Accept-Encoding": "identity"}
        if self._token_file is not None:
            try:
                token = await asyncio.to_thread(bearer_token, self._token_file)
            except TokenFileError as error:
                raise UnreachableError(f"token_file: {error}") from error
            headers["Authorization"] = f"Bearer {token}"
        return headers


async def _body(response: aiohttp.ClientResponse) -> bytes:
    body = await read_bounded(response, ANSWER_BYTES_MAX)
    if body is None:
        raise UnreachableError(f"its answer is over {ANSWER_BYTES_MAX} bytes")
    return body

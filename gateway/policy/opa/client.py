"""The one module that knows opa-python-client: a session of our own making in it, and answers with a maximum.

The package has no Unix sockets, no authorities of one's own and no bound on what it reads, and its ready-made queries
parse and build JSON that is already bytes here. What is used of it: addresses, headers and the request itself.
`_session`, `_connector`, `_init_session` and `_request` are its private names; a test holds that they are there.
"""

from dataclasses import dataclass
from typing import Final

import aiohttp
from opa_client.opa_async import AsyncOpaClient  # type: ignore[import-untyped]
from yarl import URL

from gateway.outbound import read_bounded
from gateway.policy.opa.settings import OpaSettings
from gateway.watch import traceparent

CONNECTIONS_MAX: Final = 64  # what is over it waits, within its deadline
_HEADERS: Final = {"Accept-Encoding": "identity", "User-Agent": "missiongate"}  # no decompression: no bombs
_JSON: Final = {"Content-Type": "application/json"}


class TransportError(Exception):
    """The server could not be spoken to: not reached, or lost before its answer was whole. It may pass."""


class GarbageError(Exception):
    """What came back is no HTTP answer, or none that is taken. Asking again would not change it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, whole."""

    status: int
    body: bytes


class Client(AsyncOpaClient):  # type: ignore[misc]
    """opa-python-client with connections as `OpaSettings` says. Made and closed within one event loop."""

    def __init__(self, settings: OpaSettings) -> None:
        super().__init__(
            host=settings.host,
            port=settings.port,
            ssl=settings.tls is not None,
            headers=dict(_HEADERS),
            token=settings.token or None,
            retries=0,  # ours know what may be asked again, and end with the deadline
        )
        self._settings = settings
        self._root: str = f"{self.schema}{self.host}:{self.port}{settings.prefix}"

    async def _init_session(self) -> None:
        """Make the session: no proxy, netrc or cookie of the environment, no time of its own, nothing unpacked."""
        self._connector = self._new_connector()
        self._session: aiohttp.ClientSession | None = aiohttp.ClientSession(
            headers=self.headers,
            connector=self._connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        )

    def _new_connector(self) -> aiohttp.BaseConnector:
        if self._settings.socket:
            return aiohttp.UnixConnector(self._settings.socket, limit=CONNECTIONS_MAX)
        return aiohttp.TCPConnector(ssl=self._settings.tls or True, limit=CONNECTIONS_MAX)

    async def fetch(self, method: str, path: str, body: bytes | None, bytes_max: int) -> Answer:
        """Ask once. `path` is percent-encoded and begins with `/`.

        Raises:
            TransportError: not reached, or lost on the way.
            GarbageError: no HTTP, packed, or over `bytes_max`.
        """
        if self._session is None:
            await self._init_session()
        url = URL(self._root + path, encoded=True)
        headers = dict(_JSON) if body is not None else {}
        if (position := traceparent()) is not None:
            headers["traceparent"] = position
        try:
            request = self._request(method, url, data=body, headers=headers, allow_redirects=False)
            async with request as response:
                return Answer(response.status, await _read(response, bytes_max))
        except aiohttp.ClientResponseError as error:
            raise GarbageError(f"the answer is no HTTP ({error.message[:200]})") from error
        except (aiohttp.ClientError, OSError) as error:
            raise TransportError(_why(error)) from error


async def _read(response: aiohttp.ClientResponse, bytes_max: int) -> bytes:
    if "Content-Encoding" in response.headers:
        raise GarbageError("the answer is packed, and nobody asked for that")
    body = await read_bounded(response, bytes_max)
    if body is None:
        raise GarbageError(f"the answer has more than {bytes_max} bytes")
    return body


def _why(error: Exception) -> str:
    """Return what an operator can do something about: a certificate's fault, or the system's word."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
        return f"its certificate is refused: {getattr(cause, 'verify_message', '') or type(cause).__name__}"
    if isinstance(error, aiohttp.ClientSSLError):
        return "no TLS connection came about"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:200]
    return "the connection was lost"

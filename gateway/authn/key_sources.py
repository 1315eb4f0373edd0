"""Where an issuer's keys are read from: a file, or an https URL."""

import asyncio
from pathlib import Path
from typing import Final, Protocol

import aiohttp

from gateway.authn.jwks import SET_BYTES_MAX
from gateway.outbound import open_session, read_bounded, tls_of, what_failed

FETCH_SECONDS_MAX: Final = 5.0  # from the name to the last byte: a call may be waiting
CONNECT_SECONDS_MAX: Final = 3.0
_OK: Final = 200


class KeySourceError(Exception):
    """The source gives nothing now; the message is ours, and has nothing of what was answered."""


class KeySource(Protocol):
    """Gives the bytes of a JWK Set."""

    @property
    def name(self) -> str:
        """What the log calls it."""

    async def read(self) -> bytes:
        """Ask once.

        Raises:
            KeySourceError: there is no answer, or one over its bound.
        """


class KeyFile:
    """A file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = str(path)

    async def read(self) -> bytes:
        """Read it."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                raw = file.read(SET_BYTES_MAX + 1)
        except OSError as error:
            raise KeySourceError(f"cannot be read ({error.strerror})") from error
        if len(raw) > SET_BYTES_MAX:
            raise KeySourceError(f"is over {SET_BYTES_MAX} bytes")
        return raw


class KeyUrl:
    """A server that gives the set over https. No redirect is followed, and no proxy of the environment used."""

    def __init__(self, url: str, *, ca_file: Path | None = None) -> None:
        """Take the URL, which the configuration has checked, and authorities to believe instead of the system's."""
        self._url = url
        self._ca_file = ca_file
        self.name = url.partition("?")[0]

    async def read(self) -> bytes:
        """Ask the server once, over a connection of its own."""
        try:
            async with asyncio.timeout(FETCH_SECONDS_MAX):
                return await self._get()
        except TimeoutError as error:
            raise KeySourceError(f"did not answer in {FETCH_SECONDS_MAX:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise KeySourceError(what_failed(error)) from error

    async def _get(self) -> bytes:
        tls = await asyncio.to_thread(tls_of, self._ca_file) if self._url.startswith("https:") else None
        async with (
            open_session(tls, connect_seconds_max=CONNECT_SECONDS_MAX, kept=False) as session,
            session.get(
                self._url,
                headers={"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"},
                allow_redirects=False,
            ) as response,
        ):
            if response.status != _OK:
                raise KeySourceError(f"answered {response.status}")
            keys = await read_bounded(response, SET_BYTES_MAX)
        if keys is None:
            raise KeySourceError(f"gives more than {SET_BYTES_MAX} bytes")
        return keys

"""A server that bundles come from, and that is asked again and again.

The connection is made anew for each question, so that a new certificate, token or address counts at once. Redirects are
not followed and the environment's proxies are not used: the configuration says who is asked.
"""

import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

import aiohttp

from gateway.addresses import is_loopback_host
from gateway.bundles.sources import Fetched
from gateway.errors import BundleSourceError, ConfigurationError, PolicyInvalidError
from gateway.outbound import TokenFileError, bearer_token, open_session, read_bounded, tls_of, what_failed
from gateway.policy.bundle_files import ARCHIVE_BYTES_MAX

FETCH_SECONDS_MAX: Final = 30.0  # from the name to the last byte
CONNECT_SECONDS_MAX: Final = 10.0
ETAG_CHARS_MAX: Final = 256

_OK, _NOT_MODIFIED = 200, 304


class UrlSource:
    """A server that gives a tar.gz over HTTP or HTTPS."""

    remote = True

    def __init__(self, url: str, *, ca_file: Path | None = None, token_file: Path | None = None) -> None:
        """Check the URL; nothing is asked yet.

        Raises:
            ConfigurationError: `config.policy_source`: credentials in the URL, a fragment, no host, or a token that
                would cross a network in the clear.
        """
        parts = _split(url)
        if parts is None or not parts.hostname or parts.username is not None or parts.fragment:
            message = "policy.source: must be http(s)://host/path, without a user or a fragment"
            raise ConfigurationError(message, code="config.policy_source")
        self.protected = parts.scheme == "https" or is_loopback_host(parts.hostname)
        if token_file is not None and not self.protected:
            message = "policy.bundles.token_file: a token is sent over https, or to this machine, and not otherwise"
            raise ConfigurationError(message, code="config.policy_source")
        self._url = url
        self._name = f"{parts.scheme}://{parts.netloc}{parts.path}"
        self._ca_file = ca_file
        self._token_file = token_file

    @property
    def name(self) -> str:
        """The URL without its query, which may be a signature that opens a store."""
        return self._name

    async def fetch(self, etag: str) -> Fetched | None:
        """Ask the server once."""
        headers = {"Accept": "application/gzip, application/octet-stream", "Accept-Encoding": "identity"}
        if etag:
            headers["If-None-Match"] = etag
        if self._token_file is not None:
            headers["Authorization"] = f"Bearer {await asyncio.to_thread(_token, self._token_file)}"
        try:
            async with asyncio.timeout(FETCH_SECONDS_MAX):
                return await self._get(headers, asked_for_change=bool(etag))
        except TimeoutError as error:
            raise _unavailable(f"{self._name} did not answer in {FETCH_SECONDS_MAX:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _unavailable(f"{self._name}: {what_failed(error)}") from error

    async def _get(self, headers: Mapping[str, str], *, asked_for_change: bool) -> Fetched | None:
        tls = await asyncio.to_thread(self._tls) if self._url.startswith("https:") else None
        async with (
            open_session(tls, connect_seconds_max=CONNECT_SECONDS_MAX, kept=False) as session,
            session.get(self._url, headers=headers, allow_redirects=False) as response,
        ):
            if response.status == _NOT_MODIFIED and asked_for_change:
                return None
            if response.status != _OK:
                raise _unavailable(f"{self._name} answered {response.status}")
            archive = await _body(response)
            etag = response.headers.get("ETag", "")
        return Fetched(archive=archive, etag=etag if len(etag) <= ETAG_CHARS_MAX and etag.isprintable() else "")

    def _tls(self) -> ssl.SSLContext:
        try:
            return tls_of(self._ca_file)
        except OSError as error:
            raise _unavailable(f"policy.bundles.ca_file: {error.strerror or 'is no certificate'}") from error


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """Return the content, as far as a bundle may be large."""
    if response.content_length is not None and response.content_length > ARCHIVE_BYTES_MAX:
        raise _too_large()
    archive = await read_bounded(response, ARCHIVE_BYTES_MAX)
    if archive is None:
        raise _too_large()
    return archive


def _too_large() -> PolicyInvalidError:
    return PolicyInvalidError(f"the archive is over {ARCHIVE_BYTES_MAX} bytes", code="policy.too_large")


def _token(path: Path) -> str:
    try:
        return bearer_token(path)
    except TokenFileError as error:
        raise _unavailable(f"policy.bundles.token_file: {error}") from error


def _split(url: str) -> SplitResult | None:
    """Return the parts of an http(s) URL; None: it is none, or names a port that there is not."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in {"http", "https"} and parts.port != 0
    except ValueError:
        return None
    return parts if known else None


def _unavailable(message: str) -> BundleSourceError:
    return BundleSourceError(message, code="policy.source_unavailable")

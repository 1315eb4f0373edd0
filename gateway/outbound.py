"""How the gateway itself asks servers that its configuration names, and no others: no redirects, proxies or cookies."""

import ssl
from pathlib import Path
from typing import Final

import aiohttp

TOKEN_BYTES_MAX: Final = 8 * 1024
_CHUNK_BYTES: Final = 64 * 1024


class TokenFileError(Exception):
    """A file has no bearer token; the message repeats nothing of it."""


def tls_of(ca_file: Path | None) -> ssl.SSLContext:
    """Return a context that believes the authorities of a file, or else the system's.

    Raises:
        OSError: the file cannot be read, or has none (`ssl.SSLError`).
    """
    return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))


def open_session(
    tls: ssl.SSLContext | None, *, connect_seconds_max: float, connections_max: int = 1, kept: bool = True
) -> aiohttp.ClientSession:
    """Return a session; whoever asks sets the time of a request, and passes `allow_redirects=False`.

    Args:
        tls: None where the URL is not https.
        connect_seconds_max: how long a connection may take to be made.
        connections_max: how many there may be at once.
        kept: whether a connection is used for another request.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=tls or False, limit=connections_max, force_close=not kept),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds_max),
        auto_decompress=False,
        trust_env=False,
        requote_redirect_url=False,
    )


async def read_bounded(response: aiohttp.ClientResponse, bytes_max: int) -> bytes | None:
    """Return the content of an answer, or None where it has more; what a server says of its length is not relied on."""
    out = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        out += chunk
        if len(out) > bytes_max:
            return None
    return bytes(out)


def bearer_token(path: Path) -> str:
    """Return the bearer token of a file. Read it for each request: a new one counts at once.

    Raises:
        TokenFileError: it cannot be read, or has none.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(TOKEN_BYTES_MAX + 1)
        token = raw.decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise TokenFileError("cannot be read, or is not ASCII") from error
    if not token or len(raw) > TOKEN_BYTES_MAX or not token.isprintable() or " " in token:
        raise TokenFileError("must have one token")
    return token


def what_failed(error: Exception) -> str:
    """Return what went wrong with a request, without what a server or a library may have put into it."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError | ssl.SSLError):
        return "its certificate is not accepted, or TLS failed"
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ClientOSError):
        return "no connection"
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError):
        return "the connection ended before the answer did"
    return type(error).__name__

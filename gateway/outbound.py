"""How the gateway itself asks servers that its configuration names, and no others: no redirects, proxies or cookies."""

import ssl
from pathlib import Path

import aiohttp


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

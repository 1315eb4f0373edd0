"""How an OPA is reached: `[policy.opa]` of the configuration, its files read and every contradiction in it refused."""

import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import SplitResult, urlsplit

from gateway.addresses import is_loopback_host
from gateway.errors import ConfigurationError

TOKEN_BYTES_MAX: Final = 16 * 1024
SOCKET_PATH_BYTES_MAX: Final = 107  # sun_path, less its NUL; unix(7)
_PORTS: Final = {"http": 80, "https": 443}
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]+")  # RFC 6750, 2.1: b64token
_WHERE: Final = "policy.opa"


class OpaTable(Protocol):
    """The fields of `[policy.opa]` that are read here; files are relative to the home, "" is none."""

    @property
    def url(self) -> str: ...  # noqa: D102
    @property
    def ca_file(self) -> str: ...  # noqa: D102
    @property
    def cert_file(self) -> str: ...  # noqa: D102
    @property
    def key_file(self) -> str: ...  # noqa: D102
    @property
    def token_file(self) -> str: ...  # noqa: D102
    @property
    def retries(self) -> int: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class OpaSettings:
    """Where an OPA listens, and how it is spoken to."""

    host: str = "127.0.0.1"
    port: int = 8181
    prefix: str = ""  # before `/v1`, where OPA stands behind a proxy
    socket: str = ""  # a Unix socket's path; host and port are then nobody's
    tls: ssl.SSLContext | None = None  # None: plain HTTP
    token: str = field(default="", repr=False)
    retries: int = 2  # after the first try; all of them within one deadline


def read_settings(table: OpaTable, home: Path) -> OpaSettings:
    """Turn the table into settings; its files are read now, so a gateway with a missing one does not start.

    Raises:
        ConfigurationError: `config.invalid`, with the field: a URL that cannot be, a file that is missing or is not
            what it should be, a key without its certificate, or decisions that would travel unprotected.
    """
    token = _token(home, table.token_file) if table.token_file else ""
    if table.url.startswith("unix://"):
        _no_tls_files(table, "a Unix socket")
        return OpaSettings(socket=_socket(table.url.removeprefix("unix://")), token=token, retries=table.retries)
    try:
        url = urlsplit(table.url)
        port = url.port or _PORTS[url.scheme]
    except (ValueError, KeyError) as error:
        raise _refused("url", f"{table.url!r} is no http, https or unix URL") from error
    if not url.hostname or url.username is not None or url.query or url.fragment:
        raise _refused("url", "needs a host, and takes no user, query or fragment (token_file has a place for a token)")
    if url.scheme == "http":
        _no_tls_files(table, "plain http")
        if not is_loopback_host(url.hostname):
            raise _refused("url", "plain http is for loopback only: decisions would travel unprotected; use https")
    return OpaSettings(
        host=_host(url),
        port=port,
        prefix=url.path.rstrip("/"),
        tls=_tls(table, home) if url.scheme == "https" else None,
        token=token,
        retries=table.retries,
    )


def _refused(name: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"{_WHERE}.{name}: {why}")


def _host(url: SplitResult) -> str:
    host = url.hostname or ""
    return f"[{host}]" if ":" in host else host


def _socket(path: str) -> str:
    if len(path.encode()) > SOCKET_PATH_BYTES_MAX:
        raise _refused("url", f"the path of a Unix socket has at most {SOCKET_PATH_BYTES_MAX} bytes")
    return path


def _no_tls_files(table: OpaTable, what: str) -> None:
    for name in ("ca_file", "cert_file", "key_file"):
        if getattr(table, name):
            raise _refused(name, f"{what} has no certificates: it needs an https URL")


def _tls(table: OpaTable, home: Path) -> ssl.SSLContext:
    """Return a context that checks the server's certificate and name, TLS 1.2 or newer.

    Not `ssl.create_default_context`: that one writes session keys to the file that SSLKEYLOGFILE names.
    """
    if bool(table.cert_file) != bool(table.key_file):
        missing = "key_file" if table.cert_file else "cert_file"
        raise _refused(missing, "a client certificate and its key go together, and this one is missing")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if table.ca_file:
        _load_authorities(context, _readable(home, "ca_file", table.ca_file))
    else:
        context.load_default_certs()
    if table.cert_file:
        _load_chain(
            context,
            _readable(home, "cert_file", table.cert_file),
            _readable(home, "key_file", table.key_file),
        )
    return context


def _load_authorities(context: ssl.SSLContext, path: Path) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise _refused("ca_file", f"{path}: no certificates in PEM") from error


def _load_chain(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        # Without a callback OpenSSL would ask the terminal for the passphrase of an encrypted key.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (ssl.SSLError, OSError, ValueError) as error:
        message = f"{certificate} and {key} are no certificate and its unencrypted key in PEM"
        raise _refused("cert_file", message) from error


def _readable(home: Path, name: str, file: str) -> Path:
    path = home / file
    try:
        with path.open("rb"):
            return path
    except OSError as error:
        raise _refused(name, f"{path}: {error.strerror or 'unreadable'}") from error


def _token(home: Path, file: str) -> str:
    path = home / file
    try:
        with path.open("rb") as opened:
            text = opened.read(TOKEN_BYTES_MAX + 1)
    except OSError as error:
        raise _refused("token_file", f"{path}: {error.strerror or 'unreadable'}") from error
    token = text.decode("ascii", "replace").strip()
    if len(text) > TOKEN_BYTES_MAX or not _TOKEN.fullmatch(token):
        raise _refused("token_file", f"{path}: no bearer token of at most {TOKEN_BYTES_MAX} bytes (RFC 6750, 2.1)")
    return token

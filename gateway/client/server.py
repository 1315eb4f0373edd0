"""Where a gateway is, how its channel is secured, and who asks: the address, TLS, and the bearer token."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from gateway.errors import ConfigurationError

TOKEN_VARIABLE: Final = "MISSIONGATE_TOKEN"  # noqa: S105 - where it is, not what it is
SOCKET_PREFIX: Final = "unix:"
PORT_MAX: Final = 65_535
SOCKET_PATH_BYTES_MAX: Final = 107  # of sockaddr_un
TOKEN_CHARS_MAX: Final = 8_192  # a JWT may have a few thousand
_PEM_BYTES_MAX: Final = 1024 * 1024  # all authorities of a distribution are a quarter of that
_TOKEN: Final = re.compile(r"[!-~]+")
_ADDRESS: Final = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):(?P<port>[0-9]{1,5})")
_CERTIFICATE: Final = b"-----BEGIN CERTIFICATE-----"
_KEY: Final = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")

TokenSource = Callable[[], str]
"""Gives the token for one attempt of a call: the place to refresh a JWT. May block; is called often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """What secures a channel: whom to believe, and, for mutual TLS, who the caller is. All of it PEM."""

    ca: bytes | None = None  # None: the authorities that gRPC brings along
    certificate: bytes | None = field(default=None, repr=False)  # with the chain up to the authority
    key: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if (self.certificate is None) is not (self.key is None):
            raise ConfigurationError("a certificate and its key go together", code="tls.half")
        for what, pem in (("authority", self.ca), ("certificate", self.certificate)):
            if pem is not None and _CERTIFICATE not in pem:
                raise ConfigurationError(f"the {what} is no certificate in PEM", code="tls.no_certificate")
        if self.key is not None and not _KEY.search(self.key):
            raise ConfigurationError("the key is no private key in PEM", code="tls.no_key")

    @classmethod
    def of(cls, ca: Path | None = None, certificate: Path | None = None, key: Path | None = None) -> "Tls | None":
        """Read files; None where there is nothing to read.

        Raises:
            ConfigurationError: `tls.half`, `tls.unreadable`, `tls.no_certificate`, `tls.no_key`.
        """
        if ca is None and certificate is None and key is None:
            return None
        return cls(ca=_read_pem(ca), certificate=_read_pem(certificate), key=_read_pem(key))


@dataclass(frozen=True, slots=True)
class TokenFile:
    """A token in a file, which is read for each attempt: what renews it there needs to tell nobody."""

    path: Path

    def __call__(self) -> str:
        """Return the token.

        Raises:
            ConfigurationError: `token.unreadable`.
        """
        try:
            with self.path.open("rb") as file:
                return file.read(TOKEN_CHARS_MAX + 2).decode("ascii", "replace").strip()
        except OSError as error:
            message = f"{self.path}: the token cannot be read ({error.strerror})"
            raise ConfigurationError(message, code="token.unreadable") from error


@dataclass(frozen=True, slots=True)
class Server:
    """A gateway's address, and who asks.

    `address` is host:port, or unix:PATH for a socket of this machine. A token in the clear stays on this machine.

    Raises:
        ConfigurationError: `server.address`, `server.cleartext`, `server.tls`, `token.invalid`.
    """

    address: str
    token: str | TokenSource | None = field(default=None, repr=False)
    tls: Tls | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        local = self._is_local()
        if self.is_socket and self.tls is not None:
            message = f"{self.address} is a socket of this machine, and needs no certificates"
            raise ConfigurationError(message, code="server.tls")
        if self.token is not None and self.tls is None and not local:
            raise ConfigurationError(
                f"{self.address} is not on this machine, and without TLS the token would travel in the clear; "
                "name the certificate of the gateway's authority",
                code="server.cleartext",
            )
        if isinstance(self.token, str):
            _checked(self.token)

    @classmethod
    def of(cls, address: str, token_file: Path | None = None, *, tls: Tls | None = None) -> "Server":
        """Take the token from a file, or from MISSIONGATE_TOKEN: never from an argument, which `ps` shows.

        Raises:
            ConfigurationError: the address, the token or TLS cannot be used, or the token would travel in the clear.
        """
        if token_file is not None:
            _checked(TokenFile(token_file)())  # what cannot be read is told before anything is dialled
            return cls(address, TokenFile(token_file), tls=tls)
        return cls(address, os.environ.get(TOKEN_VARIABLE, "").strip() or None, tls=tls)

    @property
    def is_socket(self) -> bool:
        """Whether it is a Unix socket."""
        return self.address.startswith(SOCKET_PREFIX)

    def bearer(self) -> str | None:
        """Return the token for one attempt.

        Raises:
            ConfigurationError: `token.unreadable`, `token.invalid`.
        """
        return _checked(self.token()) if callable(self.token) else self.token

    def _is_local(self) -> bool:
        """Return whether the address leads to this machine only, and nothing on the way can listen."""
        if self.is_socket:
            path = self.address.removeprefix(SOCKET_PREFIX)
            if not path or "\0" in path or len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX:
                raise ConfigurationError(f"{self.address!r} names no socket; write unix:PATH", code="server.address")
            return True
        found = _ADDRESS.fullmatch(self.address)
        if found is None or not 0 < int(found["port"]) <= PORT_MAX:
            message = f"{self.address!r} is no address; write host:port, or unix:PATH"
            raise ConfigurationError(message, code="server.address")
        return _is_loopback(found["host"])


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _checked(token: str) -> str:
    if len(token) > TOKEN_CHARS_MAX or not _TOKEN.fullmatch(token):
        raise ConfigurationError("the bearer token is empty, too long or no ASCII text", code="token.invalid")
    return token


def _read_pem(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            return file.read(_PEM_BYTES_MAX)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigurationError(f"{path}: cannot be read ({why})", code="tls.unreadable") from error

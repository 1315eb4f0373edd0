"""Where the server listens: an address, with TLS or without; one for clients with certificates; sockets of principals.

The main server has the addresses. Each socket has a server of its own, since a call does not say through which of a
server's listeners it came: whose socket it is has to be known to whoever reads the call.
"""

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import grpc
import grpc.aio

from gateway.authn.sockets import Socket, prepare
from gateway.authn.tls_files import TlsFiles, TlsMaterial
from gateway.errors import ConfigurationError

SOCKET_MODE: Final = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """Where to listen. `port 0` takes a free one."""

    address: str  # host:port; with TLS where there is any
    tls: TlsFiles | None = None
    client_address: str = ""  # where certificates are wanted; "": at `address`, if clients have authorities
    plain_address: str = ""  # of loopback, without TLS
    sockets: Sequence[Socket] = ()
    home: Path  # where the socket is by which the main server calls itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """Where the gateway listens."""

    address: str = ""
    client_address: str = ""
    plain_address: str = ""
    sockets: tuple[str, ...] = ()  # paths


def bind(server: grpc.aio.Server, listening: Listening) -> Bound:
    """Let a server listen on the addresses, and return them with their ports, and the paths of sockets to come.

    Raises:
        ConfigurationError: `config.listen`, one cannot be had.
    """
    tls = listening.tls
    sockets = tuple(str(socket.path) for socket in listening.sockets)
    if tls is None:
        return Bound(address=_port(server, listening.address, None), sockets=sockets)
    everywhere = tls.material.clients is not None and not listening.client_address
    return Bound(
        address=_port(server, listening.address, credentials_of(tls, clients=everywhere)),
        client_address=_port(server, listening.client_address, credentials_of(tls, clients=True))
        if listening.client_address
        else "",
        plain_address=_port(server, listening.plain_address, None) if listening.plain_address else "",
        sockets=sockets,
    )


def bind_sockets(stack: ExitStack, servers: Sequence[tuple[Socket, grpc.aio.Server]]) -> None:
    """Let each server listen on its principal's socket; what `stack` closes takes the sockets away.

    Raises:
        ConfigurationError: `config.socket`, `config.listen`.
    """
    prepare(stack, [socket for socket, _ in servers])
    for socket, server in servers:
        try:
            server.add_insecure_port(socket_uri(socket))
            socket.path.chmod(SOCKET_MODE)
        except (RuntimeError, OSError) as error:
            raise ConfigurationError(f"cannot listen on {socket.path}", code="config.listen") from error


def socket_uri(socket: Socket) -> str:
    """Return what gRPC calls a socket."""
    return f"unix:{quote(str(socket.path.absolute()))}"


def credentials_of(files: TlsFiles, *, clients: bool) -> grpc.ServerCredentials:
    """Return credentials that follow the files: each new connection has what is good then."""
    given = files.material
    turn = threading.Lock()

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        nonlocal given
        with turn:  # connections come on threads of gRPC's own
            material = files.material
            if material is given:
                return None
            given = material
        return _configuration(material, clients=clients)

    # The stubs do not know that None is an answer: "no change" (grpc.dynamic_ssl_server_credentials).
    follow: Any = fetch
    return grpc.dynamic_ssl_server_credentials(_configuration(given, clients=clients), follow, clients)


def _configuration(material: TlsMaterial, *, clients: bool) -> grpc.ServerCertificateConfiguration:
    roots = material.clients.pem if clients and material.clients is not None else None
    return grpc.ssl_server_certificate_configuration([(material.key_pem, material.certificate_pem)], roots)


def _port(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None) -> str:
    try:
        port = (
            server.add_insecure_port(address) if credentials is None else server.add_secure_port(address, credentials)
        )
    except RuntimeError as error:
        raise ConfigurationError(f"cannot listen on {address}", code="config.listen") from error
    return f"{address.rpartition(':')[0]}:{port}"

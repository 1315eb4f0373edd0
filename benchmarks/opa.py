"""OPA's own server over loopback, answering from the same bundle: the peer of a policy decision.

The client is a bare socket that sends bytes made beforehand, so that hardly anything of what is measured is Python's.
"""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import orjson

PROGRAM: Final = Path(__file__).resolve().parent.parent / ".tools" / "bin" / "opa"
MISSING: Final = "OPA: tools/install_opa.sh builds it"
_START_SECONDS_MAX: Final = 10.0
_HEADERS_END: Final = b"\r\n\r\n"


class Connection:
    """One kept-alive connection to a server."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10.0)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        """End it."""
        self._socket.close()

    def ask(self, request: bytes) -> bytes:
        """Send one request; return the body of its answer, which carries a Content-Length."""
        self._socket.sendall(request)
        answer = self._socket.recv(65_536)
        while _HEADERS_END not in answer:
            answer += self._more()
        head, _, body = answer.partition(_HEADERS_END)
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        while len(body) < length:
            body += self._more()
        return body

    def _more(self) -> bytes:
        received = self._socket.recv(65_536)
        if not received:
            raise ConnectionError("OPA closed the connection")
        return received


def request(entrypoint: str, document: bytes) -> bytes:
    """Return the HTTP request for one decision; `document` is the JSON of the input."""
    body = b'{"input":' + document + b"}"
    head = f"POST /v1/data/gateway/{entrypoint}/decision HTTP/1.1\r\nHost: opa\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def allowed(answer: bytes) -> bool:
    """Return what a decision says."""
    return bool(orjson.loads(answer)["result"]["allow"])


def free_port() -> int:
    """Return a port of loopback that nobody has at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def serving(bundle: Path) -> Iterator[Connection]:
    """Run a server on the bundle in `bundle`, logging nothing, and give a connection to it.

    Raises:
        TimeoutError: it does not answer.
    """
    port = free_port()
    with running(bundle, f"127.0.0.1:{port}"):
        connection = Connection(port)
        try:
            yield connection
        finally:
            connection.close()


@contextmanager
def running(bundle: Path, address: str) -> Iterator[None]:
    """Run a server at `address`, `host:port` or `unix://path`, for as long as the block lasts; it listens.

    Raises:
        TimeoutError: it does not answer.
    """
    options = ["--addr", address, "--log-level", "error", "--skip-version-check"]
    command = [str(PROGRAM), "run", "--server", *options, "--bundle", str(bundle)]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)  # noqa: TID251 - a peer, no part of the gateway
    try:
        _wait_for(address)
        yield
    finally:
        server.terminate()
        server.wait()


def _wait_for(address: str) -> None:
    until = time.monotonic() + _START_SECONDS_MAX
    while time.monotonic() < until:
        try:
            if address.startswith("unix://"):
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.connect(address.removeprefix("unix://"))
            else:
                host, _, port = address.rpartition(":")
                socket.create_connection((host, int(port)), timeout=1.0).close()
        except OSError:
            time.sleep(0.01)
        else:
            return
    raise TimeoutError("OPA does not listen")

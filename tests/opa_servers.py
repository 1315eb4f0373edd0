"""A real OPA as the gateway has it beside itself: with a bundle from a file; killed, paused, started again at will."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gateway.policy.opa.settings import OpaSettings
from tests import opa

_START_SECONDS = 20.0


def program() -> str:
    """Return the pinned OPA; where there is none, fail in CI and skip elsewhere."""
    path, why_not = opa.find()
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail(why_not, pytrace=False)
        pytest.skip(why_not)
    return path


def free_port() -> int:
    """Return a port of loopback that nobody has at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


class OpaBeside:
    """`opa run --server` with a configuration; on a Unix socket in `folder`, or where `address` says."""

    def __init__(self, folder: Path, *arguments: str, address: str = "", config: dict[str, Any] | None = None) -> None:
        self.folder = folder
        self.archive = folder / "bundle.tar.gz"
        self.socket = folder / "opa.sock"
        self._address = address or f"unix://{self.socket}"
        self._arguments: Sequence[str] = arguments
        self._bundle = [] if config else ["--watch", "--bundle", str(self.archive)]
        self._config = config or {}
        self._process: subprocess.Popen[bytes] | None = None  # noqa: TID251 - a peer, not a worker

    @property
    def settings(self) -> OpaSettings:
        """How it is reached over its socket."""
        return OpaSettings(socket=str(self.socket))

    def start(self) -> "OpaBeside":
        """Start it; return once it listens."""
        (self.folder / "opa.json").write_text(json.dumps(self._config))
        self.socket.unlink(missing_ok=True)
        log = (self.folder / "opa.log").open("ab")
        with log:
            self._process = subprocess.Popen(  # noqa: TID251 - a peer, not a worker
                [
                    *(program(), "run", "--server", "--addr", self._address, "--skip-version-check"),
                    *(
                        "--config-file",
                        str(self.folder / "opa.json"),
                        "--log-level",
                        "error",
                        *self._bundle,
                        *self._arguments,
                    ),
                ],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._listens():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError((self.folder / "opa.log").read_text()[-2_000:])
            time.sleep(0.02)
        return self

    def signal(self, number: int) -> None:
        """Send it a signal: SIGSTOP makes it slow, SIGCONT well again."""
        assert self._process is not None
        self._process.send_signal(number)
        while number == signal.SIGSTOP and not _stopped(self._process.pid):
            time.sleep(0.005)  # a thread that runs on another core stops some moments later

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def _listens(self) -> bool:
        try:
            if self._address.startswith("unix://"):
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.connect(str(self.socket))
            else:
                host, _, port = self._address.removeprefix("https://").removeprefix("http://").rpartition(":")
                socket.create_connection((host, int(port)), timeout=1.0).close()
        except OSError:
            return False
        return True


def _stopped(pid: int) -> bool:
    """Whether every thread of a process is stopped (proc(5), `stat`, state T)."""
    tasks = (Path("/proc") / str(pid) / "task").iterdir()
    return all((task / "stat").read_text().rpartition(") ")[2].startswith("T") for task in tasks)

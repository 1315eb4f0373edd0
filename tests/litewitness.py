"""The pinned litewitness, a real C2SP witness: found, told of a log, started and stopped."""

import contextlib
import os
import socket
import sqlite3
import subprocess
import tempfile
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from engine.audit.witness import WitnessKey
from tests.ssh_agents import agent, fingerprint

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / ".tools" / "bin" / "litewitness"
VERSION = (ROOT / "tools" / "litewitness.version").read_text().strip()
_START_SECONDS = 20.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS log (origin TEXT PRIMARY KEY, tree_size INTEGER NOT NULL, tree_hash TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS key (origin TEXT NOT NULL, key TEXT NOT NULL, FOREIGN KEY(origin) REFERENCES log(origin));
"""  # as litewitness itself makes them; witnessctl add-log and add-key write the same rows


def need() -> None:
    """Skip the test where there is no litewitness; in CI, fail it."""
    mark = PROGRAM.with_name("litewitness.version")
    if PROGRAM.is_file() and mark.is_file() and mark.read_text().strip() == VERSION:
        return
    reason = f"needs litewitness {VERSION} (tools/install_litewitness.sh builds it)"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@dataclass
class Litewitness:
    """One witness: its key, its database, its port. `start` and `stop` as often as a test wants."""

    folder: Path
    name: str
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    port: int = 0
    process: Any = None  # a subprocess.Popen

    @property
    def vkey(self) -> str:
        return WitnessKey(self.name, self.key.public_key().public_bytes_raw()).vkey()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add_log(self, origin: str, *vkeys: str) -> None:
        """Tell it of a log."""
        with contextlib.closing(sqlite3.connect(self.folder / "witness.db")) as db, db:
            db.executescript(_SCHEMA)
            db.execute("INSERT INTO log VALUES (?, 0, ?)", (origin, b64encode(sha256(b"").digest()).decode()))
            db.executemany("INSERT INTO key VALUES (?, ?)", [(origin, vkey) for vkey in vkeys])

    def size(self, origin: str) -> int:
        """Return the size that it has cosigned."""
        with contextlib.closing(sqlite3.connect(self.folder / "witness.db")) as db:
            return int(db.execute("SELECT tree_size FROM log WHERE origin = ?", (origin,)).fetchone()[0])

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self.port = self.port or _free_port()
        arguments = ["-name", self.name, "-db", "witness.db", "-ssh-agent", "agent.sock", "-key", fingerprint(self.key)]
        with (self.folder / "witness.log").open("ab") as log:
            self.process = subprocess.Popen(  # noqa: TID251 - a peer, not a worker
                [str(PROGRAM), *arguments, "-listen", f"127.0.0.1:{self.port}"],
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                break
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise RuntimeError((self.folder / "witness.log").read_text()[-2_000:]) from None
                time.sleep(0.02)

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None


@contextmanager
def witness(name: str = "witness.example/w1") -> Iterator[Litewitness]:
    """Give a witness, not yet started, and end it behind the block. Its folder is short: so must be a socket's path."""
    need()
    with tempfile.TemporaryDirectory(prefix="witness-") as folder:
        one = Litewitness(Path(folder), name)
        with agent(one.key, one.folder / "agent.sock"):
            try:
                yield one
            finally:
                one.stop()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])

"""Real gateways for tests: homes, one in this process, one as a program of its own, and what they leave behind."""

import asyncio
import hashlib
import json
import resource
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from wasmtime import wat2wasm

from engine.audit.verify import VerificationReport, verify_log
from gateway.assembly import Gateway, running_gateway
from gateway.client import NO_RETRY, CallOptions, Client, Server
from gateway.config import CONFIG_NAME, load_config
from gateway.folders import AUDIT_FOLDER
from gateway.home import NewHome, make_home
from gateway.policy.bundle import CONFIG_ROOT
from gateway.sandbox import fleet
from gateway.sandbox.artefact import Artefact
from gateway.sandbox.compile import compile_module
from gateway.workers.supervisor import Zygote
from tests.worlds import Event

START_SECONDS_MAX = 90

# Counts down, then answers with an empty output.
MODULE = """(module {foreign}
  (memory (export "memory") 2)
  (data (i32.const 16) "{{\\"output\\":{{}}}}")
  (func (export "mission_abi_v1"))
  (func (export "mission_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "mission_run") (param i32 i32) (result i64)
    (local $left i64)
    (local.set $left (i64.const {iterations}))
    (loop $again
      (local.set $left (i64.sub (local.get $left) (i64.const 1)))
      (br_if $again (i64.gt_s (local.get $left) (i64.const 0))))
    (i64.or (i64.shl (i64.const 16) (i64.const 32)) (i64.const 13))))"""


def new_home(folder: Path) -> NewHome:
    """Make a home that listens on a free loopback port."""
    return make_home(folder / "home", listen="127.0.0.1:0")


def add_hook(made: NewHome, name: str, *, foreign: str = "", iterations: int = 1, sha256: str | None = None) -> None:
    """Add a hook that does nothing for a while, in a profile of its own that lets it."""
    folder = made.home / "hooks" / name
    folder.mkdir(parents=True)
    module = bytes(wat2wasm(MODULE.format(foreign=foreign, iterations=iterations)))
    (folder / "module.wasm").write_bytes(module)
    (folder / "parameters.schema.json").write_text('{"type": "object", "additionalProperties": false}')
    (folder / "hook.toml").write_text(
        f'name = "{name}"\nversion = "1.0.0"\nabi = 1\nkind = "step"\nprofile = "patient"\neffects = []\n'
        'schema = "parameters.schema.json"\n'
    )
    pin = sha256 or hashlib.sha256(module).hexdigest()
    with (made.home / CONFIG_NAME).open("a") as config:
        config.write(f'\n[[hooks]]\npath = "hooks/{name}"\nsha256 = "{pin}"\n')

    def allow(config: dict[str, Any]) -> None:
        config["profiles"]["patient"] = {"wall_ms": 30_000, "memory_bytes": 1_048_576, "cpu_shares": 100}
        config["kinds"][name] = {"profile": "patient", "effects": [], "closed_taint": []}

    change_policy_data(made, allow)


def change_policy_data(made: NewHome, change: Callable[[dict[str, Any]], None]) -> None:
    """As `change_data`, of the bundle of a home."""
    change_data(made.home / "policies", change)


def change_data(bundle: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Edit what the data in a folder of a bundle says under data.gateway.config."""
    path = bundle / "data.json"
    data = json.loads(path.read_text())
    config = data
    for key in CONFIG_ROOT:
        config = config[key]
    change(config)
    path.write_text(json.dumps(data))


@asynccontextmanager
async def serving(made: NewHome, *, drain_seconds: float = 5, **workers: int) -> AsyncIterator[Gateway]:
    """Run a gateway in this process."""
    config = load_config(made.home)
    if workers:
        config = config.model_copy(update={"workers": config.workers.model_copy(update=workers)})
    with compiling_once():
        async with running_gateway(made.home, config, drain_seconds=drain_seconds) as gateway:
            yield gateway


@contextmanager
def compiling_once() -> Iterator[None]:
    """Let gateways in this process share what they compile: the built-in hooks are half of what a start costs.

    Compiling is a function of the bytes alone (tests/adversarial/test_compile_bombs.py); programs of their own, and
    whatever the jail refuses, are compiled each time.
    """
    with pytest.MonkeyPatch.context() as patch:
        if fleet.compile_module is not _compiled:  # or a gateway beside this one does so already
            patch.setattr(fleet, "compile_module", _compiled)
        yield


_COMPILED: dict[bytes, Artefact] = {}


async def _compiled(zygote: Zygote, wasm: bytes) -> Artefact:
    if wasm not in _COMPILED:
        _COMPILED[wasm] = await compile_module(zygote, wasm)
    return _COMPILED[wasm]


@contextmanager
def calling(address: str, made: NewHome) -> Iterator[Client]:
    """Open a client with the admin's token, to which the first failure is the answer."""
    with Client(Server(address, made.token), CallOptions(retry=NO_RETRY)) as client:
        yield client


async def submitted(gateway: Gateway, made: NewHome, form: Mapping[str, Any] | bytes, request_id: str = "r") -> Any:
    """Submit over gRPC, follow the mission to its end, and return its view."""

    def call() -> Any:
        with calling(gateway.address, made) as client:
            document = form if isinstance(form, bytes) else orjson.dumps(form)
            mission_id = client.submit(document, request_id).mission_id
            for _ in client.watch(mission_id):
                pass
            return client.get(mission_id).document()

    return await asyncio.to_thread(call)


def verified(made: NewHome) -> VerificationReport:
    """Verify the log offline, and return the report: it is good."""
    report = verify_log(made.home / AUDIT_FOLDER, made.verifier_key)
    assert report.ok, report
    return report


def events_of(made: NewHome) -> list[Event]:
    """Return every event under the log's checkpoint, which is good."""
    segments = sorted((made.home / AUDIT_FOLDER / "segments").iterdir())
    lines = [line for segment in segments for line in segment.read_bytes().splitlines()]
    return [Event.of_line(line) for line in lines[: verified(made).events]]


@dataclass
class Program:
    """`python -m gateway serve` as a process of its own."""

    made: NewHome
    process: Any  # subprocess.Popen
    facts: Mapping[str, Any]

    @classmethod
    def start(cls, made: NewHome) -> "Program":
        """Start it, and return once it serves."""
        process = subprocess.Popen(  # noqa: TID251 - a test kills it, which needs the process itself
            serve_command(made), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        if not select.select([process.stdout], [], [], START_SECONDS_MAX)[0]:
            process.kill()
        line = process.stdout.readline()
        if not line:
            raise AssertionError(process.communicate()[1].decode())
        return cls(made, process, json.loads(line))

    @property
    def address(self) -> str:
        return self.facts["address"]

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self._reap()

    def terminate(self) -> int:
        """Ask it to stop, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self._reap()

    def file_bytes_max(self, count: int) -> None:
        """Let it write no file beyond `count` bytes: a full disk, for this process alone."""
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (count, count))

    def _reap(self) -> int:
        self.process.communicate(timeout=60)
        return self.process.returncode


def serve_command(made: NewHome) -> Sequence[str]:
    return [sys.executable, "-m", "gateway", "serve", "--home", str(made.home), "--output", "json"]


def serve_fails(made: NewHome) -> tuple[int, list[dict[str, Any]]]:
    """Start a gateway that cannot; return exit code and errors."""
    done = subprocess.run(serve_command(made), capture_output=True, timeout=60, check=False)
    assert b"Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)["errors"]


def serve_fails_in_words(made: NewHome) -> tuple[int, str]:
    """Start a gateway that cannot; return exit code and what a person reads."""
    done = subprocess.run(serve_command(made)[:-2], capture_output=True, timeout=60, check=False)
    assert b"Traceback" not in done.stderr
    return done.returncode, done.stderr.decode()


def alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended and that nobody has asked about does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def until(condition: Callable[[], bool]) -> None:
    """Return once `condition` holds; the time limit of the test bounds the wait."""
    while not condition():  # noqa: ASYNC110 - it is about another process, which sets no event here
        await asyncio.sleep(0.005)


def without(made: NewHome, name: str) -> None:
    """Remove a file or folder of the home."""
    path = made.home / name
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()

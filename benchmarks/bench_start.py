"""How long a gateway takes from the start of its process until it serves, beside Python importing what it stands on.

Run it: `python -m benchmarks.bench_start`
"""

import asyncio
import json
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.command import main
from benchmarks.table import Row, timed_row
from benchmarks.timing import FULL, Effort, Timing, lap
from gateway.home import make_home

TITLE: Final = "start: a process until it serves"
IMPORTS: Final = "import cryptography.x509, grpc.aio, httpcore, jsonschema_rs, orjson, pydantic, rich, typer, wasmtime"
SECONDS_MAX: Final = 10.0


async def start(home: Path) -> Process:
    """Start a gateway as an operator does; return once its health service says SERVING."""
    options = ("--home", str(home), "--listen", "127.0.0.1:0", "--anonymous", "--output", "json")
    command = (sys.executable, "-m", "gateway", "serve", *options)
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=DEVNULL)
    assert process.stdout is not None
    address = json.loads(await process.stdout.readline())["address"]
    async with grpc.aio.insecure_channel(address) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=SECONDS_MAX)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    return process


async def stop(process: Process) -> None:
    """Ask the gateway to stop, and wait until its process ended well."""
    process.terminate()
    async with asyncio.timeout(SECONDS_MAX):
        await process.communicate()
    assert process.returncode == 0, process.returncode


async def bare() -> None:
    """Start Python, import the libraries, and end."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", IMPORTS)
    assert await process.wait() == 0


async def rows(effort: Effort = FULL) -> AsyncIterator[Row]:
    """Measure in a home that was just made; each start compiles every hook anew."""
    started, stopped, imported = [], [], []
    with tempfile.TemporaryDirectory() as name:
        home = Path(name) / "home"
        make_home(home)
        for _ in range(effort.rounds):
            with lap() as this:
                process = await start(home)
            started.append(this.wall)
            with lap() as this:
                await stop(process)
            stopped.append(this.wall)
            with lap() as this:
                await bare()
            imported.append(this.wall)
    against, peer = "Python importing its libraries", Timing.of(imported)
    what = "gateway, until its health is SERVING"
    yield timed_row(what, "s", Timing.of(started), against=against, peer=peer, target=2)
    yield timed_row("idle gateway, from SIGTERM to its end", "s", Timing.of(stopped))


if __name__ == "__main__":
    raise SystemExit(main(only="start"))

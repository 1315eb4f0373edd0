"""What an effect costs: files through the pool beside the bare system calls, HTTP beside a bare connection.

Run it: `python -m benchmarks.bench_effects`. It writes to the temporary directory, or to the one of TMPDIR.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from benchmarks.command import main
from benchmarks.table import Row, timed_row
from benchmarks.timing import FULL, Effort, Work, in_turn_async
from engine.values import JsonObject
from gateway.addresses import Address, AddressPolicy
from gateway.effects.blocking import BlockingPool
from gateway.effects.files import FileLimits, FileRead, FileWrite
from gateway.effects.http import HttpLimits, HttpRequest, tls_context
from gateway.effects.performer import EffectRequest, Effects, EffectScope
from gateway.effects.workspace import WorkspaceLimits, Workspaces

TITLE: Final = "effects: what a step asks of the world"
READS = 3_000
WRITES = 300
REQUESTS = 500
TOGETHER = 64
CONTENT = "x" * 1_024
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Act = Callable[[int], Awaitable[object]]


class NoResolver:
    """The benchmark names an address; nobody asks."""

    async def resolve(self, host: str, port: int, *, timeout_seconds: float) -> tuple[Address, ...]:
        """Return the loopback address."""
        del host, port, timeout_seconds
        return (ip_address("127.0.0.1"),)


def bare_read(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.read(descriptor, 65_536)
    os.close(descriptor)


def bare_write(folder: int, number: int) -> None:
    """Write, fsync, rename, fsync of the directory: the system calls that a durable replacement needs."""
    descriptor = os.open(f"bare{number}.part", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=folder)
    os.write(descriptor, CONTENT.encode())
    os.fsync(descriptor)
    os.close(descriptor)
    os.rename(f"bare{number}.part", f"bare{number}", src_dir_fd=folder, dst_dir_fd=folder)
    os.fsync(folder)


async def alone(count: int, act: Act) -> None:
    """Perform effects one after the other."""
    for number in range(count):
        await act(number)


async def together(count: int, act: Act) -> None:
    """Perform effects with TOGETHER of them under way."""
    for first in range(0, count, TOGETHER):
        await asyncio.gather(*(act(n) for n in range(first, min(first + TOGETHER, count))))


async def bare_exchange(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    await reader.read()
    writer.close()
    await writer.wait_closed()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(RESPONSE)
    writer.close()


async def compared(effort: Effort, what: str, count: int, act: Act, bare: Act, against: str) -> AsyncIterator[Row]:
    """Measure an effect, alone and many at once, beside the bare calls, one after the other."""
    one, many, floor = await in_turn_async(
        effort,
        Work(partial(alone, count, act), count),
        Work(partial(together, count, act), count),
        Work(partial(alone, count, bare), count),
    )
    yield timed_row(f"{what}, one at a time", "µs", one, against=against, peer=floor)
    yield timed_row(f"{what}, {TOGETHER} at once", "µs", many, against=against, peer=floor)


async def file_rows(effects: Effects, scope: EffectScope, effort: Effort) -> AsyncIterator[Row]:
    """Measure reading and durable writing in the workspace."""

    def read(_: int) -> Awaitable[object]:
        return perform(effects, scope, "file.read", {"path": "same"})

    def write(n: int) -> Awaitable[object]:
        return perform(effects, scope, "file.write", {"path": f"f{n}", "content": CONTENT, "mode": "replace"})

    async def read_barely(_: int) -> None:
        bare_read(scope.workspace.path / "same")

    await perform(effects, scope, "file.write", {"path": "same", "content": CONTENT})
    async for row in compared(effort, "file.read, 1 KiB, cached", READS, read, read_barely, "open, read, close"):
        yield row
    with scope.workspace.hold() as held:

        async def write_barely(n: int) -> None:
            bare_write(held.root, n)

        calls = "write, fsync, rename, fsync"
        async for row in compared(effort, "file.write, 1 KiB, durable", WRITES, write, write_barely, calls):
            yield row


async def http_rows(effects: Effects, scope: EffectScope, effort: Effort) -> AsyncIterator[Row]:
    """Measure requests to a server of this process, a connection each."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    def request(_: int) -> Awaitable[object]:
        return perform(effects, scope, "http.request", {"url": f"http://127.0.0.1:{port}/"})

    def exchange(_: int) -> Awaitable[object]:
        return bare_exchange(port)

    bare = "a bare asyncio connection"
    async for row in compared(effort, "http.request, loopback", REQUESTS, request, exchange, bare):
        yield row
    server.close()


def perform(effects: Effects, scope: EffectScope, op: str, args: JsonObject) -> Awaitable[object]:
    return effects.perform(EffectRequest(op=op, args=args, key="k", timeout_seconds=30.0), scope)


async def rows(effort: Effort = FULL) -> AsyncIterator[Row]:
    """Measure every figure, in a temporary directory."""
    pool = BlockingPool("files", threads=4, waiting_max=256)
    effects = Effects(
        {
            "file.write": FileWrite(pool, FileLimits()),
            "file.read": FileRead(pool, FileLimits()),
            "http.request": HttpRequest(AddressPolicy.parse(["127.0.0.1"]), NoResolver(), tls_context(), HttpLimits()),
        }
    )
    with tempfile.TemporaryDirectory() as name:
        workspace = Workspaces.open(Path(name), limits=WorkspaceLimits(entries_max=100_000)).create("m", b"k" * 32)
        scope = EffectScope(workspace=workspace, mission_id="m", step_id="s")
        async for row in file_rows(effects, scope, effort):
            yield row
        async for row in http_rows(effects, scope, effort):
            yield row
        workspace.close()
    pool.close()


if __name__ == "__main__":
    raise SystemExit(main(only="effects"))

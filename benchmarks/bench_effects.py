"""What an effect costs: files through the pool beside the bare system calls, HTTP beside a bare connection.

Run it: `python -m benchmarks.bench_effects`. It writes to the temporary directory, or to the one of TMPDIR.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from pathlib import Path

from engine.values import JsonObject
from gateway.addresses import Address, AddressPolicy
from gateway.effects.blocking import BlockingPool
from gateway.effects.files import FileLimits, FileRead, FileWrite
from gateway.effects.http import HttpLimits, HttpRequest, tls_context
from gateway.effects.performer import EffectRequest, Effects, EffectScope
from gateway.effects.workspace import WorkspaceLimits, Workspaces

READS = 3_000
WRITES = 300
REQUESTS = 500
TOGETHER = 64
ROUNDS = 3  # of the bare calls; the best counts: the machine may be busy with other things
CONTENT = "x" * 1_024
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


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


def timed(count: int, act: Callable[[int], None]) -> float:
    """Return µs a call."""
    start = time.perf_counter()
    for number in range(count):
        act(number)
    return (time.perf_counter() - start) / count * 1e6


async def alone(count: int, act: Callable[[int], Awaitable[object]]) -> float:
    """Return µs an effect, one after the other."""
    start = time.perf_counter()
    for number in range(count):
        await act(number)
    return (time.perf_counter() - start) / count * 1e6


async def together(count: int, act: Callable[[int], Awaitable[object]]) -> float:
    """Return µs an effect with TOGETHER of them under way."""
    start = time.perf_counter()
    for first in range(0, count, TOGETHER):
        await asyncio.gather(*(act(n) for n in range(first, min(first + TOGETHER, count))))
    return (time.perf_counter() - start) / count * 1e6


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


async def measure(home: Path) -> None:
    """Print the table."""
    pool = BlockingPool("files", threads=4, waiting_max=256)
    http = HttpRequest(AddressPolicy.parse(["127.0.0.1"]), NoResolver(), tls_context(), HttpLimits())
    limits = FileLimits()
    effects = Effects(
        {"file.write": FileWrite(pool, limits), "file.read": FileRead(pool, limits), "http.request": http}
    )
    workspace = Workspaces.open(home, limits=WorkspaceLimits(entries_max=100_000)).create("m")
    scope = EffectScope(workspace=workspace, mission_id="m", step_id="s")

    async def perform(op: str, args: JsonObject) -> JsonObject:
        return await effects.perform(EffectRequest(op=op, args=args, key="k", timeout_seconds=30.0), scope)

    def read(_: int) -> Awaitable[object]:
        return perform("file.read", {"path": "same"})

    def write(n: int) -> Awaitable[object]:
        return perform("file.write", {"path": f"f{n}", "content": CONTENT, "mode": "replace"})

    await perform("file.write", {"path": "same", "content": CONTENT})
    with workspace.hold() as held:
        bare = min([timed(WRITES, lambda n: bare_write(held.root, n)) for _ in range(ROUNDS)])
    print("effects, µs each                  bare calls      alone   64 together")
    cached = timed(READS, lambda _: bare_read(workspace.path / "same"))
    print(f"  file.read, 1 KiB, cached       {cached:>12.0f} {await alone(READS, read):>10.0f} ", end="")
    print(f"{await together(READS, read):>13.0f}")
    print(f"  file.write, 1 KiB, durable     {bare:>12.0f} {await alone(WRITES, write):>10.0f} ", end="")
    print(f"{await together(WRITES, write):>13.0f}")
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    def request(_: int) -> Awaitable[object]:
        return perform("http.request", {"url": f"http://127.0.0.1:{port}/"})

    exchange = await alone(REQUESTS, lambda _: bare_exchange(port))
    print(f"  http.request, loopback         {exchange:>12.0f} {await alone(REQUESTS, request):>10.0f} ", end="")
    print(f"{await together(REQUESTS, request):>13.0f}")
    server.close()
    workspace.close()
    pool.close()


def main() -> None:
    """Measure in a temporary directory."""
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(measure(Path(name)))


if __name__ == "__main__":
    main()

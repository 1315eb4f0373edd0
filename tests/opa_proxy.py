"""Stands between the gateway and an OPA, on a Unix socket: hands everything on, or answers as it is told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

Act = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
"""What becomes of one request; the connection is closed after it."""


class Proxy:
    """`act` None hands on; whoever sets it calls `hang_up`, so that no kept connection goes on as before."""

    def __init__(self, upstream: Path) -> None:
        self._upstream = upstream
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.act: Act | None = None
        self.connections = 0
        self.requests: list[bytes] = []  # of those that were acted on

    async def set(self, act: Act | None) -> None:
        """From now on do this with every request; connections that are open are closed."""
        self.act = act
        await self.hang_up()

    async def hang_up(self) -> None:
        """Close every connection, as a server does that ends."""
        for writer in self._writers:
            writer.transport.abort()
        for _ in range(5):
            await asyncio.sleep(0)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        if (task := asyncio.current_task()) is not None:
            self._tasks.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                if self.act is None:
                    await self._hand_on(reader, writer)
                else:
                    request = await _request(reader)
                    self.requests.append(request)
                    await self.act(request, writer)
        finally:
            self._writers.discard(writer)
            writer.close()
            if task is not None:
                self._tasks.discard(task)

    async def close(self) -> None:
        await self.hang_up()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _hand_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_opa, to_opa = await asyncio.open_unix_connection(self._upstream)
        self._writers.add(to_opa)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, to_opa))
                group.create_task(_copy(from_opa, writer))
        finally:
            self._writers.discard(to_opa)
            to_opa.close()


@asynccontextmanager
async def proxying(upstream: Path, path: Path) -> AsyncIterator[Proxy]:
    """Run a proxy at `path` for as long as the block lasts."""
    proxy = Proxy(upstream)
    server = await asyncio.start_unix_server(proxy.connected, path)
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
    return head + await reader.readexactly(int(length or b"0"))


def answering(head: str, body: bytes = b"") -> Act:
    """Return the act of one whole answer; the head's length is the body's."""

    async def act(_request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()

    return act


def saying(data: bytes) -> Act:
    """Return the act of sending these bytes, whatever they are, and hanging up."""

    async def act(_request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return act


def stalling(data: bytes = b"") -> Act:
    """Return the act of sending these bytes and then nothing, without an end."""

    async def act(_request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await asyncio.Event().wait()

    return act


def endless(head: bytes, more: bytes) -> Act:
    """Return the act of sending more and more, until nobody takes it."""

    async def act(_request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(more)
            await writer.drain()

    return act

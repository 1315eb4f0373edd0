"""A tiny HTTP service on loopback, for the demonstration to call."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

_BODY: Final = b'{"base":"EUR","quote":"USD","rate":"1.0842"}'
_ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: " + str(len(_BODY)).encode() + b"\r\n\r\n" + _BODY
)
_HEAD_BYTES_MAX: Final = 16 * 1024


@asynccontextmanager
async def rate_service() -> AsyncIterator[int]:
    """Serve the rate on a free loopback port; yield the port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            writer.write(_ANSWER)
            await writer.drain()
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=_HEAD_BYTES_MAX)
    async with server:
        yield server.sockets[0].getsockname()[1]

"""A tiny HTTP service on loopback, for the demonstration to call."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

_BODY: Final = b'{"base":"EUR","quote":"USD","rate":"1.0842"}'
_WHOAMI: Final = b"GET /whoami "
_HEADER: Final = re.compile(rb"\r\nauthorization: ([^\r\n]*)", re.IGNORECASE)
_HEAD_BYTES_MAX: Final = 16 * 1024


def _sent(head: bytes) -> bytes:
    """Return what the caller has shown, as a careless service would."""
    found = _HEADER.search(head)
    return json.dumps({"sent": found[1].decode("latin-1") if found else ""}).encode()


def _answer(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


@asynccontextmanager
async def rate_service() -> AsyncIterator[int]:
    """Serve the rate on a free loopback port; yield the port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(5):
                head = await reader.readuntil(b"\r\n\r\n")
            writer.write(_answer(_sent(head) if head.startswith(_WHOAMI) else _BODY))
            await writer.drain()
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=_HEAD_BYTES_MAX)
    async with server:
        yield server.sockets[0].getsockname()[1]

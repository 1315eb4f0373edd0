"""HTTP/2 as an attacker writes it: frames by hand, over a bare socket. Source: RFC 9113, RFC 7541 (literals only)."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0x0, 0x1, 0x3, 0x4, 0x6, 0x7
_END_STREAM, _END_HEADERS, _ACK = 0x1, 0x4, 0x1
_READS_NOTHING: Final = b"\x00\x04" + bytes(4)  # SETTINGS_INITIAL_WINDOW_SIZE = 0: no byte of an answer's DATA
_CANCEL: Final = (8).to_bytes(4, "big")


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return one frame."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def literal(name: str, value: str) -> bytes:
    """Return a header, neither indexed nor compressed; both shorter than 127 bytes."""
    return b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def begun(stream: int, path: str, metadata: Mapping[str, str]) -> bytes:
    """Return the HEADERS of a call that goes on: its request is still to come."""
    fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "a", "te": "trailers"}
    fields |= {"content-type": "application/grpc", **metadata}
    block = b"".join(literal(name, value) for name, value in fields.items())
    return frame(HEADERS, _END_HEADERS, stream, block)


def asked(stream: int, path: str, metadata: Mapping[str, str], message: bytes) -> bytes:
    """Return a whole call: its HEADERS, and its one message."""
    data = b"\x00" + len(message).to_bytes(4, "big") + message
    return begun(stream, path, metadata) + frame(DATA, _END_STREAM, stream, data)


def reset(stream: int) -> bytes:
    """Return the RST_STREAM of a call that is given up."""
    return frame(RST_STREAM, 0, stream, _CANCEL)


def ping(number: int) -> bytes:
    """Return a PING."""
    return frame(PING, 0, 0, number.to_bytes(8, "big"))


@dataclass
class Connection:
    """One connection, and what the server has said on it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    heard: list[tuple[int, int, bytes]] = field(default_factory=list)  # kind, stream, payload

    @classmethod
    async def open(cls, address: str, *, reads: bool = True) -> "Connection":
        """Connect, and say that it is HTTP/2; who does not read lets no byte of an answer's message come."""
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(PREFACE + frame(SETTINGS, 0, 0, b"" if reads else _READS_NOTHING))
        await writer.drain()
        return cls(reader, writer)

    async def next(self) -> tuple[int, int, bytes] | None:
        """Return the next frame of the server, and acknowledge settings; None: it has closed."""
        try:
            head = await self.reader.readexactly(9)
            payload = await self.reader.readexactly(int.from_bytes(head[:3], "big"))
            if head[3] == SETTINGS and not head[4] & _ACK:
                self.writer.write(frame(SETTINGS, _ACK, 0))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        found = head[3], int.from_bytes(head[5:], "big"), payload
        self.heard.append(found)
        return found

    async def until(self, kind: int) -> bytes | None:
        """Return the payload of the next frame of a kind; None: the server has closed before."""
        while (found := await self.next()) is not None:
            if found[0] == kind:
                return found[2]
        return None

    async def close(self) -> None:
        """Hang up."""
        self.writer.transport.abort()

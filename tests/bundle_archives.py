"""Makes archives of bundles by hand, hostile ones too: every field of every header is the test's to choose."""

import gzip
from collections.abc import Iterable

BLOCK = 512
END = bytes(2 * BLOCK)


def header(name: bytes, size: int, kind: bytes = b"0", *, magic: bytes = b"ustar\x0000", prefix: bytes = b"") -> bytes:
    """Return a header block."""
    fields = name.ljust(100, b"\0") + b"0000600\0" + b"0000000\0" * 2 + b"%011o\0" % size + b"00000000000\0"
    tail = kind + bytes(100) + magic + bytes(80) + prefix.ljust(155, b"\0") + bytes(12)
    return sealed(fields + b" " * 8 + tail)


def sealed(block: bytes) -> bytes:
    """Return a header block with the checksum that its other bytes have."""
    blank = block[:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\0 " % sum(blank) + block[156:]


def member(name: bytes, content: bytes, kind: bytes = b"0", **more: bytes) -> bytes:
    """Return a header with its content, padded."""
    return header(name, len(content), kind, **more) + content + bytes(-len(content) % BLOCK)


def pax(records: dict[bytes, bytes], kind: bytes = b"x") -> bytes:
    """Return a pax header."""
    out = b""
    for key, value in records.items():
        body = b" " + key + b"=" + value + b"\n"
        length = len(body) + len(str(len(body)))
        length = len(body) + len(str(length))
        out += b"%d" % length + body
    return member(b"pax", out, kind)


def tar_gz(members: Iterable[bytes], end: bytes = END) -> bytes:
    """Return a tar.gz of members as they are."""
    return gzip.compress(b"".join(members) + end, mtime=0)

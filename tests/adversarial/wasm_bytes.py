"""Modules put together from bytes: what the text format cannot say, or says too slowly."""

from collections.abc import Sequence

MAGIC = b"\0asm\1\0\0\0"
TYPE, IMPORT, FUNCTION, TABLE, MEMORY, EXPORT, START, CODE, DATA = 1, 2, 3, 4, 5, 7, 8, 10, 11
END, BLOCK, BR_TABLE, DROP, I32_CONST, I64_CONST = b"\x0b", b"\x02\x40", b"\x0e", b"\x1a", b"\x41", b"\x42"


def leb(value: int, width: int = 0) -> bytes:
    """Return an unsigned LEB128 number, stretched to `width` bytes where that is more than it needs."""
    out = bytearray()
    while value > 0x7F or len(out) + 1 < width:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def section(kind: int, content: bytes) -> bytes:
    return bytes((kind,)) + leb(len(content)) + content


def vector(entries: Sequence[bytes]) -> bytes:
    return leb(len(entries)) + b"".join(entries)


def name(text: bytes) -> bytes:
    return leb(len(text)) + text


def code(instructions: bytes, locals_: bytes = b"\0") -> bytes:
    """Return the body of a function, sized."""
    body = locals_ + instructions + END
    return leb(len(body)) + body


def custom(content: bytes = b"") -> bytes:
    return section(0, name(b"x") + content)


def hook(
    bodies: Sequence[bytes] = (), *, exports: Sequence[bytes] = (), memory: bytes = b"\0\2", before: bytes = b""
) -> bytes:
    """Return a module of the ABI that answers nothing, with more functions of type `() -> ()` and more exports.

    `before` is a run of sections in front of all others.
    """
    types = [b"\x60\0\0", b"\x60\1\x7f\1\x7f", b"\x60\2\x7f\x7f\1\x7e"]
    functions = [b"\0", b"\1", b"\2", *[b"\0"] * len(bodies)]
    abi = (b"mission_abi_v1", b"mission_alloc", b"mission_run")
    own = [name(b"memory") + b"\2\0", *(name(text) + b"\0" + bytes((index,)) for index, text in enumerate(abi))]
    answers = [code(b""), code(I32_CONST + b"\x08"), code(I64_CONST + b"\0")]
    return b"".join(
        (
            MAGIC,
            before,
            section(TYPE, vector(types)),
            section(FUNCTION, vector(functions)),
            section(MEMORY, vector([memory])),
            section(EXPORT, vector([*own, *exports])),
            section(CODE, vector([*answers, *bodies])),
        )
    )

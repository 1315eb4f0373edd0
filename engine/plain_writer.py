"""Writes JSON values as text for people: no quotes, no braces, and nothing that a terminal would obey."""

from collections.abc import Mapping, Sequence
from typing import Final

import orjson

from engine.values import JsonValue

_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_BYTE_MAX: Final = 0xFF
_BMP_MAX: Final = 0xFFFF


def write_plain(value: JsonValue) -> bytes:
    r"""Return scalars bare, objects as lines `key: value`, lists as lines `- item`, what is inside them indented.

    Characters that are not printable are escaped, as in `\x1b`: so a line of the text is a line of the value. A
    string by itself keeps its own lines and tabs. The text ends without a line break.
    """
    if isinstance(value, str):
        return _escaped(value, "\n\t").encode()
    lines: list[str] = []
    _write(value, "", "", lines)
    return "\n".join(lines).encode()


def _write(value: JsonValue, indent: str, lead: str, lines: list[str]) -> None:
    """Append the lines of `value`: the first begins with `lead`, the others with `indent`."""
    if not _has_parts(value):
        lines.append(lead + _scalar(value))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            name = f"{lead}{_escaped(key)}:"
            if _has_parts(item):
                lines.append(name)
                _write(item, indent + "  ", indent + "  ", lines)
            else:
                lines.append(f"{name} {_scalar(item)}".rstrip(" "))
            lead = indent
    elif isinstance(value, Sequence):
        for item in value:
            _write(item, indent + "  ", lead + "- ", lines)
            lead = indent


def _has_parts(value: JsonValue) -> bool:
    return not isinstance(value, str) and isinstance(value, Mapping | Sequence) and len(value) > 0


def _scalar(value: JsonValue) -> str:
    return _escaped(value) if isinstance(value, str) else orjson.dumps(value).decode()


def _escaped(text: str, kept: str = "") -> str:
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in kept else _escape(char) for char in text)


def _escape(char: str) -> str:
    code = ord(char)
    if code <= _BYTE_MAX:
        return _SHORT.get(char, f"\\x{code:02x}")
    return f"\\u{code:04x}" if code <= _BMP_MAX else f"\\U{code:08x}"

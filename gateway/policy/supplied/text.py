"""Texts: `lower`, `upper` and what regorus lacks; Go maps letter by letter, Python and Rust by whole words.

Source: OPA v1/topdown/strings.go; Go `unicode.ToLower`, `unicode.ToUpper` (UnicodeData.txt, simple mappings).
"""

import re
from typing import Final

from gateway.policy.supplied.operands import OperandError, Value, mapping, place, string

# Letters that got a partner after Unicode 15, which Go 1.26 has; a newer Python would map them.
_A7_BEFORE: Final = frozenset({0xA7D0, 0xA7D1, *range(0xA7D6, 0xA7DA)})
_LATER: Final = frozenset({0x19B, 0x264, 0x1C89, 0x1C8A, *range(0xA7CB, 0xA7DD), *range(0x10D50, 0x10D86)}) - _A7_BEFORE


def lower(value: Value) -> str:
    """`lower(x)`: each letter by itself; the final sigma is no exception."""
    base = string(value)
    return base.lower() if base.isascii() else "".join(map(_lower, base))


def upper(value: Value) -> str:
    """`upper(x)`: each letter by itself, so ß stays."""
    base = string(value)
    return base.upper() if base.isascii() else "".join(map(_upper, base))


def _lower(char: str) -> str:
    if ord(char) in _LATER:
        return char
    return "i" if char == "\u0130" else char.lower()  # İ is the only one whose full mapping has two letters


def _upper(char: str) -> str:
    if ord(char) in _LATER:
        return char
    for mapped in (char.upper(), char.title()):  # the simple mapping is the full one, or the title's, or none
        if len(mapped) == 1:
            return mapped
    return char


def reverse(value: Value) -> str:
    """`strings.reverse(x)`, by code points."""
    return string(value)[::-1]


def count(value: Value, search: Value) -> int:
    """`strings.count(x, y)`: without overlaps; of the empty string, one more than there are code points."""
    return string(value).count(string(search))


def substring(value: Value, offset: Value, length: Value) -> str:
    """`substring(x, offset, length)`; a negative length is no limit."""
    base, start, size = string(value), place(offset), place(length)
    if start < 0:
        raise OperandError("negative offset")
    return base[start:] if size < 0 else base[start : start + size]


def replace(value: Value, old: Value, new: Value) -> str:
    """`replace(x, old, new)`; an empty `old` is refused: OPA puts `new` between the bytes."""
    base, before, after = string(value), string(old), string(new)
    if not before:
        raise OperandError("an empty text to replace")
    return string(base.replace(before, after))


def split_n(value: Value, delimiter: Value, number: Value) -> list[str]:
    """`strings.split_n(x, delimiter, n)`: the first n parts, or the last ones for a negative n."""
    base, mark, most = string(value), string(delimiter), place(number)
    parts = base.split(mark) if mark else list(base)
    return parts[:most] if most >= 0 else parts[max(len(parts) + most, 0) :]


def indexof(value: Value, search: Value) -> int:
    """`indexof(x, y)`, in code points; -1 where it is not."""
    base, part = string(value), string(search)
    if not part:
        raise OperandError("empty search character")
    return base.find(part)


def indexof_n(value: Value, search: Value) -> list[int]:
    """`indexof_n(x, y)`: every place, overlaps as well."""
    base, part = string(value), string(search)
    if not part:
        raise OperandError("empty search character")
    return [match.start() for match in re.finditer(f"(?={re.escape(part)})", base)]


def replace_n(patterns: Value, value: Value) -> str:
    """`strings.replace_n(patterns, x)`: one pass; of patterns that begin at one place the first by order is taken."""
    pairs = sorted((string(old), string(new)) for old, new in mapping(patterns).items())
    base = string(value)
    if any(not old for old, _ in pairs):
        raise OperandError("an empty pattern")
    new_of = dict(pairs)
    if not pairs:
        return base
    return string(re.sub("|".join(re.escape(old) for old, _ in pairs), lambda match: new_of[match[0]], base))

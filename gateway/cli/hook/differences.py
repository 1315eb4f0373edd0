"""Where two JSON answers differ, in words that fit a line."""

from collections.abc import Iterator
from typing import Any, Final

import orjson

from gateway.cli.hook.cases import Expected, compact, same

DIFFERENCES_MAX: Final = 8
_VALUE_CHARS_MAX: Final = 120
_CONTEXT_CHARS: Final = 30


def differences(expected: Expected, answer: bytes) -> list[str]:
    """Return at most `DIFFERENCES_MAX` lines, each a place as a JSON pointer with what is wrong there."""
    if expected.text is not None:
        return [_of_texts(expected.text, answer.decode("utf-8", "backslashreplace"))]
    try:
        value = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return [f"expected {_shown(expected.value)}", f"answered {_cut(answer.decode('utf-8', 'backslashreplace'))}"]
    lines: list[str] = []
    for line in _walk("", expected.value, value):
        if len(lines) == DIFFERENCES_MAX:
            return [*lines, "…"]
        lines.append(line)
    return lines


def _walk(place: str, wanted: Any, given: Any) -> Iterator[str]:
    if isinstance(wanted, dict) and isinstance(given, dict):
        for name in [*wanted, *(name for name in given if name not in wanted)]:
            where = f"{place}/{name.replace('~', '~0').replace('/', '~1')}"
            if name not in given:
                yield f"{where}: expected {_shown(wanted[name])}, and it is missing"
            elif name not in wanted:
                yield f"{where}: not expected: {_shown(given[name])}"
            else:
                yield from _walk(where, wanted[name], given[name])
    elif isinstance(wanted, list) and isinstance(given, list):
        for index, (one, other) in enumerate(zip(wanted, given, strict=False)):
            yield from _walk(f"{place}/{index}", one, other)
        if len(wanted) != len(given):
            yield f"{place or 'the answer'}: expected {len(wanted)} values, answered {len(given)}"
    elif not same(wanted, given):
        yield f"{place or 'the answer'}: expected {_shown(wanted)}, answered {_shown(given)}"


def _of_texts(wanted: str, given: str) -> str:
    at = next((i for i, pair in enumerate(zip(wanted, given, strict=False)) if pair[0] != pair[1]), None)
    at = min(len(wanted), len(given)) if at is None else at
    start = max(at - _CONTEXT_CHARS, 0)
    here = slice(start, at + _CONTEXT_CHARS)
    return f"from character {at}: expected {wanted[here]!r}, answered {given[here]!r}"


def _shown(value: object) -> str:
    return _cut(compact(value))


def _cut(text: str) -> str:
    return text if len(text) <= _VALUE_CHARS_MAX else f"{text[:_VALUE_CHARS_MAX]}…"

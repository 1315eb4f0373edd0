"""JSON that all of its readers take for the same value: no key twice, no NaN and no Infinity."""

import json
from typing import Any


def strict_loads(text: str | bytes, *, parse_int: Any = None, parse_float: Any = None) -> Any:
    """Return the value that `text` spells; the hooks are those of `json.loads`.

    Raises:
        ValueError: it is no JSON (`json.JSONDecodeError`), not UTF-8, or says a key twice or what is no JSON number.
        RecursionError: it is nested too deep.
    """
    return json.loads(
        text, object_pairs_hook=_once, parse_constant=_no_constant, parse_int=parse_int, parse_float=parse_float
    )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(n for n in names if names.count(n) > 1)!r} is there twice")
    return out


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")

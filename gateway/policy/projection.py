"""A document reduced to what decisions read of it: documents of one projection have one answer."""

from collections.abc import Mapping
from typing import Any

import orjson

from gateway.policy.reads import Reads
from gateway.policy.rego_ast import Path


def projected(document: bytes, reads: Reads) -> bytes | None:
    """Return the values at `reads` in one spelling, where one that is not there is told from null; None: no JSON."""
    try:
        value = orjson.loads(document)
    except orjson.JSONDecodeError:
        return None
    return orjson.dumps([_at(value, path) for path in reads])


def _at(value: Any, path: Path) -> list[Any]:
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return []
        value = value[key]
    return [value]

"""A document reduced to what decisions read of it: documents of one projection have one answer."""

from typing import Any, Final

import orjson

from gateway.policy.reads import Reads

_ABSENT: Final = "absent"


def projected(document: bytes, reads: Reads) -> bytes | None:
    """Return the values at `reads` in one spelling, where one that is not there is told from null; None: no JSON."""
    try:
        whole = orjson.loads(document)
    except orjson.JSONDecodeError:
        return None
    found: list[Any] = []
    for path in reads:
        value = whole
        for key in path:
            if type(value) is not dict or key not in value:  # what has been JSON is a dict, and nothing like one
                found.append(_ABSENT)
                break
            value = value[key]
        else:
            found.append((value,))  # a list, so that no text is taken for what is absent
    return orjson.dumps(found)

"""`glob.match` with patterns from anywhere, of plain characters, `*` and `**`; other patterns end the evaluation.

Source: OPA v1/topdown/glob.go; github.com/gobwas/glob. `*` stops at a delimiter, `**` does not; no delimiters (`[]`)
means ".", and null means none.
"""

import re
from functools import lru_cache
from typing import Final

from gateway.policy.supplied.operands import OperandError, Value, string

_PLAIN: Final = re.compile(r"(?:[A-Za-z0-9 _./:@-]|\*(?!\*\*))*")
_STARS_MAX: Final = 4  # a matcher that goes back and forth over more would take its time


def match(pattern: Value, delimiters: Value, value: Value) -> bool:
    """`glob.match(pattern, delimiters, x)`."""
    wanted, base = string(pattern), string(value)
    if delimiters is None:
        signs: list[Value] = []
    elif type(delimiters) is list:
        signs = delimiters or ["."]
    else:
        raise OperandError("the delimiters of glob.match are an array or null")
    if not all(type(sign) is str and len(sign) == 1 for sign in signs):
        raise OperandError("a delimiter is one character")
    return compiled(wanted, "".join(signs)).fullmatch(base) is not None


@lru_cache(maxsize=256)
def compiled(pattern: str, delimiters: str) -> "re.Pattern[str]":
    """Return what `pattern` matches.

    Raises:
        OperandError: it has signs that the engines read differently.
    """
    if not _PLAIN.fullmatch(pattern):
        raise OperandError("a pattern of glob.match has letters, digits, space, _ . / : @ - and * here")
    parts = re.split(r"(\*\*?)", pattern)
    if len(parts) // 2 > _STARS_MAX:
        raise OperandError(f"a pattern of glob.match has at most {_STARS_MAX} stars here")
    any_but = f"[^{re.escape(delimiters)}]*" if delimiters else ".*"
    source = "".join({"*": any_but, "**": ".*"}.get(part, re.escape(part)) for part in parts)
    return re.compile(source, re.DOTALL)

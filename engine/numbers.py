"""Numbers that every reader of a document understands alike: 64-bit integers and finite doubles."""

import math

INTEGER_MIN = -(1 << 63)
INTEGER_MAX = (1 << 63) - 1
_INTEGER_CHARS_MAX = 20  # "-9223372036854775808"


def parse_integer(text: str, base: int = 10) -> int:
    """Return the integer; a long text is refused before anything is computed from it.

    Raises:
        ValueError: it does not fit 64 bits, signed.
    """
    if len(text) > _INTEGER_CHARS_MAX or not INTEGER_MIN <= (value := int(text, base)) <= INTEGER_MAX:
        raise ValueError("an integer must fit 64 bits, from -2^63 to 2^63-1")
    return value


def parse_float(text: str) -> float:
    """Return the number.

    Raises:
        ValueError: it is too large for a double, which would read it as infinite.
    """
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number must be finite and fit a double")
    return value

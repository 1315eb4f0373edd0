"""Quantities with units: `units.parse` ("10Mi", "500m") and `units.parse_bytes` ("10MB").

Source: OPA v1/topdown/parse_units.go, parse_bytes.go. Amounts in exponent form are refused.
"""

import re
from fractions import Fraction
from typing import Final

from gateway.policy.supplied.operands import OperandError, Value, answer, string

_AMOUNT: Final = re.compile(r"([0-9]{1,18}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})([^0-9.+-].*)?", re.DOTALL)
_PREFIXES: Final = "kmgtpe"
_BYTES: Final = {"": 1} | {
    prefix + unit: base ** (power + 1)
    for power, prefix in enumerate(_PREFIXES)
    for unit, base in (("", 1000), ("b", 1000), ("i", 1024), ("ib", 1024))
}
_MILLI: Final = Fraction(0.001)  # the float, as Go has it: hence the rounding to ten places
_PLACES: Final = 10
_MANTISSA_BITS: Final = 64
_DIGITS_MAX: Final = 15


def parse(value: Value) -> int | float:
    """`units.parse(x)`: m is a thousandth, M a million, and Mi 2^20."""
    amount, unit = _split(string(value).replace('"', ""))
    unit = unit[:1] + unit[1:].lower()
    if unit == "m":
        return _fraction(amount * _MILLI)
    if len(unit) > 2 or unit[1:] not in {"", "i"}:  # noqa: PLR2004 - Mi
        raise OperandError("unit not recognized")
    factor = _BYTES.get(unit.lower())
    if factor is None:
        raise OperandError("unit not recognized")
    return _fraction(amount * factor)


def parse_bytes(value: Value) -> int:
    """`units.parse_bytes(x)`, cut to whole bytes."""
    amount, unit = _split(_lower(string(value).replace('"', "")))
    if unit not in _BYTES:
        raise OperandError("byte unit not recognized")
    return answer(int(_in_64_bits(_in_64_bits(amount) * _BYTES[unit])))


def _in_64_bits(number: Fraction) -> Fraction:
    """Return the number as Go's `big.Float` holds it: 64 bits, to the nearest, halves to the even one."""
    if not number:
        return number
    shift = _MANTISSA_BITS - (number.numerator.bit_length() - number.denominator.bit_length())
    scaled = number * Fraction(2) ** shift
    if scaled >= 1 << _MANTISSA_BITS:
        shift, scaled = shift - 1, scaled / 2
    return Fraction(round(scaled)) / Fraction(2) ** shift


def _split(text: str) -> tuple[Fraction, str]:
    found = _AMOUNT.fullmatch(text)
    if " " in text or found is None:
        raise OperandError("is no amount with a unit")
    number, unit = found[1], found[2] or ""
    if unit[:1] in {"e", "E"} and unit[1:2].isdigit():
        raise OperandError("an amount in exponent form")
    return Fraction(f"0{number}" if number[0] == "." else number.rstrip(".")), unit


def _lower(text: str) -> str:
    if not text.isascii():
        raise OperandError("byte unit not recognized")
    return text.lower()


def _fraction(number: Fraction) -> int | float:
    """Return it as OPA writes it: whole, or to ten places."""
    if number.denominator == 1:
        return answer(number.numerator)
    scaled = number * 10**_PLACES
    if scaled.denominator != 1 and abs(scaled - int(scaled) - Fraction(1, 2)) == 0:
        raise OperandError("half of the last place")
    rounded = Fraction(round(scaled), 10**_PLACES)
    result = float(rounded)
    if Fraction(repr(result)) != rounded or len(repr(result)) > _DIGITS_MAX:
        raise OperandError("an amount with too many digits")
    return int(result) if result.is_integer() else result

"""Arithmetic on whole numbers, exact as OPA's; a fraction is an error, since OPA counts in decimals of its own.

Source: OPA v1/topdown/arithmetic.go, aggregates.go, bits.go, numbers.go, casts.go.
"""

import math
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Final

from gateway.policy.supplied.operands import ITEMS_MAX, WHOLE_MAX, OperandError, Value, answer, items, place, whole

_DECIMAL: Final = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,15})?")
_SHIFT_MAX: Final = 63
_DIGITS_MAX: Final = 15  # that a float keeps, whatever they are


def total(value: Value) -> int:
    """`sum(xs)`, of whole numbers."""
    return answer(sum(whole(one) for one in items(value)))


def product(value: Value) -> int:
    """`product(xs)`, of whole numbers."""
    return answer(math.prod(whole(one) for one in items(value)))


def plus(left: Value, right: Value) -> int:
    """`plus(x, y)`, which is `x + y`."""
    return answer(whole(left) + whole(right))


def minus(left: Value, right: Value) -> int:
    """`minus(x, y)`, which is `x - y`, of numbers."""
    return answer(whole(left) - whole(right))


def times(left: Value, right: Value) -> int:
    """`mul(x, y)`, which is `x * y`."""
    return answer(whole(left) * whole(right))


def divide(left: Value, right: Value) -> int | float:
    """`div(x, y)`, which is `x / y`, where the result is a whole number or a short fraction such as 2.5."""
    dividend, divisor = whole(left), whole(right)
    if divisor == 0:
        raise OperandError("divide by zero")
    result = Fraction(dividend, divisor)
    if result.denominator == 1:
        return answer(result.numerator)
    number = float(result)
    if Fraction(number) != result or len(repr(number)) > _DIGITS_MAX:
        raise OperandError("the quotient has no short decimal form")
    return number


def remainder(left: Value, right: Value) -> int:
    """`rem(x, y)`, which is `x % y`; it has the sign of x."""
    dividend, divisor = whole(left), whole(right)
    if divisor == 0:
        raise OperandError("modulo by zero")
    return int(math.copysign(1, dividend)) * (abs(dividend) % abs(divisor))


def absolute(value: Value) -> int | float:
    """`abs(x)`."""
    return abs(value) if type(value) is float else abs(whole(value))


def ceiling(value: Value) -> int:
    """`ceil(x)`; OPA gives 1 for what lies between -1 and 0, and so does this."""
    return _rounded(value, lambda exact: int(exact) if exact < -1 or exact == int(exact) else int(exact) + 1)


def floor(value: Value) -> int:
    """`floor(x)`; OPA gives 0 for what lies between -1 and 0, and so does this."""
    return _rounded(value, lambda exact: int(exact) if exact > -1 or exact == int(exact) else int(exact) - 1)


def nearest(value: Value) -> int:
    """`round(x)`; halves go away from zero."""
    return _rounded(value, lambda exact: int(math.copysign(1, exact)) * math.floor(abs(exact) + Fraction(1, 2)))


def _rounded(value: Value, rule: Callable[[Fraction], int]) -> int:
    if type(value) is not float:
        return place(value)  # vetting lets rules count on with it
    if abs(value) > WHOLE_MAX or not math.isfinite(value):
        raise OperandError("a number over 2^53 that is no whole number")
    exact = Fraction(repr(value))  # as it is written, which is what OPA reads
    return rule(exact)


def bits_and(left: Value, right: Value) -> int:
    """`bits.and(x, y)`."""
    return whole(left) & whole(right)


def bits_or(left: Value, right: Value) -> int:
    """`bits.or(x, y)`."""
    return whole(left) | whole(right)


def bits_xor(left: Value, right: Value) -> int:
    """`bits.xor(x, y)`."""
    return whole(left) ^ whole(right)


def bits_negate(value: Value) -> int:
    """`bits.negate(x)`."""
    return answer(~whole(value))


def bits_left(value: Value, count: Value) -> int:
    """`bits.lsh(x, n)`."""
    return answer(whole(value) << _shift(count))


def bits_right(value: Value, count: Value) -> int:
    """`bits.rsh(x, n)`."""
    return whole(value) >> _shift(count)


def _shift(value: Value) -> int:
    if not 0 <= whole(value) <= _SHIFT_MAX:
        raise OperandError(f"a shift is 0 to {_SHIFT_MAX} here")
    return whole(value)


def span(first: Value, last: Value) -> list[int]:
    """`numbers.range(a, b)`, both ends in it, up or down."""
    return span_step(first, last, 1)


def span_step(first: Value, last: Value, step: Value) -> list[int]:
    """`numbers.range_step(a, b, step)`."""
    a, b, by = whole(first), whole(last), whole(step)
    if by <= 0:
        raise OperandError("step must be a positive integer")
    if abs(b - a) // by >= ITEMS_MAX:
        raise OperandError(f"over {ITEMS_MAX} numbers")
    return list(range(a, b + 1, by)) if a <= b else list(range(a, b - 1, -by))


def show(value: Value, base: Value) -> str:
    """`format_int(x, base)`; a fraction is cut off."""
    number = int(value) if type(value) is float and abs(value) < WHOLE_MAX else whole(value)
    form = {2: "b", 8: "o", 10: "d", 16: "x"}.get(whole(base))
    if form is None:
        raise OperandError("the base is one of 2, 8, 10, 16")
    return format(number, form)


def to_number(value: Value) -> int | float:
    """`to_number(x)`, of a number, null, a boolean, or the usual decimal form of a number."""
    if value is None or type(value) is bool:
        return int(bool(value))
    if type(value) is float:
        return value
    if type(value) is int:
        return whole(value)
    if type(value) is not str or not _DECIMAL.fullmatch(value) or len(value) > _DIGITS_MAX + 4:
        raise OperandError("is no number in its plain decimal form")
    return decimal(value)


def decimal(text: str) -> int | float:
    """Return the number that a plain decimal form stands for.

    Raises:
        OperandError: OPA would keep the form, and this engine would write another one.
    """
    if "." not in text:
        if text == "-0":
            raise OperandError("-0 is written as 0")
        return answer(int(text))
    number = float(text)
    if repr(number) != text:
        raise OperandError(f"{text[:40]} is not the shortest form of its number")
    return int(number) if number.is_integer() else number

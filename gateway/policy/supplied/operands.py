"""What a supplied builtin may be given, checked as OPA checks it: a wrong type is an error, and an error is a no.

OPA leaves the call undefined where these raise; regorus ends the whole evaluation with the error, and the decision is
refused (`policy.failed`), which is the safe side.
"""

from typing import Any, Final, TypeAlias

Value: TypeAlias = Any  # as regorus hands it over: None, bool, int, float, str, list, dict, set

INTEGER_MAX: Final = 2**63 - 1  # beyond it regorus holds a float, and has lost what OPA still knows
WHOLE_MAX: Final = 2**53  # beyond it a document may have 1e16, which OPA takes for no whole number everywhere
TEXT_MAX: Final = 1 << 20  # characters of any text that a supplied builtin makes or takes apart
ITEMS_MAX: Final = 65_536  # elements of any list that one makes


class OperandError(ValueError):
    """An operand that the builtin does not take, or that it cannot answer for as OPA would."""


def string(value: Value) -> str:
    """Return a string operand.

    Raises:
        OperandError: it is none, or too long.
    """
    if type(value) is not str:
        raise OperandError(f"must be a string but got {name_of(value)}")
    if len(value) > TEXT_MAX:
        raise OperandError(f"a string of over {TEXT_MAX} characters")
    return value


def whole(value: Value) -> int:
    """Return a whole number; 1.0 arrives from regorus as 1, and OPA takes it for 1 as well.

    Raises:
        OperandError: it is none, or one that regorus does not hold exactly.
    """
    if type(value) is not int:
        raise OperandError(f"must be a whole number but got {name_of(value)}")
    if abs(value) > INTEGER_MAX:
        raise OperandError("a whole number of 2^63 or more")
    return value


def place(value: Value) -> int:
    """Return a place, a length or a number of parts.

    Raises:
        OperandError: it is no whole number, or one over 2^53.
    """
    if abs(number := whole(value)) > WHOLE_MAX:
        raise OperandError("a whole number over 2^53")
    return number


def items(value: Value) -> list[Value]:
    """Return the elements of an array or a set.

    A set of true and 1 is one of true alone in Python: regorus hands its elements over in order, and true goes first.

    Raises:
        OperandError: it is neither.
    """
    if type(value) not in {list, set}:
        raise OperandError(f"must be an array or a set but got {name_of(value)}")
    return list(value)


def mapping(value: Value) -> dict[str, Value]:
    """Return an object, whose keys are strings; of others Python takes true and 1 for one key.

    Raises:
        OperandError: it is none.
    """
    if type(value) is not dict or not all(type(key) is str for key in value):
        raise OperandError(f"must be an object with strings as keys but got {name_of(value)}")
    return value


def array(value: Value) -> list[Value]:
    """Return an array.

    Raises:
        OperandError: it is none.
    """
    if type(value) is not list:
        raise OperandError(f"must be an array but got {name_of(value)}")
    return value


def answer(number: int) -> int:
    """Return a whole number as an answer.

    Raises:
        OperandError: regorus could not hold it exactly.
    """
    if abs(number) > INTEGER_MAX:
        raise OperandError("the result is a whole number of 2^63 or more")
    return number


def text(data: bytes) -> str:
    """Return bytes as a text answer.

    Raises:
        OperandError: OPA would hold a string that is no UTF-8; regorus has none.
    """
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise OperandError("the result is not UTF-8") from error


def name_of(value: Value) -> str:
    """Return Rego's name of a value's type, as `type_name` says it."""
    names = {type(None): "null", bool: "boolean", int: "number", float: "number", str: "string", list: "array"}
    return {**names, dict: "object", set: "set"}.get(type(value), "a value of no known type")

"""The command-line form: JSON strings in, one a line; verdicts out, one a line."""

import json
from collections.abc import Iterable, Iterator
from typing import Final

import orjson

from gateway.addresses import PUBLIC_ONLY, AddressPolicy
from gateway.errors import SanitizationError
from gateway.sanitizer.sanitize import check_value

LINE_BYTES_MAX: Final = 8 * 1024 * 1024  # a text of the greatest length, escaped

NOT_A_JSON_STRING: Final = "input.not_a_json_string"
LINE_TOO_LONG: Final = "input.line_too_long"


def sanitize_lines(
    type_name: str, lines: Iterable[bytes], *, addresses: AddressPolicy = PUBLIC_ONLY
) -> Iterator[bytes]:
    """Yield `{"ok":bool,"value":…,"code":…}` and a line feed for each line of `lines`, in order.

    `value` is the input where it is accepted and null where it is refused, so that nobody can use it by mistake;
    `code` is null where it is accepted.
    """
    for line in lines:
        value, code = _verdict(type_name, line, addresses)
        yield orjson.dumps({"ok": code is None, "value": value, "code": code}, option=orjson.OPT_APPEND_NEWLINE)


def _verdict(type_name: str, line: bytes, addresses: AddressPolicy) -> tuple[str | None, str | None]:
    if len(line) > LINE_BYTES_MAX:
        return None, LINE_TOO_LONG
    value = _json_string(line)
    if value is None:
        return None, NOT_A_JSON_STRING
    try:
        check_value(type_name, value, addresses=addresses)
    except SanitizationError as err:
        return None, err.code
    return value, None


def _json_string(line: bytes) -> str | None:
    """Return the line's string; one with lone surrogates too, which is JSON by its grammar and for a type to refuse."""
    stripped = line.strip(b" \t\r\n")
    if stripped[:1] != b'"':
        return None
    try:
        value = json.loads(stripped.decode("utf-8"))
    except ValueError:
        return None
    return value if isinstance(value, str) else None

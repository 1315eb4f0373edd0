"""Names and values of HTTP headers. Source: RFC 9110, 5.1, 5.5 and 5.6.2."""

import re
from typing import Final

from gateway.sanitizer.finding import Finding
from gateway.sanitizer.percent import ROUNDS_MAX, decodings

NAME_CHARS_MAX: Final = 256
VALUE_CHARS_MAX: Final = 8_192

_NAME_TOO_LONG: Final = Finding("too_long", f"is longer than {NAME_CHARS_MAX} characters")
_NAME: Final = Finding("token", "is no header name: letters, digits and !#$%&'*+-.^_`|~ only")
_TOO_LONG: Final = Finding("too_long", f"is longer than {VALUE_CHARS_MAX} characters")
_LINE: Final = Finding("line_break", "holds CR, LF or NUL, plain or encoded")
_CHARACTERS: Final = Finding("characters", "holds a character that is neither printable ASCII, space nor tab")
_SPACE: Final = Finding("space", "begins or ends with white space, which a recipient would remove")
_DEPTH: Final = Finding("encoding_depth", f"is percent-encoded more than {ROUNDS_MAX} times over")

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FIELD_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")
# CR LF spelled for an interpreter of escapes; as a pair, because one alone is an honest number or JSON.
_CR: Final = r"\\(?:r|x0d|u000d|015)|&#(?:13|x0*d);"
_LF: Final = r"\\(?:n|x0a|u000a|012)|&#(?:10|x0*a);"
_BREAK: Final = re.compile(rf"[\x00\r\n]|(?:{_CR})(?:{_LF})|(?:0x0[ad]){{2}}", re.IGNORECASE)
# CR and LF for whoever keeps but the low byte of a character: U+560D, U+010A.
_BREAK_IN_LOW_BYTES: Final = re.compile(r"\r\n|\n\r")


def check_header_name(value: str) -> Finding | None:
    """Return the rule that `value`, a header's name, breaks, or None."""
    if len(value) > NAME_CHARS_MAX:
        return _NAME_TOO_LONG
    return None if _TOKEN.fullmatch(value) else _NAME


def check_header(value: str) -> Finding | None:
    """Return the rule that `value`, a header's value, or any percent-decoding of it, breaks; or None."""
    if len(value) > VALUE_CHARS_MAX:
        return _TOO_LONG
    if not _FIELD_VALUE.fullmatch(value):
        return _LINE if re.search(r"[\x00\r\n]", value) else _CHARACTERS
    if value != value.strip("\t "):
        return _SPACE
    if _BREAK.search(value):
        return _LINE
    return _check_decodings(value) if "%" in value else None


def _check_decodings(value: str) -> Finding | None:
    for form in decodings(value.encode("ascii")):
        if form is None:
            return _DEPTH
        if _BREAK.search(form.decode("latin-1")):  # byte for byte: what it would decode to is not asked
            return _LINE
        if not form.isascii() and _BREAK_IN_LOW_BYTES.search(_low_bytes(form)):
            return _LINE
    return None


def _low_bytes(form: bytes) -> str:
    return "".join(chr(ord(char) & 0xFF) for char in form.decode(errors="replace"))

"""Takes the values of secrets out of what came back, before anybody sees it.

A value is looked for as it is, in base64 (both alphabets, at each of the three ways in which it can lie in a longer
text), in hexadecimal, percent-encoded, and escaped as JSON, HTML and XML do. That is all that an honest service does
with a header that it echoes. A service that means to give the value away can: compressed, split, reversed, encrypted
(docs/secrets.md). No regular expressions: `re` keeps what it compiles.
"""

import base64
import html
import json
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote_from_bytes

from gateway.vault.names import mask_of

_ROUNDS_MAX: Final = 3
_BASE64_BITS: Final = 6
_BITS: Final = 8
_PLANE_MAX: Final = 0xFFFF
_UNRESERVED: Final = "-._~"


def masked(data: bytes, secrets: Mapping[str, bytes | bytearray]) -> bytes:
    """Return `data` with every form of every value replaced by `[secret:NAME]`; none of them is left in the result.

    Where taking one out brings another together, it is done again; what then still holds one is dropped as a whole.
    """
    forms = sorted(
        ((form, mask_of(name)) for name, value in secrets.items() for form in forms_of(bytes(value))),
        key=lambda pair: len(pair[0]),
        reverse=True,  # a value that holds another one is named by its own name
    )
    for _ in range(_ROUNDS_MAX):
        found = [(form, mask) for form, mask in forms if form in data]
        if not found:
            return data
        for form, mask in found:
            data = data.replace(form, mask)
    return data if not any(form in data for form, _ in forms) else b""


def forms_of(value: bytes) -> set[bytes]:
    """Return the encodings of a value that are looked for."""
    percent = (quote_from_bytes(value, safe=safe).encode() for safe in ("", "/", "/:@!$&'()*+,;=" + _UNRESERVED))
    forms = {value, value.replace(b" ", b"+"), *(form for each in percent for form in _percent_cases(each))}
    forms |= {b"".join(b"%%%02x" % byte for byte in value), b"".join(b"%%%02X" % byte for byte in value)}
    forms |= {value.hex().encode(), value.hex().upper().encode(), *_base64_forms(value)}
    return forms | set(_text_forms(value))


def _percent_cases(text: bytes) -> Iterable[bytes]:
    """Yield a percent-encoding with upper-case and lower-case digits, and as forms spell a space."""
    parts = text.split(b"%")
    lower = b"%".join([parts[0], *(part[:2].lower() + part[2:] for part in parts[1:])])
    for each in (text, lower):
        yield each
        yield each.replace(b"%20", b"+")


def _base64_forms(value: bytes) -> Iterable[bytes]:
    """Yield what of the value's base64 does not depend on its neighbours, for each place that it can begin at."""
    for before in range(3):
        whole = base64.b64encode(bytes(before) + value)
        first = -(-before * _BITS // _BASE64_BITS)
        end = (before + len(value)) * _BITS // _BASE64_BITS
        for text in (whole, whole[first:end]) if before == 0 else (whole[first:end],):
            yield text
            yield text.translate(bytes.maketrans(b"+/", b"-_"))


def _text_forms(value: bytes) -> Iterable[bytes]:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    escaped = json.dumps(text)[1:-1]
    plain = json.dumps(text, ensure_ascii=False)[1:-1]
    for form in (escaped, _upper_escapes(escaped), plain):
        for slashed in (form, form.replace("/", "\\/")):
            yield slashed.encode("utf-8")
            # As Go and others write JSON that could stand in HTML.
            yield slashed.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e").encode("utf-8")
    if all(ord(char) <= _PLANE_MAX for char in text):
        yield "".join(f"\\u{ord(char):04x}" for char in text).encode()
    for quoted in (html.escape(text), html.escape(text).replace("&#x27;", "&#39;"), html.escape(text, quote=False)):
        yield quoted.encode("utf-8")
        yield quoted.replace("&quot;", "&#34;").encode("utf-8")
    yield html.escape(text).replace("&#x27;", "&apos;").encode("utf-8")


def _upper_escapes(text: str) -> str:
    r"""Return JSON's `\uXXXX` with upper-case digits."""
    parts = text.split("\\u")
    return "\\u".join([parts[0], *(part[:4].upper() + part[4:] for part in parts[1:])])

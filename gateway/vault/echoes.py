"""The ways in which honest services write a value that they echo: what the encoders of common libraries make of it.

Encoders differ in what they leave as it is. Each table below is one that is in wide use; of percent-encodings and of
JSON's escapes the digits may be in either case.
"""

import base64
import html
import json
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote_from_bytes

_BASE64_BITS: Final = 6
_BITS: Final = 8
_PLANE_MAX: Final = 0xFFFF
_ASCII_MAX: Final = 0x7F

# What is not encoded, beside letters, digits and `-._~`, of which some encode the last.
_PERCENT_SAFE: Final = (
    "",  # RFC 3986's unreserved: Go's QueryEscape, PHP's rawurlencode, .NET's EscapeDataString
    "/",  # Python's quote
    "*",  # forms of WHATWG and Java
    "!'()*",  # JavaScript's encodeURIComponent
    ";,/?:@&=+$!'()*#",  # JavaScript's encodeURI
    "/:@!$&'()*+,;=",  # RFC 3986's path
    "!$%&'()*+,-./:;=@[\\]|",  # WHATWG's path
    "!$%&()*+,-./:;=?@[\\]^`{|}",  # WHATWG's query
    "!$%&'()*+,-./:;=?@[\\]^`{|}",  # and of a scheme that is not special
)
# What is written as \uXXXX although JSON does not ask for it.
_JSON_ESCAPED: Final = (
    "",
    "<>&",  # Go
    "<>&'",  # Jinja, Django, Rails
    "<>&='",  # Gson
    "<>&'\"",  # PHP with JSON_HEX_*
    "<>&'\"+`",  # .NET
)
_HTML: Final[Mapping[str, str]] = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_HTML_MORE: Final[tuple[Mapping[str, str], ...]] = (
    {},  # text
    {'"': "&quot;"},
    {'"': "&quot;", "'": "&#x27;"},  # Python, Rust
    {'"': "&quot;", "'": "&#39;"},  # lodash, Ruby
    {'"': "&quot;", "'": "&#039;"},  # PHP
    {'"': "&quot;", "'": "&apos;"},  # XML
    {'"': "&#34;", "'": "&#39;"},  # Go, Jinja
    {'"': "&#34;", "'": "&#x27;"},
    {'"': "&#34;", "'": "&#39;", "+": "&#43;"},  # Go's html/template
    {'"': "&quot;", "'": "&#39;", "/": "&#x2F;", "`": "&#x60;", "=": "&#x3D;"},  # mustache
    {'"': "&quot;", "'": "&#x27;", "`": "&#x60;", "=": "&#x3D;"},  # handlebars
    {'"': "&quot;", "'": "&#x27;", "+": "&#x2B;", "`": "&#x60;"},  # .NET, which encodes all beyond ASCII as well
)


def forms_of(value: bytes) -> set[bytes]:
    """Return the encodings of a value that are looked for."""
    forms = {value, value.replace(b" ", b"+"), value.hex().encode(), value.hex().upper().encode()}
    forms |= {b"".join(b"%%%02x" % byte for byte in value), b"".join(b"%%%02X" % byte for byte in value)}
    for safe in _PERCENT_SAFE:
        text = quote_from_bytes(value, safe=safe).encode()
        forms.update(_percent_cases(text))
        forms.update(_percent_cases(text.replace(b"~", b"%7E")))
    for text in _base64_forms(value):
        forms.update(_within_json(text))
        forms.update(_percent_cases(quote_from_bytes(text, safe="").encode()))
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


def _within_json(text: bytes) -> Iterable[bytes]:
    """Yield base64 as it stands in JSON: PHP escapes the slash, .NET the plus, Gson what pads it."""
    yield text
    yield text.replace(b"/", b"\\/")
    yield text.replace(b"+", b"\\u002B")
    yield text.replace(b"=", b"\\u003d")


def _text_forms(value: bytes) -> Iterable[bytes]:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    for form in _json_forms(text):
        yield form.encode("utf-8")
    for more in _HTML_MORE:
        yield _replaced(text, {**_HTML, **more}).encode("utf-8")
    beyond = {char: f"&#x{ord(char):X};" for char in text if ord(char) > _ASCII_MAX}
    yield _replaced(text, {**_HTML, **_HTML_MORE[-1], **beyond}).encode("utf-8")
    yield html.escape(text).encode("utf-8")
    yield text.encode("utf-16-le")
    yield text.encode("utf-16-be")


def _json_forms(text: str) -> Iterable[str]:
    if all(ord(char) <= _PLANE_MAX for char in text):
        yield "".join(f"\\u{ord(char):04x}" for char in text)
        yield "".join(f"\\u{ord(char):04X}" for char in text)
    for ascii_only in (True, False):
        for escaped in _JSON_ESCAPED:
            form = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
            if '"' in escaped:
                form = form.replace('\\"', '"')  # a quote is never behind another backslash of the text: that is two
            form = _replaced(form, {char: f"\\u{ord(char):04x}" for char in escaped})
            for cased in (form, _upper_escapes(form)):
                yield cased
                yield cased.replace("/", "\\/")


def _replaced(text: str, by: Mapping[str, str]) -> str:
    return "".join(by.get(char, char) for char in text)


def _upper_escapes(text: str) -> str:
    r"""Return JSON's `\uXXXX` with upper-case digits."""
    parts = text.split("\\u")
    return "\\u".join([parts[0], *(part[:4].upper() + part[4:] for part in parts[1:])])

"""Honest services that echo a secret as their libraries write it: none of the ways leaves it in the answer."""

import base64
import re
from collections.abc import Callable, Mapping
from urllib.parse import quote, quote_plus

import pytest

from gateway.effects.headers import response_fields
from gateway.vault import masking
from gateway.vault.masking import masked
from gateway.vault.opened import OpenedSecrets

VALUE = "pa55+w/rd==!*'(~)<&>\"x`{}|^[]@:;,$?#%é k"
ISSUED = "Zm9v+YmFy/cXV4=="  # as services hand them out


def escaped(chars: str, form: str) -> Callable[[str], str]:
    """Return an encoder of JSON that writes these characters by their numbers, and no other unless it has to."""
    table = {ord(char): "\\u" + format(ord(char), form) for char in chars}
    return lambda text: text.replace("\\", "\\\\").replace('"', '\\"' if '"' not in chars else '"').translate(table)


def entities(more: Mapping[str, str]) -> Callable[[str], str]:
    named = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}
    return lambda text: "".join({**named, **more}.get(char, char) for char in text)


def percent(safe: str, *, tilde: bool = False, plus: bool = False, lower: bool = False) -> Callable[[str], str]:
    def encode(text: str) -> str:
        out = (quote_plus if plus else quote)(text, safe=safe)
        out = out.replace("~", "%7E") if tilde else out
        return re.sub("%..", lambda found: found[0].lower(), out) if lower else out

    return encode


ENCODERS: dict[str, Callable[[str], str]] = {
    "encodeURIComponent": percent("!'()*"),
    "encodeURI": percent(";,/?:@&=+$!'()*#"),
    "URLSearchParams": percent("*", tilde=True, plus=True),
    "java.net.URLEncoder": percent("*", tilde=True, plus=True),
    "PHP rawurlencode": percent(""),
    "curl, old Python": percent("", tilde=True),
    ".NET Uri.EscapeDataString, lower": percent("", lower=True),
    "WHATWG path": percent("!$%&'()*+,-./:;=@[\\]|"),
    "WHATWG query": percent("!$%&()*+,-./:;=?@[\\]^`{|}"),
    "Go json": escaped("<>&", "04x"),
    "Gson": escaped("<>&='", "04x"),
    "System.Text.Json": escaped("<>&'\"+`é", "04X"),
    "jinja tojson": escaped("<>&'", "04x"),
    "PHP JSON_HEX": escaped("<>&'\"", "04X"),
    "PHP json_encode": lambda text: escaped("é", "04x")(text).replace("/", "\\/"),
    "Go html/template": entities({'"': "&#34;", "'": "&#39;", "+": "&#43;"}),
    ".NET HtmlEncoder": entities({"'": "&#x27;", "+": "&#x2B;", "`": "&#x60;", "é": "&#xE9;"}),
    "mustache": entities({"'": "&#39;", "/": "&#x2F;", "`": "&#x60;", "=": "&#x3D;"}),
    "handlebars": entities({"'": "&#x27;", "`": "&#x60;", "=": "&#x3D;"}),
    "base64 in PHP's JSON": lambda text: base64.b64encode(b"??>" + text.encode()).decode().replace("/", "\\/"),
    "base64 in a query": lambda text: quote(base64.b64encode(b"user:" + text.encode()).decode(), safe=""),
    "base64 in .NET's JSON": lambda text: base64.b64encode(b">>>" + text.encode()).decode().replace("+", "\\u002B"),
}


@pytest.mark.parametrize("name", sorted(ENCODERS))
@pytest.mark.parametrize("value", [VALUE, ISSUED])
def test_no_library_writes_it_past_the_mask(name: str, value: str) -> None:
    """JavaScript, Java, .NET, PHP, Go and the templates escape more, or less, than Python does."""
    told = ENCODERS[name](value).encode()
    answer = masked(b'{"echo":"' + told + b'"}', {"A": value.encode()})
    if not name.startswith("base64"):
        assert answer == b'{"echo":"[secret:A]"}'
    assert told[len(told) // 3 : -len(told) // 3] not in answer


@pytest.mark.parametrize("charset", ["utf-16-le", "utf-16-be", "utf-16"])
def test_wide_text_is_looked_through(charset: str) -> None:
    """A service that answers in UTF-16 echoes all the same."""
    told = f"echo: {ISSUED}.".encode(charset)
    assert ISSUED.encode("utf-16-le") not in masked(told, {"A": ISSUED.encode()})
    assert ISSUED.encode("utf-16-be") not in masked(told, {"A": ISSUED.encode()})


async def told(*fields: tuple[bytes, bytes], **values: bytes) -> Mapping[str, str] | None:
    opened = OpenedSecrets({}, {name: bytearray(value) for name, value in values.items()})
    return await response_fields(fields, opened)


async def test_fields_are_looked_at_as_they_are_told() -> None:
    """Names in small letters, lists in one: a service that writes them its own way brings a value together."""
    fields = ((b"X-DEADBEEFCAFE0123", b"1"), (b"X-AbCdEfGhIj", b"2"), (b"x", b"first"), (b"X", b"second"))
    values = {"A": b"deadbeefcafe0123", "B": b"first, second", "C": b"AbCdEfGhIj"}
    assert await told(*fields, **values) == {"x-[secret:A]": "1", "x-[secret:c]": "2", "x": "[secret:B]"}


async def test_bytes_beyond_ascii_are_looked_for_as_they_came() -> None:
    """A header's bytes are read as Latin-1, which changes none of them."""
    assert await told((b"x", "<geheimé!>".encode()), A="geheimé!".encode()) == {"x": "<[secret:A]>"}


async def test_an_answer_of_many_fields_does_not_hold_the_gateway_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is looked for is made once for an answer: of a long secret it is megabytes."""
    made: list[bytes] = []

    def counted(value: bytes) -> set[bytes]:
        made.append(value)
        return {value}

    monkeypatch.setattr(masking, "forms_of", counted)
    assert await told(*((f"x-{n}".encode(), b"<the value>") for n in range(64)), A=b"the value") is not None
    assert made == [b"the value"]

"""The laws of secrets: no answer gives a value back, and no handle is worth anything outside of its attempt."""

import base64
import html
import json
from collections.abc import Callable
from urllib.parse import quote, quote_from_bytes, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.errors import SanitizationError, SecretRefusedError
from gateway.vault.masking import masked
from gateway.vault.names import HANDLE, check_value
from gateway.vault.placement import used_secrets
from gateway.vault.reader import Attempt, _handle

ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "raw": bytes,
    "base64": base64.b64encode,
    "base64 for urls": base64.urlsafe_b64encode,
    "hex": lambda data: data.hex().encode(),
    "HEX": lambda data: data.hex().upper().encode(),
    "percent": lambda data: quote_from_bytes(data, safe="").encode(),
    "percent, slashes kept": lambda data: quote_from_bytes(data).encode(),
    "percent, all": lambda data: "".join(f"%{byte:02x}" for byte in data).encode(),
    "form": lambda data: quote_plus(data).encode(),
    "json": lambda data: json.dumps(data.decode("latin-1")).encode(),
    "html": lambda data: html.escape(data.decode("latin-1")).encode("latin-1"),
}
TEXTS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=8, max_size=40).map(str.encode)
BYTES = st.binary(max_size=40)


def is_secret(value: bytes) -> bool:
    try:
        check_value("NAME", value)
    except SecretRefusedError:
        return False
    return True


VALUES = TEXTS.filter(is_secret)


@given(value=VALUES, before=BYTES, after=BYTES, name=st.sampled_from(sorted(ENCODINGS)))
def test_no_encoding_of_a_value_is_left(value: bytes, before: bytes, after: bytes, name: str) -> None:
    """Whatever stands before and behind it: the value cannot be read from what is left, in the form that it was in."""
    encode = ENCODINGS[name]
    out = masked(encode(before) + encode(value) + encode(after), {"NAME": value})
    assert encode(value).strip(b'"=') not in out
    assert value not in out


@given(value=VALUES, before=BYTES, after=BYTES, urlsafe=st.booleans())
def test_base64_around_a_value_does_not_hide_it(value: bytes, before: bytes, after: bytes, urlsafe: bool) -> None:
    """As of `user:password`: what is left decodes to something else than the whole value."""
    encode = base64.urlsafe_b64encode if urlsafe else base64.b64encode
    whole = encode(before + value + after)
    assert value in before + value + after
    out = masked(whole, {"NAME": value})
    assert out != whole
    assert b"[secret:NAME]" in out or out == b""


@given(values=st.lists(VALUES, min_size=1, max_size=4, unique=True), data=st.data())
def test_several_values_leave_none_of_them(values: list[bytes], data: st.DataObject) -> None:
    """Also where one holds another, where masks meet, and where taking one out brings another together."""
    secrets = {f"N{at}": value for at, value in enumerate(values)}
    pieces = data.draw(st.lists(st.one_of(st.sampled_from(values), BYTES), max_size=8))
    split = values[0][:3] + values[-1] + values[0][3:]
    out = masked(b"".join([*pieces, split]), secrets)
    assert not [value for value in values if value in out]


@given(data=st.binary(max_size=200), value=VALUES)
def test_what_holds_no_value_stays_as_it_is(data: bytes, value: bytes) -> None:
    """Masking changes nothing else, and masking twice is masking once."""
    once = masked(data, {"NAME": value})
    assume(value not in data)
    assert once == data or b"[secret:NAME]" in once
    assert masked(once, {"NAME": value}) == once


ATTEMPTS = st.builds(
    Attempt,
    tenant=st.sampled_from(["a", "b", "ab"]),
    mission_id=st.sampled_from(["m", "n"]),
    step_id=st.sampled_from(["s", "t", "st"]),
    item=st.sampled_from([None, 0, 1]),
    seed=st.sampled_from(["0" * 32, "1" * 32]),
)
NAMES = st.sampled_from(["A", "B", "AB"])
KEYS = st.binary(min_size=32, max_size=32)


@given(one=ATTEMPTS, two=ATTEMPTS, name=NAMES, other=NAMES, keys=st.tuples(KEYS, KEYS))
def test_a_handle_is_of_one_attempt_and_one_name(
    one: Attempt, two: Attempt, name: str, other: str, keys: tuple[bytes, bytes]
) -> None:
    """The same for the same, another for any other, and another under any other key of a vault."""
    key = bytearray(keys[0])
    first = _handle(key, one, name)
    assert HANDLE.fullmatch(first)
    assert (first == _handle(key, two, other)) is ((one, name) == (two, other))
    assume(keys[0] != keys[1])
    assert first != _handle(bytearray(keys[1]), one, name)


@given(
    op=st.sampled_from(["http.request", "file.write", "mission.run", "approval.request", "timer.sleep"]),
    path=st.lists(
        st.sampled_from(["url", "headers", "body", "path", "content", "x-a", "mission"]), min_size=1, max_size=4
    ),
    as_key=st.booleans(),
    own=st.booleans(),
    text=st.sampled_from(["{}", "Bearer {}", "{} ", "x{}x"]),
    upper=st.booleans(),
)
def test_a_handle_is_taken_in_two_places_only(
    op: str, path: list[str], as_key: bool, own: bool, text: str, upper: bool
) -> None:
    """The value of a header field and the body of a request; anywhere else, and not ours anywhere, it refuses."""
    handle = "mgsecret_" + "a" * 64
    shown = text.format(handle.upper() if upper else handle)
    value: object = {shown: "x"} if as_key else shown
    for name in reversed(path):
        value = {name: value}
    place = op == "http.request" and (path == ["body"] or (len(path) == 2 and path[0] == "headers"))
    if place and own and not as_key and not upper:
        assert used_secrets(op, value, {handle: "A"}, field="args") == ("A",)  # type: ignore[arg-type]
        return
    with pytest.raises(SanitizationError) as refused:
        used_secrets(op, value, {handle: "A"} if own else {}, field="args")  # type: ignore[arg-type]
    [violation] = refused.value.violations
    assert violation.code in {"effect.secret_misplaced", "effect.secret_foreign"}
    assert handle not in f"{violation.field} {violation.message}".lower()


@given(halves=st.integers(1, 72), quoting=st.sampled_from([quote, str.title]))
def test_a_handle_in_two_halves_is_none(halves: int, quoting: Callable[[str], str]) -> None:
    """Nothing is put in its place, whatever a recipient makes of the halves."""
    handle = "mgsecret_" + "a" * 64
    args = {"url": f"http://h/{quoting(handle[:halves])}", "headers": {"a": handle[:halves], "b": handle[halves:]}}
    assert used_secrets("http.request", args, {handle: "A"}, field="args") == ()

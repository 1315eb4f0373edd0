"""The documents of screens, rewrites and observers: written as documented, and read strictly."""

import json
from typing import Any

import orjson
import pytest

from gateway.errors import SandboxError
from gateway.sandbox.abi import StepFault
from gateway.sandbox.abi_hooks import (
    LIMIT_MAX,
    REASON_CHARS_MAX,
    REASON_CODE_CHARS_MAX,
    REASONS_MAX,
    ScreenReason,
    ScreenVerdict,
    decode_observer,
    decode_rewrite,
    decode_screen,
    encode_value,
    frame,
    is_code,
)

REASON = {"code": "a.b", "message": "m"}


def test_the_frame_goes_around_the_very_bytes() -> None:
    """What policy saw is given on byte for byte, behind what the hook is given beside it."""
    document = b'{"version":1,"parameters":{"n":1.50}}'
    framed = frame(document, kind="screen", at="step", now="2026", seed="00", settings=b'{"a":1}')
    assert framed.endswith(document[1:])
    assert framed.startswith(b'{"abi":1,"kind":"screen","at":"')
    assert json.loads(framed) == {
        "abi": 1,
        "kind": "screen",
        "at": "step",
        "now": "2026",
        "seed": "00",
        "settings": {"a": 1},
        "version": 1,
        "parameters": {"n": 1.5},
    }


def test_a_value_that_cannot_be_written_is_no_document() -> None:
    """Deeper than the encoder goes: a refusal, and no bug."""
    deep: Any = None
    for _ in range(300):
        deep = [deep]
    with pytest.raises(SandboxError) as refused:
        encode_value("output", deep, {})
    assert refused.value.code == "sandbox.output_invalid"


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        ({"verdict": "allow"}, ScreenVerdict("allow", (), {})),
        ({"verdict": "abstain", "reasons": [], "narrow": {}}, ScreenVerdict("abstain", (), {})),
        ({"verdict": "deny", "reasons": [REASON]}, ScreenVerdict("deny", (ScreenReason("a.b", "m"),), {})),
        ({"verdict": "allow", "narrow": {"fuel_max": 1}}, ScreenVerdict("allow", (), {"fuel_max": 1})),
        ({"error": {"code": "c", "message": "m"}}, StepFault("c", "m", retryable=False)),
    ],
)
def test_what_a_screen_may_answer(answer: Any, read: object) -> None:
    """A verdict, with reasons and less where it likes, or that it cannot say."""
    assert decode_screen(orjson.dumps(answer)) == read


SCREEN_NONSENSE = [
    b"", b"null", b"[]", b"{}", b'"allow"', b'{"verdict":"Allow"}', b'{"verdict":true}', b'{"verdict":["allow"]}',
    b'{"verdict":"allow","allow":true}', b'{"verdict":"allow"}x', b'{"verdict":"deny","verdict":"allow"}',
    b'{"verdict":"allow","reasons":{}}', b'{"verdict":"deny","reasons":["no"]}', b'{"reasons":[]}',
    b'{"verdict":"deny","reasons":[{"code":"a"}]}', b'{"verdict":"deny","reasons":[{"code":"a","message":""}]}',
    b'{"verdict":"deny","reasons":[{"code":"A","message":"m"}]}',
    b'{"verdict":"deny","reasons":[{"code":"a.","message":"m"}]}',
    b'{"verdict":"deny","reasons":[{"code":"a","message":"m","rule":"x"}]}',
    b'{"verdict":"allow","narrow":[]}', b'{"verdict":"allow","narrow":{"output_bytes_max":1}}',
    b'{"verdict":"allow","narrow":{"fuel_max":0}}', b'{"verdict":"allow","narrow":{"fuel_max":1.0}}',
    b'{"verdict":"allow","narrow":{"fuel_max":true}}', b'{"verdict":"allow","narrow":{"fuel_max":-1}}',
    b'{"verdict":"allow","error":{"code":"a","message":"m"}}', b'{"error":{}}', b'{"error":"no"}',
    b"\xff", b'{"verdict":"all\\ud800ow"}', b"[" * 100_000,
    orjson.dumps({"verdict": "deny", "reasons": [REASON] * (REASONS_MAX + 1)}),
    orjson.dumps({"verdict": "deny", "reasons": [{**REASON, "code": "a" * (REASON_CODE_CHARS_MAX + 1)}]}),
    orjson.dumps({"verdict": "deny", "reasons": [{**REASON, "message": "m" * (REASON_CHARS_MAX + 1)}]}),
    orjson.dumps({"verdict": "allow", "narrow": {"fuel_max": LIMIT_MAX + 1}}),
]  # fmt: skip


@pytest.mark.parametrize("data", SCREEN_NONSENSE, ids=lambda data: repr(data[:60]))
def test_everything_else_is_no_verdict(data: bytes) -> None:
    """A screen that says anything but a verdict has said nothing: that is for its profile to judge."""
    with pytest.raises(SandboxError) as refused:
        decode_screen(data)
    assert refused.value.code == "sandbox.output_invalid"


@pytest.mark.parametrize("value", [None, 0, "x", [1], {"a": {"b": []}}])
def test_an_output_is_any_value(value: Any) -> None:
    """Null and false are values too, so what was read comes in a tuple."""
    assert decode_rewrite(orjson.dumps({"output": value}), "output") == (value,)


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b'{"parameters":[]}', "parameters"),
        (b'{"parameters":null}', "parameters"),
        (b'{"output":{}}', "parameters"),
        (b'{"parameters":{}}', "output"),
        (b'{"parameters":{},"output":{}}', "output"),
        (b'{"parameters":{},"error":{"code":"a","message":"m"}}', "parameters"),
        (b'{"parameters":{"a":1,"a":2}}', "parameters"),
        (b'{"parameters":{"a":' + b"[" * 200 + b"]" * 200 + b"}}", "parameters"),
        (b'{"output":1', "output"),
        (b'{"output":18446744073709551616}', "output"),
        (b"{}", "output"),
        (b"[]", "output"),
    ],
)
def test_what_is_no_rewrite_is_refused(data: bytes, place: Any) -> None:
    """The one field of its place, well-formed and within bounds of depth; nothing beside it."""
    with pytest.raises(SandboxError) as refused:
        decode_rewrite(data, place)
    assert refused.value.code == "sandbox.output_invalid"


@pytest.mark.parametrize(
    ("data", "report"),
    [
        (b'{"error":{"code":"found","message":"m"}}', StepFault("found", "m", retryable=False)),
        (b"{}", None),
        (b"\xff", None),
        (b'{"error":1}', None),
        (b'{"error":{"code":"found","message":"m"},"more":1}', None),
        (b"", None),
    ],
)
def test_of_an_observer_only_an_error_is_read(data: bytes, report: object) -> None:
    """Its other answers are dropped, well-formed or not."""
    assert decode_observer(data) == report


@pytest.mark.parametrize(
    ("code", "fits"), [("a", True), ("a.b_c.d1", True), ("A", False), ("a..b", False), ("", False)]
)
def test_codes_are_words_joined_by_dots(code: str, *, fits: bool) -> None:
    """Lower case, and short enough for the hook's name to go before it."""
    assert is_code(code) is fits
    assert not is_code("a" * (REASON_CODE_CHARS_MAX + 1))

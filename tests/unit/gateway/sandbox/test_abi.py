import orjson
import pytest

from gateway.errors import SandboxError
from gateway.sandbox.abi import (
    EFFECTS_MAX,
    EffectAsked,
    StepEffects,
    StepFault,
    StepOutput,
    decode_step_output,
    encode_step,
    reports_memory,
)


def test_the_input_document_is_the_documented_one() -> None:
    """Field for field as in the ABI."""
    document = encode_step(
        step_id="a",
        name="A",
        step_type="http",
        attempt=1,
        parameters={"url": "x"},
        journal=[{"ok": 1}],
        now="n",
        seed="s",
    )
    assert orjson.loads(document) == {
        "abi": 1,
        "kind": "step",
        "step": {"id": "a", "name": "A", "step_type": "http", "attempt": 1},
        "parameters": {"url": "x"},
        "journal": [{"ok": 1}],
        "now": "n",
        "seed": "s",
    }


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b'{"output":null}', StepOutput(None)),
        (b'{"output":{"a":[1]}}', StepOutput({"a": [1]})),
        (b'{"effects":[{"op":"timer.sleep","args":{"ms":1}}]}', StepEffects((EffectAsked("timer.sleep", {"ms": 1}),))),
        (b'{"error":{"code":"c","message":"m"}}', StepFault("c", "m", retryable=False)),
        (b'{"error":{"code":"c","message":"m","retryable":true}}', StepFault("c", "m", retryable=True)),
    ],
)
def test_the_three_answers_are_read(data: bytes, answer: object) -> None:
    """An answer is an output, effects, or an error."""
    assert decode_step_output(data) == answer


@pytest.mark.parametrize(
    "data",
    [
        b"", b"null", b"[]", b"{}", b'"output"', b'{"output":1,"effects":[]}', b'{"result":1}', b'{"output":1}x',
        b'{"output":NaN}', b"\xff", b'{"output":"\xff"}', b'{"output":"\\ud800"}', b"[" * 100_000,
        b'{"effects":[]}', b'{"effects":{}}', b'{"effects":[1]}', b'{"effects":[{"op":"x"}]}',
        b'{"effects":[{"op":"x","args":[]}]}', b'{"effects":[{"op":1,"args":{}}]}',
        b'{"effects":[{"op":"","args":{}}]}',
        b'{"effects":[{"op":"x","args":{},"more":1}]}',
        b'{"effects":[' + b",".join([b'{"op":"x","args":{}}'] * (EFFECTS_MAX + 1)) + b"]}",
        b'{"error":"text"}', b'{"error":{"code":"c"}}', b'{"error":{"code":1,"message":"m"}}',
        b'{"error":{"code":"c","message":"m","retryable":1}}', b'{"error":{"code":"c","message":"m","more":1}}',
        b'{"error":{"code":"' + b"c" * 200 + b'","message":"m"}}',
    ],
)  # fmt: skip
def test_anything_else_is_refused(data: bytes) -> None:
    """Unknown fields, wrong types, two answers at once, no JSON: one typed error."""
    with pytest.raises(SandboxError) as caught:
        decode_step_output(data)
    assert caught.value.code == "sandbox.output_invalid"


def test_only_the_error_code_memory_reports_memory() -> None:
    """Neither an output that says so nor nonsense does."""
    assert reports_memory(b'{"error":{"code":"memory","message":"m"}}')
    assert not reports_memory(b'{"error":{"code":"other","message":"memory"}}')
    assert not reports_memory(b'{"output":{"code":"memory"}}')
    assert not reports_memory(b"memory")


def test_a_long_number_changes_no_other_rule() -> None:
    """An answer that is accepted without one is accepted with one, nested as deeply as a step may nest its output."""
    text = "[" * 64 + "]" * 64
    for number in ("1", "1234567890123456789"):
        answer = decode_step_output(f'{{"output":{{"content":[{text},{number}]}}}}'.encode())
        assert isinstance(answer, StepOutput)

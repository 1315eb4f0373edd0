from typing import Any

import orjson
import pytest

from gateway.policy import answer
from gateway.policy.answer import Status
from gateway.policy.bundle import Bundle
from gateway.policy.decision import Decision
from gateway.policy.engine import ENTRYPOINTS, Entrypoint
from gateway.policy.evaluator import Evaluator
from gateway.policy.regorus_engine import RegorusEngine
from gateway.policy.vetting import Module
from gateway.policy.worker import serve

MANIFEST = {"revision": "t", "roots": ["gateway"]}


def bundle(body: str, package: str = "gateway.step") -> Bundle:
    text = f"package {package}\n\nimport rego.v1\n\n{body}\n"
    return Bundle.build(manifest=MANIFEST, data={}, modules=[Module("t.rego", text)])


async def decide(body: str, document: bytes = b"{}", entrypoint: Entrypoint = "step") -> Decision:
    return await RegorusEngine(bundle(body)).decide(entrypoint, document)


def codes(decision: Decision) -> list[str]:
    return [reason.code for reason in decision.reasons]


async def test_a_yes_carries_the_digest_of_its_bundle() -> None:
    """What policy answered, and which policy it was."""
    loaded = bundle('decision := {"allow": true, "reasons": []}')
    decision = await RegorusEngine(loaded).decide("step", b"{}")
    assert decision == Decision(allow=True, bundle=loaded.digest)


@pytest.mark.parametrize(
    ("body", "document", "code"),
    [
        ('decision := {"allow": true, "reasons": []} if input.x', b"{}", "policy.undefined"),
        ("other := 1", b"{}", "policy.undefined"),
        ('decision := "<undefined>"', b"{}", "policy.undefined"),
        ("decision := true", b"{}", "policy.malformed"),
        ('decision := {"allow": true}', b"{}", "policy.malformed"),
        ('decision := {"allow": input.x, "reasons": []}', b'{"x":"yes"}', "policy.malformed"),
        ("decision := 1\ndecision := 2 if input.x", b'{"x":1}', "policy.failed"),
        ('decision := startswith(input.x, "a")', b'{"x":1}', "policy.failed"),
        ("decision := input", b"not json", "policy.failed"),
        ("decision := input", b"\xff", "policy.failed"),
        ("decision := input", b'"\\ud800"', "policy.failed"),
        ("decision := input", b"[" * 200 + b"]" * 200, "policy.failed"),
    ],
)
async def test_whatever_goes_wrong_is_a_deny(body: str, document: bytes, code: str) -> None:
    """Undefined, malformed, failing: a deny with a stable code, never an exception."""
    decision = await decide(body, document)
    assert decision.allow is False
    assert codes(decision) == [code]


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
async def test_an_entrypoint_without_a_package_is_a_deny(entrypoint: Entrypoint) -> None:
    """A bundle that does not speak of an entrypoint denies it."""
    engine = RegorusEngine(bundle("x := 1", "gateway.other"))
    assert codes(await engine.decide(entrypoint, b"{}")) == ["policy.undefined"]


async def test_a_failed_evaluation_does_not_colour_the_next() -> None:
    """An error in the middle leaves nothing behind: the same engine answers the next document rightly."""
    body = 'decision := {"allow": startswith(input.x, "a"), "reasons": []}'
    engine = RegorusEngine(bundle(body))
    answers = [
        await engine.decide("step", raw) for raw in (b'{"x":"a"}', b'{"x":1}', b'{"x":"b"}', b"{}", b'{"x":"a"}')
    ]
    assert [decision.allow for decision in answers] == [True, False, False, False, True]
    assert codes(answers[1]) == ["policy.failed"]
    assert codes(answers[3]) == ["policy.undefined"]


class _Broken:
    """An engine whose evaluation raises."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def clone(self) -> "_Broken":
        return self

    def set_input_json(self, _: str) -> None:
        raise self._error


class PanicException(BaseException):
    pass


@pytest.mark.parametrize("error", [PanicException("index out of bounds"), MemoryError(), TypeError("x")])
def test_a_panic_is_a_deny(error: BaseException) -> None:
    """pyo3's PanicException is no Exception; it is a deny all the same, and its text stays inside."""
    evaluator = Evaluator(*_parts("decision := 1"))
    evaluator._engine = _Broken(error)
    decision = answer.decide("step", evaluator.evaluate("step", b"{}"), bundle="sha256:0")
    assert codes(decision) == ["policy.crashed"]
    assert "index" not in decision.reasons[0].message


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit()])
def test_only_a_panic_is_swallowed(error: BaseException) -> None:
    """Whoever wants the process to end is heard."""
    evaluator = Evaluator(*_parts("decision := 1"))
    evaluator._engine = _Broken(error)
    with pytest.raises(type(error)):
        evaluator.evaluate("step", b"{}")


def _parts(body: str) -> Any:
    loaded = bundle(body)
    return loaded.sources, loaded.document


def test_the_worker_answers_as_the_engine_does() -> None:
    """A worker's handler gives the engine's answer frame, and a typed answer to nonsense."""
    loaded = bundle('decision := {"allow": input.x == 1, "reasons": []}')
    handle = serve(loaded.packed, ())
    frame = handle(answer.encode_request("step", b'{"x":1}'))
    assert frame[0] == Status.VALUE
    assert orjson.loads(frame[1:]) == {"allow": True, "reasons": []}
    assert handle(b"")[0] == Status.FAILED
    assert handle(b"\x09{}")[0] == Status.FAILED


@pytest.mark.parametrize("frame", [b"", b"\x09", b"\xff{}"])
def test_an_answer_without_a_status_is_a_deny(frame: bytes) -> None:
    """Every frame stands for a decision."""
    assert codes(answer.decide("rpc", frame, bundle="sha256:0")) == ["policy.malformed"]


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_requests_are_read_back(entrypoint: Entrypoint) -> None:
    """Decoding undoes encoding."""
    assert answer.decode_request(answer.encode_request(entrypoint, b"{}")) == (entrypoint, b"{}")

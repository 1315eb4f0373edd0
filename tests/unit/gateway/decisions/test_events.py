"""Events of the log: one line each whatever is in a document, and nothing told that the bundle does not let it tell."""

import json
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from gateway.decisions.entry import Entry, decision_id
from gateway.decisions.events import BundleFacts, KnownBundles, log_event, parse_document
from gateway.decisions.mask import DEFAULT_MASK, read_mask
from gateway.errors import PolicyInvalidError, Reason
from gateway.policy.bundle import Bundle
from gateway.policy.decision import Decision
from gateway.policy.engine import Entrypoint
from tests.decision_records import DIGEST, NO
from tests.policy_documents import effect, mission, rpc, step

MOMENT = datetime(2026, 7, 1, 12, 30, 15, 250_000, tzinfo=UTC)
OPEN = BundleFacts("r1", ())


def event(
    document: bytes, *, entrypoint: Entrypoint = "step", facts: BundleFacts = OPEN, decision: Decision = NO
) -> dict[str, Any]:
    entry = Entry(
        id=decision_id(0), moment=MOMENT, entrypoint=entrypoint, document=document, decision=decision, eval_ns=7
    )
    line = log_event(entry, "2026-07-01T12:30:15.250000Z", parse_document(document), facts, {"id": "g", "version": "1"})
    assert line.decode().splitlines() == [line.decode()]
    found: dict[str, Any] = json.loads(line, parse_constant=pytest.fail)
    return found


def bundle(config: dict[str, Any], revision: str = "r7") -> Bundle:
    return Bundle.build(
        manifest={"revision": revision, "roots": ["gateway"]}, data={"gateway": {"config": config}}, modules=[]
    )


def test_an_event_says_what_opa_would_say() -> None:
    """Every field, the input as it was asked."""
    document = step("create_file", {"path": "out/x"})
    found = event(document)
    found.pop("decision_id")
    assert found == {
        "labels": {"id": "g", "version": "1"},
        "bundles": {"missiongate": {"revision": "r1"}},
        "path": "gateway/step/decision",
        "input": json.loads(document),
        "result": {
            "allow": False,
            "reasons": [{"code": "step.path_closed", "message": "path: closed", "rule": "data.gateway.step.deny"}],
        },
        "requested_by": "red/ann",
        "timestamp": "2026-07-01T12:30:15.250000Z",
        "metrics": {"timer_rego_query_eval_ns": 7},
    }


@pytest.mark.parametrize(
    ("entrypoint", "document"),
    [
        ("step", step("create_file", {"path": "s3cret"})),
        ("effect", effect("create_file", "file.write", {"path": "s3cret"})),
        ("mission", mission(3).replace(b"out/x", b"s3cret").replace(b'"variables":{}', b'"variables":{"a":"s3cret"}')),
        ("rpc", rpc("gateway.v1.MissionService", "SubmitMission")),
    ],
)
def test_by_default_parameters_are_not_told(entrypoint: Entrypoint, document: bytes) -> None:
    """In none of the four documents."""
    found = event(document, entrypoint=entrypoint, facts=BundleFacts("r1", DEFAULT_MASK))
    assert "s3cret" not in json.dumps(found)
    assert found["path"] == f"gateway/{entrypoint}/decision"
    assert found["input"]["principal"]["subject"] == "ann"
    assert bool(found.get("erased")) is (entrypoint != "rpc")


@pytest.mark.parametrize(
    "text", ["\n", "\r\n", "\u2028", "\u2029", "\u0085", "\u0000", '"}\n{"forged":1}', "\x0b\x0c\x1c", "ä€😀"]
)
def test_no_text_ends_a_line(text: str) -> None:
    """Nor a value that a document has, nor a name, nor a reason: whoever reads lines reads events."""
    document = orjson.dumps({"principal": {"tenant": text, "subject": text}, "parameters": {text: text}})
    reason = Reason(text, text, text)
    found = event(document, decision=Decision(allow=False, bundle=DIGEST, reasons=(reason,)))
    assert found["input"]["parameters"] == {text: text}
    assert found["requested_by"] == f"{text}/{text}"
    assert found["result"]["reasons"] == [{"code": text, "message": text, "rule": text}]


@pytest.mark.parametrize("document", [b"", b"no JSON", b"\xff", b'{"a":NaN,"n":' + b"9" * 30 + b"}", b"[" * 100_000])
def test_what_is_no_json_is_not_told(document: bytes) -> None:
    """The event is there, without an input, and says that it was erased."""
    found = event(document)
    assert "input" not in found
    assert (found["erased"], found["requested_by"]) == (["/input"], "")


@pytest.mark.parametrize("number", [2**53 + 1, 2**63, 2**64, 10**40, -(10**40)])
def test_whole_numbers_are_exact(number: int) -> None:
    """However large."""
    assert event(b'{"n":%d}' % number)["input"] == {"n": number}


def test_numbers_that_json_cannot_spell_are_erased() -> None:
    """A float that overflows has no value to tell beside a number that orjson does not write."""
    found = event(b'{"f":1e999,"n":' + b"9" * 40 + b"}")
    assert (found["input"], found["erased"]) == (None, ["/input"])


def test_who_asked_is_told_as_far_as_the_mask_leaves_it() -> None:
    """A mask of the principal is not evaded by the field beside it."""
    document = step("transform", {})
    for path, said in (
        ("/input", ""),
        ("/input/principal", ""),
        ("/input/principal/subject", ""),
        ("/input/principal/tenant", "ann"),
    ):
        mask = read_mask({"decision_log": {"mask": [{"op": "remove", "path": path}]}})
        assert event(document, facts=BundleFacts("r1", mask))["requested_by"] == said
    mask = read_mask({"decision_log": {"mask": [{"op": "upsert", "path": "/input/principal/subject", "value": "**"}]}})
    found = event(document, facts=BundleFacts("r1", mask))
    assert (found["requested_by"], found["masked"]) == ("red/**", ["/input/principal/subject"])


def test_a_bundle_is_known_before_it_answers() -> None:
    """Its revision and its mask; without a revision, its digest. Of an unknown one nothing of the input is told."""
    bundles = KnownBundles()
    masked = bundle({"decision_log": {"mask": []}})
    plain = bundle({}, revision="")
    bundles.learn(masked)
    bundles.learn(plain)
    assert bundles.of(masked.digest) == BundleFacts("r7", ())
    assert bundles.of(plain.digest) == BundleFacts(plain.digest, DEFAULT_MASK)
    found = event(step("transform", {}), facts=bundles.of("sha256:unknown"))
    assert "input" not in found
    assert found["erased"] == ["/input"]


def test_a_bundle_whose_mask_is_none_is_not_learned() -> None:
    """It is refused, so that it is never activated."""
    bundles = KnownBundles()
    with pytest.raises(PolicyInvalidError) as refused:
        bundles.learn(bundle({"decision_log": {"mask": [{"op": "remove"}]}}))
    assert refused.value.code == "policy.decision_log"


def test_of_many_bundles_the_first_are_forgotten() -> None:
    """What is kept is bounded; what answers now is among it."""
    bundles = KnownBundles()
    made = [bundle({}, revision=f"r{number}") for number in range(300)]
    for each in made[:200]:
        bundles.learn(each)
    bundles.learn(made[0])  # a rollback
    for each in made[200:]:
        bundles.learn(each)
    assert bundles.of(made[0].digest).revision == "r0"
    assert bundles.of(made[1].digest).mask != DEFAULT_MASK
    assert bundles.of(made[299].digest).revision == "r299"

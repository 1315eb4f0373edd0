"""Laws of the decision log and of records: whatever clients write, masks hold, lines are whole, bytes come back."""

import json
from datetime import UTC, datetime
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from gateway.decisions.entry import Entry, decision_id
from gateway.decisions.events import BundleFacts, log_event, parse_document
from gateway.decisions.keys import RecordKeys
from gateway.decisions.mask import DEFAULT_MASK, read_mask
from gateway.decisions.rows import Asked, pack, unpack
from gateway.errors import StoreError
from gateway.policy.decision import Decision

SECRET = "5ecret-5ecret"  # noqa: S105 - what must not be told
MOMENT = datetime(2026, 7, 1, tzinfo=UTC)
NAMES = st.text(max_size=6) | st.sampled_from(["*", "~1", "~0", "a/b", "", "0", "parameters", "args", "\u2028", "\n"])
PLAIN = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=8)
VALUES = st.recursive(
    PLAIN | st.just(SECRET), lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4)
)
DOCUMENTS = st.fixed_dictionaries(
    {"parameters": VALUES},
    optional={
        "effect": st.fixed_dictionaries({"op": st.text(max_size=5), "args": VALUES}),
        "mission": st.fixed_dictionaries(
            {"variables": VALUES, "steps": st.lists(st.fixed_dictionaries({"parameters": VALUES}), max_size=3)}
        ),
        "principal": st.fixed_dictionaries({"subject": st.text(max_size=8), "tenant": st.text(max_size=8)}),
    },
)


def line_of(document: bytes, facts: BundleFacts) -> bytes:
    entry = Entry(
        id=decision_id(1),
        moment=MOMENT,
        entrypoint="step",
        document=document,
        decision=Decision(allow=True, bundle="sha256:b"),
        eval_ns=1,
    )
    return log_event(entry, "2026-07-01T00:00:00.000000Z", parse_document(document), facts, {"id": "g"})


@given(DOCUMENTS)
def test_the_default_mask_holds_whatever_names_and_values_are(document: dict[str, Any]) -> None:
    """No parameter, argument or variable is told, in no spelling; what stands beside them is."""
    line = line_of(json.dumps(document).encode(), BundleFacts("r", DEFAULT_MASK))
    assert SECRET.encode() not in line
    event = json.loads(line)
    assert event["input"].get("principal") == document.get("principal")
    assert "/input/parameters" in event["erased"]


@given(st.dictionaries(NAMES, st.dictionaries(NAMES, PLAIN, max_size=3), max_size=4))
def test_a_star_reaches_every_name(parameters: dict[str, dict[str, Any]]) -> None:
    """One level down, whatever it is called, and nothing else."""
    document = {"parameters": {name: {**value, "secret": SECRET} for name, value in parameters.items()}}
    mask = read_mask({"decision_log": {"mask": [{"op": "remove", "path": "/input/parameters/*/secret"}]}})
    event = json.loads(line_of(json.dumps(document).encode(), BundleFacts("r", mask)))
    left = {name: {k: v for k, v in value.items() if k != "secret"} for name, value in parameters.items()}
    assert event["input"] == {"parameters": left}


@given(st.one_of(DOCUMENTS.map(lambda value: json.dumps(value).encode()), st.binary(max_size=60)))
def test_an_event_is_one_line_of_json(document: bytes) -> None:
    """To every reader of lines, also where the document is none."""
    line = line_of(document, BundleFacts("r", ()))
    assert line.decode().splitlines() == [line.decode()]
    event = json.loads(line)
    try:
        assert event["input"] == json.loads(document)
    except (ValueError, KeyError):
        assert event["erased"] == ["/input"]


@given(st.binary(max_size=10_000))
def test_what_is_packed_and_sealed_comes_back(document: bytes) -> None:
    """Byte for byte, and only in its place, on its day, with its key."""
    keys, other = RecordKeys(b"k" * 32), RecordKeys(b"o" * 32)
    sealed = keys.seal(5, pack(document), ("document", "d"))
    assert unpack(keys.open(5, sealed, ("document", "d"))) == document
    refused = 0
    for opener, day, place in (
        (other, 5, ("document", "d")),
        (keys, 6, ("document", "d")),
        (keys, 5, ("document", "e")),
    ):
        try:
            opener.open(day, sealed, place)
        except StoreError:
            refused += 1
    assert refused == 3


@given(st.binary(max_size=40))
def test_nothing_else_is_unpacked(packed: bytes) -> None:
    """Damage has an error of its own."""
    try:
        document = unpack(packed)
    except StoreError as error:
        document = error.code.encode()
    assert document == b"decisions.unreadable" or unpack(pack(document)) == document


@given(VALUES | DOCUMENTS)
def test_whoever_asked_is_read_from_any_value(value: Any) -> None:
    """Texts or nothing: a row can always be written."""
    asked = Asked.of(json.dumps(value).encode())
    assert all(each is None or isinstance(each, str) for each in (asked.tenant, asked.subject, asked.mission_id))
    for each in (asked.tenant, asked.subject, asked.mission_id):
        assert each is None or orjson.dumps(each)


@given(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=6))
def test_tags_tell_people_apart(people: list[tuple[str, str]]) -> None:
    """Two have one tag where they are the same person of the same tenant, and under another key it is another."""
    keys, other = RecordKeys(b"k" * 32), RecordKeys(b"o" * 32)
    assert len({keys.tag(*each) for each in people}) == len(set(people))
    assert {keys.tag(*each) for each in people}.isdisjoint(other.tag(*each) for each in people)

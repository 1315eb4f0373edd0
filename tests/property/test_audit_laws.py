"""Laws of the audit log, for any event and any change."""

import contextlib
import hashlib
from datetime import timedelta

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.audit.chain import Chain, ChainError
from engine.audit.checkpoint import Checkpoint, CheckpointError, open_checkpoint, sign_checkpoint
from engine.audit.keys import Ed25519Signer, VerifierKey
from engine.audit.merkle import Frontier, leaf_hash
from engine.audit.record import RecordError, unseal
from engine.audit.verify.line import LineError, Lines
from engine.audit.verify.note import NoteError, read_head, read_key
from engine.audit.verify.tree import Tree
from engine.values import JsonObject, JsonValue
from tests.audit_logs import SIGNER, START, VKEY, counting_entropy, reseal, tree_root

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
values: st.SearchStrategy[JsonValue] = st.recursive(
    scalars | text, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4), max_leaves=12
)
objects = st.dictionaries(text.filter(lambda key: key != "clock_raw"), values, max_size=5)
words = st.from_regex(r"[a-z][a-z0-9_]{0,8}(\.[a-z][a-z0-9_]{0,8}){1,3}", fullmatch=True)
events = st.lists(st.tuples(words, text, text, objects, st.integers(-5, 5)), min_size=1, max_size=8)


def written(some: list[tuple[str, str, str, JsonObject, int]]) -> list[bytes]:
    """Return the lines that a chain makes of events; the last number moves the clock by so many microseconds."""
    chain = Chain(counting_entropy())
    now = START
    lines = []
    for event_type, actor, target, details, step in some:
        now += timedelta(microseconds=step)
        lines.append(chain.link(event_type, actor=actor, target=target, details=details, now=now))
    return lines


def read_by_writer(lines: list[bytes]) -> int:
    """Return how many lines the writer's own reading accepts."""
    chain = Chain(counting_entropy())
    try:
        for line in lines:
            chain.accept(unseal(line))
    except (RecordError, ChainError):
        pass
    return chain.next_seq


def read_by_verifier(lines: list[bytes]) -> int:
    """Return how many lines the verifier accepts."""
    reader = Lines()
    leaves: list[bytes] = []
    with contextlib.suppress(LineError):
        reader.check(lines, leaves)
    assert len(leaves) == reader.seq
    return reader.seq


@given(events)
def test_what_is_written_is_read(some: list[tuple[str, str, str, JsonObject, int]]) -> None:
    """Reading after writing is the identity, for both readers, whatever the clock does."""
    lines = written(some)
    assert read_by_writer(lines) == read_by_verifier(lines) == len(some)
    for line, (event_type, actor, target, details, _) in zip(lines, some, strict=True):
        record = unseal(line)
        assert (record.event_type, record.actor, record.target) == (event_type, actor, target)
        kept = dict(record.details)
        kept.pop("clock_raw", None)
        assert orjson.dumps(kept) == orjson.dumps(details)
    times = [unseal(line).timestamp for line in lines]
    assert times == sorted(set(times))


@given(events, st.data())
def test_any_changed_byte_breaks_the_chain(
    some: list[tuple[str, str, str, JsonObject, int]], data: st.DataObject
) -> None:
    """Change one byte of one line: both readers stop at that line, and nothing before it is blamed."""
    lines = written(some)
    which = data.draw(st.integers(0, len(lines) - 1))
    at = data.draw(st.integers(0, len(lines[which]) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda b: b != lines[which][at]))
    changed = [*lines]
    changed[which] = lines[which][:at] + bytes([byte]) + lines[which][at + 1 :]
    assert read_by_writer(changed) == read_by_verifier(changed) == which


@given(events, st.data())
def test_any_other_order_is_seen(some: list[tuple[str, str, str, JsonObject, int]], data: st.DataObject) -> None:
    """Any rearrangement, omission or repetition of lines is seen at its first place."""
    lines = written(some)
    order = data.draw(st.lists(st.integers(0, len(lines) - 1), max_size=len(lines) + 2))
    good = 0
    while good < min(len(order), len(lines)) and order[good] == good:
        good += 1
    found = [lines[index] for index in order]
    assert read_by_writer(found) == read_by_verifier(found) == good


@settings(max_examples=300)
@given(objects, st.data())
def test_both_readers_agree_on_any_text_with_a_true_hash(details: JsonObject, data: st.DataObject) -> None:
    """Even where a forger makes the hash fit, the writer's reading and the verifier's never part ways."""
    (line,) = written([("a.b", "x", "y", details, 0)])
    body = bytearray(line[:-75] + b"}")
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 2))] = data.draw(
            st.sampled_from([b"", b" ", b"0", b".", b"e", b'"', b"1"])
        )
    forged = reseal(bytes(body))
    assert read_by_writer([forged]) == read_by_verifier([forged])


@given(st.lists(st.binary(max_size=8), max_size=200), st.data())
def test_three_trees_have_one_root(entries: list[bytes], data: st.DataObject) -> None:
    """The writer's frontier and the verifier's fold, fed in any portions, agree with RFC 6962's own definition."""
    frontier, tree = Frontier(), Tree()
    rest = [leaf_hash(entry) for entry in entries]
    for leaf in rest:
        frontier.append(leaf)
    while rest:
        count = data.draw(st.integers(1, len(rest)))
        tree.extend(rest[:count])
        rest = rest[count:]
    assert frontier.root() == tree.root() == tree_root(entries)


@given(st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_a_signed_checkpoint_opens_under_its_key_only(size: int, root: bytes, seed: bytes) -> None:
    """Opening after signing is the identity; under another key it never opens, for both readers."""
    head = Checkpoint(origin=SIGNER.name, size=size, root=root)
    note = sign_checkpoint(head, SIGNER, VerifierKey.parse(VKEY))
    assert open_checkpoint(note, VerifierKey.parse(VKEY)) == head
    assert (read_head(note, [read_key(VKEY)]).size, read_head(note, [read_key(VKEY)]).root) == (size, root)
    other = Ed25519Signer(SIGNER.name, seed).verifier_key()
    if other != VKEY:
        with pytest.raises(CheckpointError):
            open_checkpoint(note, VerifierKey.parse(other))
        with pytest.raises(NoteError):
            read_head(note, [read_key(other)])


@given(events)
def test_the_hash_is_that_of_the_line_without_it(some: list[tuple[str, str, str, JsonObject, int]]) -> None:
    """For every line: cut the last 75 bytes, put a brace, and SHA-256 gives the hash that was cut out."""
    for line in written(some):
        assert hashlib.sha256(line[:-75] + b"}").hexdigest() == orjson.loads(line)["hash"]

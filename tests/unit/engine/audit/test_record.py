import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType

import orjson
import pytest

from engine.audit.errors import AuditEventRefusedError
from engine.audit.record import GENESIS_HASH, LINE_BYTES_MAX, RecordError, seal, unseal
from engine.audit.verify.line import LineError, Lines
from engine.clock import rfc3339
from engine.values import JsonObject
from tests.audit_logs import rehash, reseal


def line(details: JsonObject, *, event_type: str = "step.completed", actor: str = "alice", target: str = "t") -> bytes:
    return seal(
        seq=0,
        event_id="00112233445566778899aabbccddeeff",
        timestamp="2026-01-31T12:00:00.000001Z",
        event_type=event_type,
        actor=actor,
        target=target,
        details=details,
        previous_hash=GENESIS_HASH,
    )[0]


def test_the_line_has_exactly_these_bytes() -> None:
    """The encoding is fixed: field order, no white space, UTF-8 unescaped, the hash last."""
    assert (
        line({"b": 1, "a": ["é", None, True, 1.5, "\n"]}, target="mission/1")
        == (
            '{"seq":0,"event_id":"00112233445566778899aabbccddeeff","timestamp":"2026-01-31T12:00:00.000001Z",'
            '"event_type":"step.completed","actor":"alice","target":"mission/1",'
            '"details":{"b":1,"a":["é",null,true,1.5,"\\n"]},'
            '"previous_hash":"0000000000000000000000000000000000000000000000000000000000000000",'
            '"hash":"d5afe6170b1f6f1b511ebce9d9d3680c99c90c3324a9b6ccbd9217cf74db6c9b"}'
        ).encode()
    )


def test_sha256sum_gives_the_hash() -> None:
    """Whoever has sed and sha256sum can check a line: the hash is that of the line with its hash cut out."""
    sealed = line({"text": 'a quoted ","hash":"00"} does not confuse it'})
    recipe = """sed 's/,"hash":"[0-9a-f]*"}$/}/' | tr -d '\\n' | sha256sum"""
    done = subprocess.run(["sh", "-c", recipe], input=sealed + b"\n", capture_output=True, check=True)
    assert done.stdout.split()[0].decode() == orjson.loads(sealed)["hash"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-1, "-1"),
        (2**53 + 1, "9007199254740993"),
        (2**64 - 1, "18446744073709551615"),
        (-(2**63), "-9223372036854775808"),
    ],
)
def test_integers_are_exact(value: int, text: str) -> None:
    """Integers of 64 bits, signed or not, are written in full."""
    assert f'"details":{{"n":{text}}}'.encode() in line({"n": value})


BODY = (
    b'{"seq":0,"event_id":"00112233445566778899aabbccddeeff","timestamp":"2026-01-31T12:00:00.000001Z",'
    b'"event_type":"a.b","actor":"1e16","target":"1.50","details":{"n":%b},"previous_hash":"' + b"0" * 64 + b'"}'
)


def accepted(sealed: bytes) -> tuple[bool, bool]:
    """Whether the writer and the verifier read the line as an event."""
    verdicts = []
    for read in (unseal, lambda line: Lines().check([line], [])):
        try:
            read(sealed)
            verdicts.append(True)
        except (RecordError, LineError):
            verdicts.append(False)
    return verdicts[0], verdicts[1]


@pytest.mark.parametrize("number", [b"1e16", b"1e+16", b"1.0e16", b"10000000000000000.0", b"0.1", b"-0.0", b"5e-324"])
def test_a_float_may_be_spelled_as_any_encoder_does(number: bytes) -> None:
    """Encoders spell floats differently from release to release: a log outlives them, so each spelling is read."""
    assert accepted(reseal(BODY % number)) == (True, True)


@pytest.mark.parametrize(
    "number",
    [b"1E16", b"01.5", b"1.", b".5", b"+1.0", b"1e400", b"-0", b"00", b"1 ", b"NaN", b"0x1", b"18446744073709551616"],
)
def test_a_number_has_the_grammar_of_the_format(number: bytes) -> None:
    """Other grammars, and integers that no decoder holds exactly, are no events."""
    assert accepted(reseal(BODY % number)) == (False, False)


def test_only_floats_may_be_respelled() -> None:
    """What looks like a float within a string is text, and stays what it is."""
    line_of = reseal(BODY % b"1e16")
    assert unseal(line_of).actor == "1e16"
    assert accepted(line_of.replace(b'"1e16"', b'"1e+16"')) == (False, False)  # the hash no longer fits
    assert accepted(reseal((BODY % b"1e16").replace(b"1.50", b"\\u0031"))) == (False, False)


@dataclass
class Point:
    x: int


@pytest.mark.parametrize(
    "details",
    [
        {"n": float("nan")},
        {"deep": [{"n": float("inf")}, None]},
        {"n": 2**64},
        {"n": -(2**63) - 1},
        {1: "a key that is no string"},
        {"s": "\ud800"},
        {"o": object()},
        {"b": b"bytes"},
        {"p": Point(1)},
        {"t": datetime(2026, 1, 1, tzinfo=UTC)},
        ["not an object"],
    ],
)
def test_what_is_no_json_is_refused(details: JsonObject) -> None:
    """A value without an exact JSON form is refused, not rounded, dropped or turned into null."""
    with pytest.raises(AuditEventRefusedError) as refused:
        line(details)
    assert refused.value.code == "audit.event_invalid"


def test_too_deep_details_are_refused() -> None:
    """Nesting beyond the encoder's depth is a refusal, not a crash."""
    details: dict[str, object] = {}
    for _ in range(2_000):
        details = {"d": details}
    with pytest.raises(AuditEventRefusedError):
        line(details)  # type: ignore[arg-type]


def test_any_mapping_serves_as_details() -> None:
    """Details are a Mapping, not only a dict, at any depth."""
    assert line(MappingProxyType({"a": MappingProxyType({"b": (1, 2)})})) == line({"a": {"b": [1, 2]}})


def test_a_line_is_bounded() -> None:
    """A line of exactly the maximum passes, one byte more is refused."""
    room = LINE_BYTES_MAX - len(line({"s": ""}))
    assert len(line({"s": "x" * room})) == LINE_BYTES_MAX
    with pytest.raises(AuditEventRefusedError) as refused:
        line({"s": "x" * (room + 1)})
    assert refused.value.code == "audit.event_too_large"


@pytest.mark.parametrize(
    "event_type", ["", "step", "Step.completed", "step.", "step completed", "a.b\n", "é.b", "a." * 99]
)
def test_an_event_type_is_dotted_lower_case_words(event_type: str) -> None:
    """Event types have one grammar, so that a query for one cannot miss another spelling."""
    with pytest.raises(AuditEventRefusedError):
        line({}, event_type=event_type)


def test_actor_and_target_are_strings() -> None:
    """A number as actor would make a line that no verifier accepts, so it is refused before it is written."""
    with pytest.raises(AuditEventRefusedError):
        line({}, actor=7)  # type: ignore[arg-type]
    with pytest.raises(AuditEventRefusedError):
        line({}, target=None)  # type: ignore[arg-type]


def test_time_is_written_in_utc() -> None:
    """Whatever zone a clock answers in, the line says UTC with six digits."""
    moment = datetime(2026, 1, 31, 14, 0, 0, 5, tzinfo=timezone(timedelta(hours=2)))
    assert rfc3339(moment) == "2026-01-31T12:00:00.000005Z"
    assert rfc3339(datetime(2026, 1, 31, 12, tzinfo=UTC)) == "2026-01-31T12:00:00.000000Z"


GOOD = line({"a": 1, "f": 0.5})


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"{}",
        b"[]",
        b"\0" * 50,
        GOOD + b" ",
        GOOD.replace(b'{"a":1', b'{"a": 1'),
        GOOD.replace(b'{"a":1', b'{"a":1,"a":1'),
        GOOD.replace(b'{"a":1', b'{"a":2'),
        GOOD.replace(b"0.5", b"0.6"),
        GOOD.replace(b'"alice"', b'"\\u0061lice"'),
        rehash(GOOD, seq=True),
        rehash(GOOD, seq="0"),
        rehash(GOOD, actor=None),
        rehash(GOOD, details=[]),
        rehash(GOOD, extra=1),
        rehash(GOOD, event_id="A" * 32),
        rehash(GOOD, event_type="Step"),
        rehash(GOOD, timestamp="2026-02-31T12:00:00.000001Z"),
        rehash(GOOD, timestamp="2026-01-31T12:00:00.000001+00:00"),
        rehash(GOOD, details={"s": "x" * LINE_BYTES_MAX}),
    ],
)
def test_reading_accepts_only_what_writing_makes(bad: bytes) -> None:
    """A line that differs in any way from the encoding of its values is no event."""
    assert unseal(GOOD).details == {"a": 1, "f": 0.5}
    with pytest.raises(RecordError):
        unseal(bad)

"""The log: what it shows, what it never shows, and how often."""

import gc
import io
import json
import logging
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import FaultError
from gateway.telemetry.logs import REPEATS_MAX, WINDOW_SECONDS, Lines, Logs, Repeats
from gateway.telemetry.said import ELIDED, FIELDS, fields_of, text_of
from gateway.watch import MISSION_ID, POSITION, Position
from tests.telemetry import HandClock, logged, quiet

PAYLOAD = "hunter2 is the word of 10.0.0.7/admin"


class Colour(StrEnum):
    RED = "red"


@pytest.fixture(autouse=True, scope="module")
def whatever_earlier_tests_have_left() -> None:
    """Let go of it: of what is only collected later, or was not closed."""
    gc.collect()
    with logged():
        quiet("x").warning("to nobody")


def test_a_line_says_when_where_and_what() -> None:
    """As JSON, with the trace and the mission of whoever is at work."""
    values = (7, "gateway.policy.worker:serve", "it said so")
    name = "gateway.workers.pool"
    record = logging.getLogger(name).makeRecord(name, logging.WARNING, "", 0, "worker %d of %s: %s", values, None)
    place = Position(b"\1" * 16, b"\2" * 8, sampled=True)
    tokens = POSITION.set(place), MISSION_ID.set("00000000-0000-4000-8000-000000000001")
    try:
        line = Lines(HandClock(), console=False).format(record)
    finally:
        POSITION.reset(tokens[0])
        MISSION_ID.reset(tokens[1])
    assert json.loads(line) == {
        "time": "2026-11-26T12:00:00.000000Z",
        "level": "warning",
        "logger": name,
        "event": f"worker 7 of gateway.policy.worker:serve: {ELIDED}",
        "mission_id": "00000000-0000-4000-8000-000000000001",
        "trace_id": "01" * 16,
        "span_id": "02" * 8,
    }


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (7, "7"),
        (True, "True"),
        (None, "None"),
        (Colour.RED, "red"),
        ("sandbox.crashed", "sandbox.crashed"),
        ("00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000001"),
        ("gateway.v1.MissionService/SubmitMission", "gateway.v1.MissionService/SubmitMission"),
        ("0123456789abcdef", "0123456789abcdef"),
        (FaultError(PAYLOAD, code="store.failed"), "store.failed"),
        (OSError(2, PAYLOAD), "FileNotFoundError"),
        (PAYLOAD, ELIDED),
        ("hunter2", ELIDED),
        (b"hunter2", ELIDED),
        ({"password": "hunter2"}, ELIDED),
        ("0123456789abcdef" * 2, ELIDED),
    ],
)
def test_only_values_of_a_known_form_are_shown(value: object, shown: str) -> None:
    """Codes, ids, digests, methods and numbers; an error is its code or its class."""
    record = logging.LogRecord("gateway.x", logging.INFO, "", 0, "it is %s", (value,), None)
    assert text_of(record) == f"it is {shown}"


@given(st.one_of(st.text(min_size=1), st.binary(min_size=1), st.lists(st.text())))
def test_no_value_gets_into_a_line_by_its_text(value: object) -> None:
    """Whatever is not of a known form is elided: in a template, in an error, in a field that is not on the list."""
    marked = f"~{value}~"
    with logged() as lines:
        log = quiet("anything")
        log.error("%s and %r", marked, [marked], extra={"password": marked, "cause": marked})
        error = ValueError(marked)
        error.__cause__ = OSError(5, marked)
        log.error("%s failed", marked, exc_info=error)
    text = str(lines)
    assert marked not in text
    assert "password" not in text
    assert [line["event"] for line in lines] == [f"{ELIDED} and {ELIDED}", f"{ELIDED} failed"]


def test_an_error_is_its_class_its_code_and_where() -> None:
    """With what caused it; never its text."""

    def fail() -> None:
        raise FaultError(PAYLOAD, code="store.full") from OSError(28, PAYLOAD)

    with logged() as lines:
        try:
            fail()
        except FaultError:
            quiet("store.writer").exception("it failed")
    [line] = lines
    outer, inner = line["error"]
    assert (outer["type"], outer["code"]) == ("FaultError", "store.full")
    assert (inner["type"], inner["errno"]) == ("OSError", 28)
    assert "test_logs.py" in outer["at"][-1]
    assert PAYLOAD not in str(line)


def test_of_a_library_only_the_template_is_shown() -> None:
    """Nobody here knows what its values are; a text that it filled itself is not shown, but asyncio's first line."""
    with logged() as lines:
        logging.getLogger("aiohttp.server").error("Error handling request %s", PAYLOAD)
        logging.getLogger("grpc._cython").error(f"Unexpected {PAYLOAD}")  # noqa: G004 - as libraries do
        logging.getLogger("asyncio").error(f"Task exception was never retrieved\nfuture: {PAYLOAD}")  # noqa: G004
    assert [line["event"] for line in lines] == [
        f"Error handling request {ELIDED}",
        ELIDED,
        "Task exception was never retrieved",
    ]


def test_fields_are_on_a_list() -> None:
    """And their values are words, or of a known form."""
    extra = {"cause": "deadline", "hook": "acme.http@1.0.0", "count": 3, "tenant": "acme", "section": PAYLOAD}
    record = logging.getLogger("gateway.x").makeRecord("gateway.x", 20, "", 0, "m", (), None, extra=extra)
    assert fields_of(record) == {"cause": "deadline", "hook": "acme.http@1.0.0", "count": 3, "section": ELIDED}
    assert not FIELDS & {"tenant", "subject", "principal", "token", "parameters", "output", "url", "message"}


def test_one_message_is_repeated_so_often_in_a_minute() -> None:
    """The others are counted, and the next one that is shown says how many they were; critical ones are all shown."""
    clock = HandClock()
    with logged(clock=clock) as lines:
        log = quiet("anchoring.witnesses")
        for n in range(REPEATS_MAX + 7):
            log.warning("the witness %s has not cosigned", n)
        log.warning("another message")
        clock.seconds = WINDOW_SECONDS
        log.warning("the witness %s has not cosigned", 1)
        for _ in range(REPEATS_MAX + 1):
            log.critical("the audit log stops")
    events = [line["event"].split()[0] for line in lines]
    assert events == ["the"] * REPEATS_MAX + ["another"] + ["the"] * (REPEATS_MAX + 2)
    assert [line["suppressed"] for line in lines if "suppressed" in line] == [7]


def test_what_is_remembered_of_messages_has_a_maximum() -> None:
    """A message that nobody has sent for long is forgotten."""
    repeats = Repeats(HandClock(), count_max=1)

    def passes(text: str) -> bool:
        return repeats.filter(logging.LogRecord("gateway.x", 20, "", 0, text, (), None))

    assert passes("0")
    assert not passes("0")
    assert all(passes(str(n)) for n in range(1, 600))
    assert passes("0")
    assert len(repeats._seen) <= 512


def test_the_level_can_change() -> None:
    """And logging is as it was once the log is closed."""
    before = logging.getLogger().level, list(logging.getLogger().handlers)
    stream = io.StringIO()
    logs = Logs(HandClock(), "warning", "json", stream)
    quiet("x").info("quiet")
    logs.adopt("info")
    quiet("x").info("loud")
    logs.close()
    assert [line.count("loud") for line in stream.getvalue().splitlines()] == [1]
    assert (logging.getLogger().level, logging.getLogger().handlers) == before


def test_people_see_words() -> None:
    """On a terminal a line is no JSON, and says the same."""
    record = logging.LogRecord("gateway.x", logging.WARNING, "", 0, "it is %s", (PAYLOAD,), None)
    line = Lines(HandClock(), console=True).format(record)
    assert "it is …" in line
    assert "gateway.x" in line
    assert "hunter2" not in line

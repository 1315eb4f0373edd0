"""Laws of the index: it answers as a scan does, whatever the log, the filter, and the way it was built."""

import tempfile
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.auditing.facts import facts_of
from gateway.auditing.filters import EventFilter
from gateway.auditing.folder import LogFolder
from gateway.auditing.index import LogIndex
from gateway.auditing.index_reader import IndexReader
from tests.audit_events import Event, lines_of, put_log
from tests.audit_logs import START

MISSIONS = st.sampled_from(["m1", "m2", "m3"])
ACTORS = st.sampled_from(["red/ann", "blue/bob", "gateway"])
TENANTS = st.sampled_from(["red", "blue"])
DECISIONS = st.sampled_from(["d1", "d2"])
TYPES = ["mission.admitted", "mission.ended", "step.allowed", "step.refused", "effect.failed", "hook.enabled"]


@st.composite
def events(draw: st.DrawFn) -> Event:
    """Draw an event of any kind."""
    kind = draw(st.sampled_from([*TYPES, "rpc.denied", "mission.pruned", "approval.decided"]))
    mission = draw(MISSIONS)
    details = draw(
        st.fixed_dictionaries({}, optional={"decision_id": DECISIONS, "code": st.sampled_from(["a.b", "c.d"])})
    )
    target = mission if kind.startswith("mission.") else f"{mission}/s"
    if kind == "mission.pruned":
        target, details["missions"] = "missions", draw(st.lists(MISSIONS, max_size=3))
    elif kind == "rpc.denied":
        target, details["mission_id"], details["tenant"] = "S/M", mission, draw(TENANTS)
    elif kind == "mission.admitted":
        details["tenant"] = draw(TENANTS)
    elif kind == "approval.decided":
        details["state"] = draw(st.sampled_from(["approved", "denied", "expired"]))
    return kind, draw(ACTORS), target, details


MOMENTS = st.integers(-2, 45).map(lambda seconds: START + timedelta(seconds=seconds))
FILTERS = st.builds(
    EventFilter,
    mission_id=st.just("") | MISSIONS | st.just("m9"),
    actor=st.just("") | ACTORS | st.just("nobody"),
    event_types=st.lists(st.sampled_from([*TYPES, "step.*", "mission.*", "none.*"]), max_size=3).map(tuple),
    since=st.none() | MOMENTS,
    until=st.none() | MOMENTS,
    allow=st.none() | st.booleans(),
    decision_id=st.just("") | DECISIONS,
)
LOGS = st.lists(events(), min_size=1, max_size=40)


def scanned(lines: Sequence[bytes], wanted: EventFilter, start: int, stop: int) -> list[int]:
    """Return what matches, by looking at each line."""
    found = [facts_of(line) for line in lines]
    return [facts.seq for facts in found if start <= facts.seq < stop and wanted.matches(facts)]


@settings(max_examples=40)
@given(log=LOGS, wanted=st.lists(FILTERS, min_size=1, max_size=4), cuts=st.data())
def test_the_index_answers_as_a_scan(log: list[Event], wanted: list[EventFilter], cuts: st.DataObject) -> None:
    """For any filter and range, in pages of any size, built at once or in steps, in segments of any length."""
    lines = lines_of(log)
    seq = st.integers(0, len(lines))
    starts = sorted(cuts.draw(st.sets(st.integers(1, max(1, len(lines) - 1)), max_size=3))) if len(lines) > 1 else []
    with tempfile.TemporaryDirectory() as name:
        directory = put_log(Path(name), lines, starts=starts)
        with closing(LogIndex.open(directory)) as index:
            index.catch_up(cuts.draw(seq))
            while index.size < len(lines):
                index.take(len(lines), cuts.draw(st.integers(1, 9)))
        with closing(IndexReader.open(directory)) as reader:
            for each in wanted:
                start, stop, size = cuts.draw(seq), cuts.draw(seq), cuts.draw(st.integers(1, 7))
                found, position = [], start
                while position < stop:
                    page = reader.page(each, position, stop, size)
                    found += [place.seq for place in page.places]
                    position = page.next_seq
                assert found == scanned(lines, each, start, stop)


@settings(max_examples=40)
@given(log=LOGS, wanted=FILTERS, data=st.data())
def test_a_folder_answers_alike_with_and_without_an_index(
    log: list[Event], wanted: EventFilter, data: st.DataObject
) -> None:
    """Also with one that covers a part of it, or that is another log's."""
    lines = lines_of(log)
    stop = data.draw(st.integers(0, len(lines)))
    with tempfile.TemporaryDirectory() as name:
        directory = put_log(Path(name), lines)
        expected = [(seq, lines[seq]) for seq in scanned(lines, wanted, 0, stop)]
        assert list(LogFolder(directory, use_index=False).find(wanted, 0, stop)) == expected
        with closing(LogIndex.open(directory)) as index:
            index.catch_up(data.draw(st.integers(0, len(lines))))
        assert list(LogFolder(directory).find(wanted, 0, stop)) == expected
        other = lines_of(log, seed="other")
        put_log(directory, other)
        assert list(LogFolder(directory).find(wanted, 0, stop)) == [(seq, other[seq]) for seq, _ in expected]

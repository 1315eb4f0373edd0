"""Streams that break: what comes of them is whole, in order, and without repetition."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.client import (
    CallError,
    CallOptions,
    ConflictCallError,
    DeniedCallError,
    EventQuery,
    LateCallError,
    Retry,
    Server,
    UnauthenticatedCallError,
    UnavailableCallError,
)
from gateway.client.call import Cursor
from gateway.client.log import LoggedEvent
from gateway.client.patience import LASTED_SECONDS
from gateway.client.streams import EventsOfLog, EventsOfMission, LinesOfLog, ResultsOfMission
from gateway.rpc.opened import STREAM_OPENED
from gateway.v1 import audit_pb2, mission_pb2, policy_pb2
from tests.driven_clients import KINDS, Waits, do
from tests.scripted_server import Fails, Turn, scripted

COUNT = 6
AWAY = Fails()
CUT = Fails(grpc.StatusCode.CANCELLED)
VIEW = mission_pb2.MissionView(mission_id="m", state=3)
RUNNING = mission_pb2.GetMissionResponse(mission=VIEW)
ENDED = mission_pb2.GetMissionResponse(mission=mission_pb2.MissionView(mission_id="m", state=4))
ENDED.mission.ended_at.FromSeconds(1)


def event(index: int) -> mission_pb2.WatchMissionResponse:
    """Return an event of a mission, of which the last one ends it."""
    kind = "mission.completed" if index == COUNT - 1 else "step.completed"
    return mission_pb2.WatchMissionResponse(event=mission_pb2.MissionEvent(index=index, kind=kind, details=b"{}"))


EVENTS = [event(index) for index in range(COUNT)]


def torn(breaks: list[int], end: Fails = AWAY) -> Callable[[bytes], Turn]:
    """Return what answers a watch: from where it is asked for, and torn after so many; then whole."""
    left = list(breaks)

    def answer(raw: bytes) -> Turn:
        start = mission_pb2.WatchMissionRequest.FromString(raw).from_index
        if left:
            return [*EVENTS[start : start + left.pop(0)], end]
        return EVENTS[start:]

    return answer


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("breaks", [[], [1], [3], [1, 0, 0, 2], [0, 0, 1, 2], [COUNT], [2, 2, 1]])
@pytest.mark.parametrize("end", [AWAY, CUT], ids=["away", "cut"])
def test_a_watch_goes_on_after_the_last_event(kind: str, breaks: list[int], end: Fails) -> None:
    """Each once and in order, wherever it is torn; what is torn behind the end is none."""
    with scripted({"WatchMission": torn(breaks, end)}) as (address, script):
        found = do(kind, address, lambda client: client.watch("m"))
        assert [each.index for each in found] == list(range(COUNT))
        assert [each.ends for each in found] == [False] * (COUNT - 1) + [True]
        assert len(script.asked) == 1 + len([each for each in breaks if each < COUNT])
        assert [each.index for each in do(kind, address, lambda client: client.watch("m", 4))] == [4, 5]


@pytest.mark.parametrize("kind", KINDS)
def test_who_was_there_is_waited_for_longer_than_who_never_was(kind: str) -> None:
    """Reconnects in a row are counted anew with each event; a stream that never began has the attempts of a call."""
    options = CallOptions(retry=Retry(attempts_max=2, reconnects_max=3))
    with scripted({"WatchMission": torn([1, 0, 0, 1, 0, 0, 1])}) as (address, script):
        assert len(do(kind, address, lambda client: client.watch("m"), options)) == COUNT
    with scripted({"WatchMission": torn([1] + [0] * 9)}) as (address, script), pytest.raises(UnavailableCallError):
        do(kind, address, lambda client: client.watch("m"), options)
    assert len(script.asked) == 1 + 3
    with scripted({"WatchMission": torn([0] * 9)}) as (address, script), pytest.raises(UnavailableCallError):
        do(kind, address, lambda client: client.watch("m"), options)
    assert len(script.asked) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_that_was_open_for_long_was_answered(kind: str) -> None:
    """A mission may be quiet for longer than there are reconnects; but who was never let in may be slow as well."""
    waits = Waits()
    answer = torn([0] * 5)

    def lasting(raw: bytes) -> Turn:
        waits.moment += LASTED_SECONDS
        return answer(raw)

    options = CallOptions(retry=Retry(attempts_max=1, reconnects_max=1))
    with scripted({"WatchMission": lasting}, begins=STREAM_OPENED) as (address, script):
        assert len(do(kind, address, lambda client: client.watch("m"), options, waits=waits)) == COUNT
    assert len(script.asked) == 6
    answer = torn([0] * 5)
    with scripted({"WatchMission": lasting}) as (address, script), pytest.raises(UnavailableCallError):
        do(kind, address, lambda client: client.watch("m"), options, waits=waits)
    assert len(script.asked) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_that_ends_before_its_mission_is_opened_again(kind: str) -> None:
    """A gateway that stops ends its streams; one beyond the last event ends with the mission, which is asked for."""
    early: list[Turn] = [EVENTS[:2], EVENTS[2:]]
    with scripted({"WatchMission": early, "GetMission": [[AWAY]]}) as (address, script):
        found = do(kind, address, lambda client: client.watch("m"))
        assert [each.index for each in found] == list(range(COUNT))
    turns: Any = {"WatchMission": [[]], "GetMission": [[RUNNING], [RUNNING], [ENDED]]}
    with scripted(turns) as (address, script):
        assert do(kind, address, lambda client: client.watch("m", 99)) == []
    assert len(script.of("WatchMission")) == 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("no", [grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.OUT_OF_RANGE])
def test_a_no_is_no_torn_stream(kind: str, no: grpc.StatusCode) -> None:
    """What policy no longer allows, or what was pruned, ends."""
    refused, errors = Fails(no, "x.y", "no"), (DeniedCallError, ConflictCallError)
    with scripted({"WatchMission": torn([2, 9], refused)}) as (address, script), pytest.raises(errors) as caught:
        do(kind, address, lambda client: client.watch("m"))
    assert (caught.value.status, len(script.asked)) == (no, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_credential_that_has_ended_is_shown_anew(kind: str) -> None:
    """A gateway ends the streams of a token that is over: who has a new one goes on, and who has none is told."""
    over = Fails(grpc.StatusCode.UNAUTHENTICATED, "auth.unauthenticated", "call again")
    tokens = iter("abc")
    with scripted({"WatchMission": torn([2], over)}) as (address, script):
        server = Server(address, lambda: next(tokens))
        assert len(do(kind, server, lambda client: client.watch("m"))) == COUNT
    assert [each.metadata["authorization"] for each in script.asked] == ["Bearer a", "Bearer b"]
    with scripted({"WatchMission": torn([2, 0, 0], over)}) as (address, script):
        with pytest.raises(UnauthenticatedCallError):
            do(kind, address, lambda client: client.watch("m"))
        assert len(script.asked) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_deadline_ends_a_stream(kind: str) -> None:
    """It is over all that a stream does, waits included."""
    waits = Waits()
    with scripted({"WatchMission": torn([1] + [0] * 99)}) as (address, _), pytest.raises(UnavailableCallError):
        do(kind, address, lambda client: client.having(deadline_seconds=3).watch("m"), waits=waits)
    assert waits.seconds == [0.25, 0.5, 1.0]
    late = Fails(grpc.StatusCode.DEADLINE_EXCEEDED)
    with scripted({"WatchMission": [[EVENTS[0], late]]}) as (address, _), pytest.raises(LateCallError):
        do(kind, address, lambda client: client.having(deadline_seconds=3).watch("m"))


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_gone_on_with_is_begun_once(kind: str) -> None:
    """A replay that broke in the middle would come from its beginning; one that never began is asked for again."""
    change = policy_pb2.ReplayDecisionsResponse(change=policy_pb2.DecisionChange(kind="denied"))
    summary = policy_pb2.ReplayDecisionsResponse(
        summary=policy_pb2.ReplaySummary(asked=3, same=2, counts={"denied": 1})
    )
    with scripted({"ReplayDecisions": [[AWAY], [change, summary]]}) as (address, _):
        found = do(kind, address, lambda client: client.policy.replay("b"))
    assert [each.document().get("denied", each.document().get("kind")) for each in found] == ["denied", 1]
    with scripted({"ReplayDecisions": [[change, AWAY]]}) as (address, script), pytest.raises(UnavailableCallError):
        do(kind, address, lambda client: client.policy.replay("b"))
    assert len(script.asked) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_query_of_the_log_goes_on_with_what_is_left_of_it(kind: str) -> None:
    """After the last place that was looked at, and with what is left of its limit; a reached limit is the end."""
    log = [seq for seq in range(40) if seq % 3 == 0]
    lives = [1, 0, 2, 9]

    def answer(raw: bytes) -> Turn:
        query = audit_pb2.QueryEventsRequest.FromString(raw)
        start = query.after_seq + 1 if query.HasField("after_seq") else 0
        wanted = [seq for seq in log if seq >= start][: query.limit or None]
        pages: list[Any] = []
        for _ in range(lives.pop(0)):
            page, wanted = wanted[:2], wanted[2:]
            if page:
                events = [audit_pb2.LoggedEvent(seq=seq, line=b"line %d" % seq) for seq in page]
                pages.append(audit_pb2.QueryEventsResponse(events=events, next_seq=page[-1] + 2))
        return [*pages, AWAY]

    with scripted({"QueryEvents": answer}) as (address, script):
        found = do(kind, address, lambda client: client.audit.events(EventQuery(follow=True, limit=7, whole_log=True)))
    assert found == [LoggedEvent(seq, b"line %d" % seq) for seq in log[:7]]
    asked = [audit_pb2.QueryEventsRequest.FromString(each.messages[0]) for each in script.asked]
    assert [each.limit for each in asked] == [7, 5, 5, 1]
    assert [each.after_seq for each in asked] == [0, 4, 4, 16]
    assert all(each.follow and each.scope == audit_pb2.AUDIT_SCOPE_LOG for each in asked)


@pytest.mark.parametrize("kind", KINDS)
def test_lines_and_results_are_counted(kind: str) -> None:
    """Where there is no index, what is here already says where to go on."""

    def lines(raw: bytes) -> Turn:
        asked = audit_pb2.ReadEventsRequest.FromString(raw)
        found = [b"%d" % seq for seq in range(asked.start, 9)][: asked.count or None]
        return [audit_pb2.ReadEventsResponse(first_seq=asked.start, lines=found[:2]), AWAY]

    def results(raw: bytes) -> Turn:
        offset = mission_pb2.WatchResultsRequest.FromString(raw).offset
        steps = [mission_pb2.StepResult(step_id=f"s{at}", status=4, output=b"1") for at in range(offset, 3)]
        return [*(mission_pb2.WatchResultsResponse(result=step) for step in steps[:1]), *([AWAY] if steps[1:] else [])]

    with scripted({"ReadEvents": lines, "WatchResults": results, "GetMission": [[ENDED]]}) as (address, _):
        found = do(kind, address, lambda client: client.audit.read(2, 5))
        assert [(each.seq, each.line) for each in found] == [(seq, b"%d" % seq) for seq in range(2, 7)]
        for follow in (False, True):
            steps = do(kind, address, lambda client, follow=follow: client.results("m", follow=follow))
            assert [(step.step_id, step.output) for step in steps] == [("s0", 1), ("s1", 1), ("s2", 1)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_that_cannot_be_read_is_an_error_of_its_own(kind: str) -> None:
    """Something else than a gateway, or a word of a newer one: no exception of a library gets out."""
    unknown = mission_pb2.GetMissionResponse(mission=mission_pb2.MissionView(mission_id="m", state=99))
    bad = mission_pb2.WatchMissionResponse(event=mission_pb2.MissionEvent(index=0, details=b"{"))
    for turn in ([b"\xff\xff"], [unknown]):
        with scripted({"GetMission": [turn]}) as (address, _), pytest.raises(CallError) as caught:
            do(kind, address, lambda client: client.get("m"))
        assert caught.value.code == "rpc.unreadable"
    with scripted({"WatchMission": [[bad]]}) as (address, _), pytest.raises(CallError) as caught:
        do(kind, address, lambda client: client.watch("m"))
    assert caught.value.code == "rpc.unreadable"


@given(breaks=st.lists(st.integers(0, 4), max_size=12), again=st.booleans())
@settings(max_examples=60, deadline=None)
def test_cursors_lose_and_repeat_nothing(breaks: list[int], again: bool) -> None:
    """Whatever is torn where, and whatever a server gives twice: without a wire in between."""
    served = [each.SerializeToString() for each in EVENTS]
    cursor = EventsOfMission("m", 0)
    found = [each.index for each in _drained(cursor, served, breaks, again=again)]
    assert found == list(range(COUNT))
    assert cursor.over


def _drained(cursor: EventsOfMission, served: list[bytes], breaks: list[int], *, again: bool) -> list[Any]:
    found: list[Any] = []
    for count in [*breaks, COUNT]:
        start = mission_pb2.WatchMissionRequest.FromString(cursor.request()).from_index
        for raw in served[max(0, start - again) :][:count]:
            found += cursor.take(raw)
    return found


def test_cursors_are_cursors() -> None:
    """Each says how it goes on."""
    cursors: list[Cursor[Any]] = [
        EventsOfMission("m", 0), ResultsOfMission("m", 0, follow=True), EventsOfLog(EventQuery()), LinesOfLog(0, 0)
    ]  # fmt: skip
    assert all(cursor.resumes and not cursor.over for cursor in cursors)

"""The client of the log: a query goes on where its stream breaks."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from gateway import audit_client
from gateway.audit_client import AuditClient, Event, EventQuery
from gateway.calling import CallError, Calls

LOG = [Event(seq, b"line %d" % seq) for seq in range(20)]


class Torn(AuditClient):
    """A gateway that gives `page` events at a time, and goes away after each of `lives` pages."""

    def __init__(self, lives: list[int], *, status: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE) -> None:
        super().__init__(Calls(grpc.insecure_channel("127.0.0.1:9"), "127.0.0.1:9", ()))
        self.lives = lives
        self.status = status
        self.asked: list[EventQuery] = []

    def pages(self, query: EventQuery) -> Iterator[tuple[tuple[Event, ...], int]]:
        self.asked.append(query)
        start = 0 if query.after_seq is None else query.after_seq + 1
        found = [event for event in LOG if event.seq >= start and event.seq % 2 == 0]
        found = found[: query.limit or None]
        for _ in range(self.lives.pop(0)):
            if not found:
                return
            part, found = tuple(found[:2]), found[2:]
            yield part, part[-1].seq + 1
        if found:
            raise CallError(self.status, [{"code": "rpc.unavailable", "message": "gone", "field": "", "line": None}])


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_client, "DELAY_SECONDS", 0.0)


def test_a_torn_stream_goes_on_without_gap_or_repetition() -> None:
    """After the last event that was given, and with what is left of the limit."""
    told: list[str] = []
    client = Torn([1, 0, 0, 2, 9])
    found = list(client.events(EventQuery(follow=True, limit=9), told=told.append))
    assert found == [event for event in LOG if event.seq % 2 == 0][:9]
    assert [query.after_seq for query in client.asked] == [None, 2, 2, 2, 10]
    assert [query.limit for query in client.asked] == [9, 7, 7, 7, 3]
    assert len(told) == 4


def test_whoever_was_never_there_is_not_waited_for() -> None:
    """The first call's failure is the answer."""
    client = Torn([0])
    with pytest.raises(CallError):
        list(client.events(EventQuery()))
    assert len(client.asked) == 1


@pytest.mark.parametrize("status", [grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.OUT_OF_RANGE])
def test_a_no_is_no_torn_stream(status: grpc.StatusCode) -> None:
    """A query whose next event was pruned, or that policy no longer allows, ends."""
    client: Any = Torn([1], status=status)
    with pytest.raises(CallError) as caught:
        list(client.events(EventQuery(follow=True)))
    assert caught.value.status is status


def test_nobody_is_waited_for_without_end() -> None:
    """So often in a row, and no more."""
    client = Torn([1] + [0] * 20)
    with pytest.raises(CallError):
        list(client.events(EventQuery(follow=True)))
    assert len(client.asked) == 1 + audit_client.RECONNECTS_MAX
    assert {query.limit for query in client.asked} == {0}  # none stays none

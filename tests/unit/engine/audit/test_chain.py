from datetime import timedelta

import orjson
import pytest

from engine.audit.chain import Chain, ChainError
from engine.audit.errors import AuditEventRefusedError
from engine.audit.record import unseal
from tests.audit_logs import START, counting_entropy, rehash

TICK = timedelta(microseconds=1)


def chain() -> Chain:
    return Chain(counting_entropy())


def test_each_event_names_the_hash_of_the_one_before() -> None:
    """The first event follows 64 zeros, each other one its predecessor's hash; numbers run from 0 without gaps."""
    it = chain()
    events = [orjson.loads(it.link("a.b", actor="", target="", details={}, now=START + i * TICK)) for i in range(3)]
    assert [event["seq"] for event in events] == [0, 1, 2]
    assert events[0]["previous_hash"] == "0" * 64
    assert [event["previous_hash"] for event in events[1:]] == [event["hash"] for event in events[:-1]]
    assert len({event["event_id"] for event in events}) == 3


def test_time_never_goes_back_and_the_clock_stands_beside_it() -> None:
    """Where the clock stood still or stepped back, the timestamp is the last plus 1 µs, and clock_raw tells it."""
    it = chain()
    clock = [START, START, START - timedelta(hours=1), START + timedelta(seconds=1)]
    events = [orjson.loads(it.link("a.b", actor="", target="", details={"x": 1}, now=now)) for now in clock]
    assert [event["timestamp"] for event in events] == [
        "2026-01-31T12:00:00.000000Z",
        "2026-01-31T12:00:00.000001Z",
        "2026-01-31T12:00:00.000002Z",
        "2026-01-31T12:00:01.000000Z",
    ]
    assert [event["details"] for event in events] == [
        {"x": 1},
        {"x": 1, "clock_raw": "2026-01-31T12:00:00.000000Z"},
        {"x": 1, "clock_raw": "2026-01-31T11:00:00.000000Z"},
        {"x": 1},
    ]


def test_a_refused_event_leaves_no_trace() -> None:
    """After a refusal the chain goes on as if nothing had been asked: no gap, no lost link, no moved time."""
    it, other = chain(), chain()
    for bad in ({"clock_raw": "x"}, {"n": float("nan")}):
        with pytest.raises(AuditEventRefusedError):
            it.link("a.b", actor="", target="", details=bad, now=START + timedelta(days=1))
    assert it.next_seq == 0
    first, same = (c.link("a.b", actor="", target="", details={}, now=START) for c in (it, other))
    assert orjson.loads(first)["timestamp"] == orjson.loads(same)["timestamp"]


def test_a_chain_goes_on_where_the_records_it_read_ended() -> None:
    """Reading a chain back and going on gives the same links as never having stopped."""
    it, again = chain(), Chain(counting_entropy())
    lines = [it.link("a.b", actor="", target="", details={}, now=START + i * TICK) for i in range(3)]
    for line in lines:
        again.accept(unseal(line))
    event = orjson.loads(again.link("a.b", actor="", target="", details={}, now=START))
    assert (event["seq"], event["previous_hash"]) == (3, orjson.loads(lines[-1])["hash"])
    assert event["timestamp"] == "2026-01-31T12:00:00.000003Z"


@pytest.mark.parametrize(
    "changes",
    [{"seq": 2}, {"seq": 0}, {"previous_hash": "f" * 64}, {"timestamp": "2026-01-31T12:00:00.000000Z"}],
)
def test_a_record_that_does_not_follow_is_refused(changes: dict[str, object]) -> None:
    """A gap, a foreign link and a time that stands still are each seen."""
    it, again = chain(), chain()
    first, second = (it.link("a.b", actor="", target="", details={}, now=START + i * TICK) for i in range(2))
    again.accept(unseal(first))
    with pytest.raises(ChainError):
        again.accept(unseal(rehash(second, **changes)))

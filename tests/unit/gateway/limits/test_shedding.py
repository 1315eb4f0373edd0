"""The controller that sheds load, on a clock of the test's own."""

import pytest

from gateway.limits.amounts import Shedding
from gateway.limits.kinds import CallKind
from gateway.limits.shedding import Shedder

SETTINGS = Shedding(lag_ms_max=100.0, reads_lag_ms_max=400.0, interval_ms=1_000.0, calls_open_max=8, retry_seconds=1.0)


def lagging(shedder: Shedder, begin: float, seconds: float, lag_ms: float, step: float = 0.05) -> float:
    """Look every `step` seconds for so long, at a loop that is late by as much each time; return when it ended."""
    looks = round(seconds / step)
    for look in range(looks + 1):
        shedder.look(begin + look * step, lag_ms / 1e3)
    return begin + looks * step


def shed(shedder: Shedder, calls_open: int = 0) -> set[CallKind]:
    return {kind for kind in CallKind if shedder.refusal(kind, calls_open) is not None}


def test_a_queue_that_never_empties_for_an_interval_sheds_new_work_and_only_that() -> None:
    """Standing lag, not a peak of it; reads go on below their own mark."""
    shedder = Shedder(SETTINGS)
    lagging(shedder, 0.0, 0.95, 150.0)
    assert shed(shedder) == set()
    shedder.look(1.0, 0.150)
    assert shed(shedder) == {CallKind.MUTATION}
    assert shedder.refusal(CallKind.MUTATION, 0) == ("shedding.lag_ms_max", 100.0)


def test_one_look_below_the_mark_within_the_interval_begins_it_anew() -> None:
    """A loop that catches up now and then is busy, not overloaded."""
    shedder = Shedder(SETTINGS)
    for second in range(20):
        lagging(shedder, float(second), 0.9, 900.0)
        shedder.look(second + 0.95, 0.001)
    assert shedder.level == 0


def test_a_single_long_pause_sheds_nothing() -> None:
    """Something blocked the loop for five seconds, and is over."""
    shedder = Shedder(SETTINGS)
    shedder.look(5.0, 5.0)
    assert shed(shedder) == set()


def test_reads_go_next_and_control_and_health_never() -> None:
    """Whatever the lag, a mission can be cancelled and a balancer gets its answer."""
    shedder = Shedder(SETTINGS)
    end = lagging(shedder, 0.0, 1.0, 450.0)
    assert shed(shedder) == {CallKind.MUTATION, CallKind.READ}
    lagging(shedder, end, 60.0, 60_000.0)
    assert shed(shedder, calls_open=1_000_000) == {CallKind.MUTATION, CallKind.READ}


def test_it_recovers_at_the_first_look_below_the_mark() -> None:
    """Overload at four times what it can do, and then none: nobody is turned away any more, at once."""
    shedder = Shedder(SETTINGS)
    end = lagging(shedder, 0.0, 30.0, 4_000.0)
    assert shedder.level == 2
    shedder.look(end + 0.05, 0.200)
    assert shedder.level == 1
    shedder.look(end + 0.10, 0.099)
    assert shed(shedder) == set()


def test_where_it_comes_back_soon_it_is_met_sooner_and_after_a_calm_as_at_first() -> None:
    """The interval shrinks with the root of the episodes, as CoDel's control law has it."""
    shedder = Shedder(SETTINGS)
    begun, now = [], 0.0
    for _ in range(4):
        since = now
        while shedder.level == 0:
            shedder.look(now, 0.200)
            now += 0.01
        begun.append(now - since)
        shedder.look(now, 0.0)
        now += 0.01
    assert begun == sorted(begun, reverse=True)
    assert begun[3] == pytest.approx(0.5, abs=0.03)
    now += 100.0
    lagging(shedder, now, 0.95, 200.0)
    assert shedder.level == 0
    shedder.look(now + 1.0, 0.200)
    assert shedder.level == 1


def test_calls_under_way_are_bounded_and_new_work_leaves_room_for_reads() -> None:
    """A slow disk or policy makes calls pile up without any lag."""
    shedder = Shedder(SETTINGS)
    assert shed(shedder, 5) == set()
    assert shed(shedder, 6) == {CallKind.MUTATION}
    assert shed(shedder, 8) == {CallKind.MUTATION, CallKind.READ}
    assert shedder.refusal(CallKind.READ, 8) == ("shedding.calls_open_max", 8)


def test_a_system_at_four_times_its_capacity_keeps_its_latency_and_its_throughput() -> None:
    """A queue of one server, 100 calls a second, offered 400: what is let in is served, and soon."""
    shedder = Shedder(SETTINGS)
    queue, served, worst = 0.0, 0.0, 0.0
    for tick in range(6_000):  # of 10 ms each
        now = tick / 100
        overloaded = now < 30
        shedder.look(now, queue / 100)
        let_in = shedder.refusal(CallKind.MUTATION, 0) is None
        assert let_in or queue > 10.0, "turned away although there was room"
        if let_in:
            queue += 4.0 if overloaded else 0.5
        done = min(queue, 1.0)
        queue, served = queue - done, served + done
        if now > 10:
            worst = max(worst, queue / 100)
    assert served > 0.95 * (30 * 100 + 30 * 50)
    assert worst < 4.0, "seconds that a call waited; without shedding it would be ninety"

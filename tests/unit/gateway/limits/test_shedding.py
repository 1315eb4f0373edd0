"""The controller that sheds load, on a clock of the test's own."""

import math
from collections import deque
from dataclasses import replace
from itertools import pairwise

import pytest

from gateway.limits.amounts import Shedding
from gateway.limits.kinds import CallKind
from gateway.limits.shedding import BOUNDED, Shedder, Waited

SETTINGS = Shedding(
    wait_ms_max=100.0, reads_wait_ms_max=400.0, interval_ms=1_000.0, calls_open_max=80, retry_seconds=1.0
)


def waiting(shedder: Shedder, begin: float, seconds: float, wait_ms: float, step: float = 0.05) -> float:
    """Look every `step` seconds for so long, while work waits as long each time; return when it ended."""
    looks = round(seconds / step)
    for look in range(looks + 1):
        see(shedder, begin + look * step, wait_ms)
    return begin + looks * step


def see(shedder: Shedder, now: float, wait_ms: float) -> None:
    """Look once, at work of which all kinds wait as long."""
    shedder.look(now, dict.fromkeys(BOUNDED, Waited(wait_ms / 1e3, wait_ms / 1e3)))


def begin(shedder: Shedder, kind: CallKind, count: int, tenant: str = "t") -> None:
    for _ in range(count):
        shedder.begin(kind, tenant)


def end(shedder: Shedder, kind: CallKind, count: int, tenant: str = "t") -> None:
    for _ in range(count):
        shedder.end(kind, tenant)


def let_in(shedder: Shedder, kind: CallKind, tenant: str = "t") -> int:
    """Let calls of a kind begin until one is turned away, or there are a thousand, and return how many did."""
    begun = 0
    while begun < 1_000 and shedder.refusal(kind, tenant) is None:
        shedder.begin(kind, tenant)
        begun += 1
    end(shedder, kind, begun, tenant)
    return begun


def test_a_queue_that_never_empties_for_an_interval_bounds_new_work_and_only_that() -> None:
    """Standing waits, not a peak of them; reads go on below their own mark."""
    shedder = Shedder(SETTINGS)
    begin(shedder, CallKind.MUTATION, 20)
    waiting(shedder, 0.0, 0.95, 150.0)
    assert shedder.level == 0
    see(shedder, 1.0, 150.0)
    assert shedder.level == 1
    assert shedder.refusal(CallKind.MUTATION, "t") == ("shedding.wait_ms_max", 100.0), (
        "as many as there are, and no more"
    )
    assert shedder.refusal(CallKind.READ, "t") is None
    end(shedder, CallKind.MUTATION, 1)
    assert shedder.refusal(CallKind.MUTATION, "t") is None


def test_one_look_below_the_mark_within_the_interval_begins_it_anew() -> None:
    """A queue that empties now and then is busy, not overloaded."""
    shedder = Shedder(SETTINGS)
    for second in range(20):
        waiting(shedder, float(second), 0.9, 900.0)
        see(shedder, second + 0.95, 1.0)
    assert shedder.level == 0


def test_a_single_long_pause_bounds_nothing() -> None:
    """Something held all up for five seconds, and is over."""
    shedder = Shedder(SETTINGS)
    see(shedder, 5.0, 5_000.0)
    assert shedder.level == 0


def test_reads_go_next_and_control_and_health_never() -> None:
    """Whatever waits, a mission can be cancelled and a balancer gets its answer; a little goes on being done."""
    shedder = Shedder(SETTINGS)
    waiting(shedder, 0.0, 60.0, 60_000.0)
    assert shedder.level == 2
    assert let_in(shedder, CallKind.MUTATION) == 2
    assert let_in(shedder, CallKind.READ) == 2
    assert shedder.refusal(CallKind.READ, "t") is None
    begin(shedder, CallKind.READ, 2)
    assert shedder.refusal(CallKind.READ, "t") == ("shedding.reads_wait_ms_max", 400.0)
    begin(shedder, CallKind.CONTROL, 1_000)
    assert shedder.refusal(CallKind.CONTROL, "t") is None
    assert shedder.refusal(CallKind.HEALTH, "t") is None


def test_the_bound_follows_the_wait_and_is_gone_soon_after_the_overload() -> None:
    """Above the mark it shrinks, at it it stays, below it it grows, faster the less there is to wait for."""
    shedder = Shedder(SETTINGS)
    begin(shedder, CallKind.MUTATION, 40)
    now = waiting(shedder, 0.0, 1.0, 300.0)
    end(shedder, CallKind.MUTATION, 40)
    bounds = []
    for wait_ms in (100.0, 300.0, 110.0, 90.0, 0.0):
        now += 0.05
        see(shedder, now, wait_ms)
        bounds.append(shedder.bound(CallKind.MUTATION))
    assert bounds[0] == 40.0
    ratios = [later / earlier for earlier, later in pairwise(bounds)]
    assert ratios == pytest.approx([0.8, 0.975, 1.025, 1.25])
    waiting(shedder, now, 0.5, 0.0)
    assert shedder.level == 0
    assert shedder.bound(CallKind.MUTATION) == math.inf


def test_calls_under_way_are_bounded_and_new_work_leaves_room_for_reads() -> None:
    """A witness or a slow policy makes calls pile up of which none waits in a queue of ours."""
    shedder = Shedder(SETTINGS)
    assert let_in(shedder, CallKind.MUTATION) == 60
    begin(shedder, CallKind.MUTATION, 60)
    assert shedder.refusal(CallKind.MUTATION, "t") == ("shedding.calls_open_max", 80)
    assert let_in(shedder, CallKind.READ) == 20


def test_each_kind_goes_by_its_own_wait() -> None:
    """Reads that wait for each other are no reason to turn work away."""
    shedder = Shedder(SETTINGS)
    for look in range(40):
        shedder.look(look * 0.05, {CallKind.MUTATION: Waited(0.01, 0.01), CallKind.READ: Waited(2.0, 2.0)})
    assert shedder.level == 2
    assert shedder.bound(CallKind.MUTATION) == math.inf
    assert shedder.bound(CallKind.READ) == 2


def test_nobody_holds_all_of_a_bound() -> None:
    """One tenant has calls under way that do not end: others have a share each, from their first call on."""
    shedder = Shedder(replace(SETTINGS, calls_open_max=800))
    begin(shedder, CallKind.MUTATION, 50, "bob")
    waiting(shedder, 0.0, 60.0, 300.0)
    assert shedder.bound(CallKind.MUTATION) == 2
    assert let_in(shedder, CallKind.MUTATION, "bob") == 0
    assert let_in(shedder, CallKind.MUTATION, "ann") == 1
    see(shedder, 61.0, 100.0)
    for look in range(14):
        see(shedder, 61.0 + look * 0.05, 0.0)
    assert 30 < shedder.bound(CallKind.MUTATION) < 50
    assert let_in(shedder, CallKind.MUTATION, "bob") == 0
    assert let_in(shedder, CallKind.MUTATION, "ann") == math.ceil(shedder.bound(CallKind.MUTATION) / 2)


def flooded(shedder: Shedder, looks: int, inside_ms: float) -> None:
    """Let so many looks pass at which most of what comes is refused, and waits two seconds to hear so."""
    for look in range(looks):
        begin(shedder, CallKind.MUTATION, 4)
        end(shedder, CallKind.MUTATION, 4)
        for _ in range(150):
            shedder.turned_away()
        shedder.look(look * 0.05, dict.fromkeys(BOUNDED, Waited(2.0, inside_ms / 1e3)))


def test_where_most_of_what_comes_is_refused_what_waits_at_the_door_bounds_nobody() -> None:
    """Strangers, and who is over a rate: it is their calls that wait, and fewer calls of others would not help."""
    shedder = Shedder(SETTINGS)
    flooded(shedder, 100, inside_ms=10.0)
    assert shedder.level == 0


def test_a_bound_does_not_outlive_its_overload_because_of_a_flood() -> None:
    """What had been bounded before strangers came is widened while they come."""
    shedder = Shedder(SETTINGS)
    waiting(shedder, 0.0, 10.0, 5_000.0)
    assert shedder.level == 2
    flooded(shedder, 40, inside_ms=1.0)
    assert shedder.level == 0


def test_a_flood_of_refusals_does_not_hide_that_there_is_too_much() -> None:
    """What has been let in waits in queues that no refused call gets to."""
    shedder = Shedder(SETTINGS)
    flooded(shedder, 100, inside_ms=1_000.0)
    assert shedder.level == 2


def test_a_few_refusals_are_no_flood() -> None:
    """What waits at the door waits for what has been let in."""
    shedder = Shedder(SETTINGS)
    for look in range(100):
        begin(shedder, CallKind.MUTATION, 4)
        end(shedder, CallKind.MUTATION, 4)
        shedder.turned_away()
        shedder.look(look * 0.05, dict.fromkeys(BOUNDED, Waited(2.0, 0.01)))
    assert shedder.level == 2


def test_nothing_is_bounded_where_nobody_looks_any_more() -> None:
    """A gateway that stops still answers who reads."""
    shedder = Shedder(SETTINGS)
    waiting(shedder, 0.0, 10.0, 5_000.0)
    shedder.widen()
    assert shedder.level == 0


class Served:
    """A queue of one server, a hundred calls a second: what is under way waits for what came before it."""

    def __init__(self) -> None:
        self.queue: deque[float] = deque()
        self.done = 0
        self.waits: list[float] = []
        self._work = 0.0

    def tick(self, now: float, seconds: float) -> int:
        """Serve for so long; return how many calls have ended."""
        self._work += 100 * seconds if self.queue else 0.0
        ended = min(int(self._work), len(self.queue))
        self._work -= ended
        for _ in range(ended):
            self.waits.append(now - self.queue.popleft())
        self.done += ended
        return ended


def test_a_system_at_four_times_its_capacity_keeps_its_latency_and_its_throughput() -> None:
    """What is let in is served, and soon; when the overload is over nobody is turned away."""
    settings = Shedding(
        wait_ms_max=200.0, reads_wait_ms_max=800.0, interval_ms=500.0, calls_open_max=2_048, retry_seconds=1.0
    )
    shedder, served = Shedder(settings), Served()
    turned_away = 0
    for tick in range(6_000):  # of 10 ms each
        now = tick / 100
        if tick % 5 == 0:
            see(shedder, now, 1e3 * (now - served.queue[0] if served.queue else 0.0))
        for _ in range(4 if now < 30 else tick % 2):
            if shedder.refusal(CallKind.MUTATION, "t") is None:
                shedder.begin(CallKind.MUTATION, "t")
                served.queue.append(now)
            else:
                turned_away += 1
                assert now < 32, "turned away although there was room"
        end(shedder, CallKind.MUTATION, served.tick(now, 0.01))
    assert served.done > 0.97 * (30 * 100 + 30 * 50)
    assert turned_away > 2 * 30 * 100
    late = sorted(served.waits[1_000:])
    assert late[len(late) * 99 // 100] < 0.5, "seconds; without a bound it would be ninety"

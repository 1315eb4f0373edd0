"""Laws of rates, over every sequence of calls: never more than was promised, never less, and nothing is forgotten."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.amounts import Rate
from gateway.limits.buckets import Buckets

RATES = st.builds(Rate, per_second=st.floats(0.01, 1_000.0), burst=st.integers(1, 50))
PAUSES = st.lists(st.floats(0.0, 2.0), min_size=1, max_size=200)


def called(buckets: "Buckets[str]", key: str, rate: Rate, now: float) -> bool:
    if buckets.early(key, rate, now):
        return False
    buckets.take(key, rate, now)
    return True


@given(rate=RATES, pauses=PAUSES)
def test_no_span_of_time_has_more_calls_than_the_rate_and_a_burst(rate: Rate, pauses: list[float]) -> None:
    """Between any two moments: at most the burst, and the rate times the time."""
    buckets: Buckets[str] = Buckets()
    now, made = 0.0, []
    for pause in pauses:
        now += pause
        if called(buckets, "k", rate, now):
            made.append(now)
    for first, begin in enumerate(made):
        for last in range(first, len(made)):
            assert last - first + 1 <= rate.burst + rate.per_second * (made[last] - begin) + 1e-6


@given(rate=RATES, pauses=PAUSES)
def test_who_keeps_to_the_rate_is_never_refused_and_who_waits_as_told_is_let_in(
    rate: Rate, pauses: list[float]
) -> None:
    """`early` is the time after which the next call may be made, to the rounding."""
    buckets: Buckets[str] = Buckets()
    now = 0.0
    for pause in pauses:
        now += pause
        wait = buckets.early("k", rate, now)
        assert wait <= 1 / rate.per_second + 1e-6
        now += wait + 1e-9
        assert called(buckets, "k", rate, now)
    steady: Buckets[str] = Buckets()
    assert all(called(steady, "k", rate, n * (1 / rate.per_second + 1e-9)) for n in range(100))


@given(rates=st.lists(RATES, min_size=1, max_size=20), pauses=PAUSES)
def test_a_change_of_the_rate_gives_nothing_anew_and_locks_nobody_out(rates: list[Rate], pauses: list[float]) -> None:
    """Whatever held before, nobody waits longer than an empty bucket of now takes to have one call."""
    buckets: Buckets[str] = Buckets()
    now = 0.0
    for turn, pause in enumerate(pauses):
        now += pause
        rate = rates[turn % len(rates)]
        wait = buckets.early("k", rate, now)
        assert wait <= 1 / rate.per_second + 1e-6
        if turn % 2:
            now += wait + 1e-9
        assert called(buckets, "k", rate, now) == (bool(turn % 2) or not wait)


@given(
    calls=st.lists(st.tuples(st.integers(0, 40), st.floats(0.0, 0.2)), min_size=1, max_size=300), keys=st.integers(1, 8)
)
def test_a_table_that_is_full_stays_bounded_and_forgets_only_what_is_full(
    calls: list[tuple[int, float]], keys: int
) -> None:
    """A stranger with many addresses gets at most one shared bucket more, and takes nothing from those that are in."""
    rate = Rate(per_second=1.0, burst=2)
    buckets: Buckets[str] = Buckets(keys_max=keys)
    alone: dict[str, Buckets[str]] = {}
    now, outside = 0.0, 0
    for number, pause in calls:
        now, key = now + pause, str(number)
        known = key in buckets._full_at
        own = alone.setdefault(key, Buckets())
        let_in = called(buckets, key, rate, now)
        assert len(buckets) <= keys
        if known:
            assert let_in == (not own.early(key, rate, now))
        if let_in and key not in buckets._full_at:
            outside += 1
        if let_in and not own.early(key, rate, now):
            own.take(key, rate, now)
    assert outside <= rate.burst + rate.per_second * now + 1

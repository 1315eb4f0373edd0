"""What the server's own calls have found out, on a clock of the test's own."""

from gateway.limits.shedding import Waited
from gateway.limits.trips import Trips


class Hand:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def now(self) -> float:
        return self.seconds


def test_a_trip_that_is_under_way_has_waited_so_far_and_one_that_came_back_as_long_as_it_took() -> None:
    """A queue that is long is seen before anybody has come through it, and for as long as it stands."""
    trips = Trips()
    assert trips.by(100.0) == Waited(0.0, 0.0)
    assert not trips.stands
    trips.begin(100.0)
    trips.begin(101.0)  # gRPC has turned the first one away: it waits on
    assert trips.by(102.0) == Waited(2.0, 0.0)
    assert trips.stands
    trips.come(103.0)
    assert trips.by(200.0) == Waited(3.0, 0.0)
    assert trips.stands, "what it waited for may be there still"
    trips.begin(200.0)
    assert trips.by(200.0).whole == 3.0
    trips.come(200.01)
    assert not trips.stands


def test_the_wait_behind_the_door_is_measured_apart() -> None:
    """As long as the last was inside, or as the one that has been there longest by now."""
    clock, trips = Hand(), Trips()
    trips.begin(clock.seconds)
    clock.seconds += 1.0
    with trips.inside(clock.now):
        clock.seconds += 0.5
        with trips.inside(clock.now):
            clock.seconds += 0.25
            assert trips.by(clock.seconds) == Waited(1.75, 0.75)
        assert trips.by(clock.seconds) == Waited(1.75, 0.75)
    trips.come(clock.seconds)
    assert trips.by(clock.seconds) == Waited(1.75, 0.75)


def test_what_is_not_known_any_more_is_no_wait() -> None:
    """Also where a trip was under way: nobody may be turned away for it."""
    trips = Trips()
    trips.begin(100.0)
    trips.forget()
    assert trips.by(1_000.0) == Waited(0.0, 0.0)
    trips.come(1_000.0)
    assert trips.by(1_000.0) == Waited(0.0, 0.0)
    assert not trips.stands


def test_two_methods_are_worth_a_trip_at_most_and_those_that_few_call_are_not() -> None:
    """Each time anew: what was called before the last time was asked about then."""
    trips = Trips()
    assert trips.busiest() == []
    trips.calls.update({"Submit": 10, "Plan": 5, "Check": 4, "Evaluate": 10})
    assert trips.busiest() == ["Submit", "Evaluate"]
    trips.calls.update({"Submit": 10, "Plan": 4})
    assert trips.busiest() == ["Submit"]
    assert trips.busiest() == []

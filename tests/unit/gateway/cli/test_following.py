"""Going on with a mission where its stream breaks, against a real server in front of a fake desk."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from engine.errors import FaultError
from gateway.cli import options
from gateway.client import Retry
from tests.cli_runner import run
from tests.fakes import FakeDesk, ended, event, view
from tests.rpc_server import served_aside

ID = "0b9ad7a4-6f0e-4a53-9d3a-2f6f7a0b1c2d"
COUNT = 6


@pytest.fixture
def desk() -> FakeDesk:
    events = [event(at) for at in range(COUNT - 1)]
    return FakeDesk(missions={ID: ended(ID)}, events=[*events, event(COUNT - 1, "mission.completed", "")])


@pytest.fixture
def env(desk: FakeDesk, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    monkeypatch.setattr(options, "RETRY", Retry(attempts_max=1, reconnects_max=8, first_seconds=0))
    with served_aside(desk) as address:
        yield {"MISSIONGATE_SERVER": address, "MISSIONGATE_TOKEN": "ann-token"}


def seen(env: Mapping[str, str], *args: object) -> list[int]:
    """Return the indexes that a watch printed; it must have gone well."""
    done = run("watch", ID, *args, "-o", "json", env=env)
    assert done.code == 0, done.err
    return [line["index"] for line in done.lines[:-1]]


@pytest.mark.parametrize("breaks", [[1], [3], [1, 0, 0, 2], [1] + [0] * 7, [2, 2, 2]])
def test_a_broken_watch_goes_on_after_the_last_event_seen(
    desk: FakeDesk, env: Mapping[str, str], breaks: list[int]
) -> None:
    """Each event once and in order, wherever the stream is torn; the first index asked for is that of the caller."""
    desk.breaks = breaks
    assert seen(env) == list(range(COUNT))
    assert desk.breaks == []
    desk.breaks = [1]
    assert seen(env, "--from-index", 2) == list(range(2, COUNT))


def test_a_gateway_that_stays_away_is_4_with_the_command_that_goes_on(desk: FakeDesk, env: Mapping[str, str]) -> None:
    """After eight tries in a row; each is told on standard error, so that the output stays the mission's."""
    desk.breaks = [2] + [0] * 20
    done = run("watch", ID, env=env)
    assert done.code == 4
    assert f"missiongate watch {ID} --from-index 2" in done.err
    assert done.err.count("the gateway has gone") == 8 + 1
    assert len(done.out.splitlines()) == 2


def test_a_watch_that_never_began_is_not_tried_again(desk: FakeDesk, env: Mapping[str, str]) -> None:
    """Nothing was lost, and a wrong address should be told at once."""
    desk.fault = FaultError("away")
    assert run("watch", ID, env=env).code == 4
    assert len(desk.callers) == 1


def test_a_stream_that_ends_before_the_mission_is_opened_again(desk: FakeDesk, env: Mapping[str, str]) -> None:
    """As where a gateway stops and hands its missions to the next start."""
    early, rest = desk.events[:3], desk.events
    desk.missions[ID] = view(ID)

    class Restarting(list):  # type: ignore[type-arg]
        """The first read gets what there was; later ones all."""

        reads = 0

        def __getitem__(self, at: object) -> object:
            self.reads += 1
            if self.reads > 1:
                desk.missions[ID] = replace(ended(ID), run=1)
            return (rest if self.reads > 1 else early).__getitem__(at)  # type: ignore[index]

    desk.events = Restarting(rest)
    assert seen(env) == list(range(COUNT))


def test_a_watch_beyond_the_end_ends(env: Mapping[str, str]) -> None:
    """No event is left, and the mission has ended: nothing is waited for."""
    assert seen(env, "--from-index", COUNT + 5) == []


def test_an_event_that_was_seen_is_not_shown_again(desk: FakeDesk, env: Mapping[str, str]) -> None:
    """Whatever index a gateway begins with."""
    desk.events = [event(0), event(0), event(1), event(1, "mission.completed", ""), event(2, "mission.completed", "")]
    assert seen(env) == [0, 1, 2]

"""erase mission: asked before it is done, and told afterwards."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from tests.cli_runner import run
from tests.fakes import MOMENT, FakeDesk, ended
from tests.rpc_server import served_aside

ID = "0b9ad7a4-6f0e-4a53-9d3a-2f6f7a0b1c2d"


@pytest.fixture
def desk() -> FakeDesk:
    return FakeDesk(missions={ID: ended(ID)})


@pytest.fixture
def env(desk: FakeDesk) -> Iterator[Mapping[str, str]]:
    with served_aside(desk) as address:
        yield {"MISSIONGATE_SERVER": address, "MISSIONGATE_TOKEN": "ann-token"}


def test_it_says_what_it_came_to(env: Mapping[str, str], desk: FakeDesk) -> None:
    """In a sentence, or as JSON; the reason is passed on."""
    shown = run("erase", "mission", ID, "--yes", "--reason", "asked for", env=env)
    assert (shown.code, ID in shown.out, "3 missions, 4 recorded decisions" in shown.out) == (0, True, True)
    said = run("erase", "mission", ID, "--yes", "-o", "json", env=env).json
    assert said == {
        "mission_id": ID,
        "erased_at": "2026-07-01T12:30:15.250000Z",
        "missions": 3,
        "decisions": 4,
    }
    assert desk.asked == ["asked for", ""]


def test_nothing_is_erased_where_nobody_can_be_asked(env: Mapping[str, str], desk: FakeDesk) -> None:
    """A script has to say --yes."""
    shown = run("erase", "mission", ID, "-o", "json", env=env)
    assert shown.code != 0
    assert "erase.not_confirmed" in shown.out + shown.err
    assert desk.asked == []


def test_an_erased_mission_is_shown_as_such(env: Mapping[str, str], desk: FakeDesk) -> None:
    """By get and by list, which have no name for it."""
    desk.missions[ID] = replace(ended(ID), name="", digest="", erased_at=MOMENT)
    assert "erased 2026-07-01" in run("get", ID, env=env).out
    assert "(erased)" in run("list", env=env).out

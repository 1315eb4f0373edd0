"""subjects lookup and erase subject, against a gateway of fakes."""

from collections.abc import Iterator

import pytest

from tests.cli_runner import run
from tests.fakes import PSEUDONYM, FakeDesk, FakePeople
from tests.rpc_server import served_aside

FOUND = {"pseudonym": PSEUDONYM, "tenant": "default", "subject": "ann"}


@pytest.fixture
def people() -> FakePeople:
    return FakePeople()


@pytest.fixture
def env(people: FakePeople) -> Iterator[dict[str, str]]:
    with served_aside(FakeDesk(), people=people) as address:
        yield {"MISSIONGATE_SERVER": address, "MISSIONGATE_TOKEN": "ann-token"}


def test_both_ways(people: FakePeople, env: dict[str, str]) -> None:
    """What looks like a pseudonym is one; a name is the caller's tenant's, unless it says whose."""
    assert run("subjects", "lookup", PSEUDONYM, env=env).out == f"{PSEUDONYM}  default/ann\n"
    assert run("subjects", "lookup", "ann", "-o", "json", env=env).json == FOUND
    assert run("subjects", "lookup", "default/ann", env=env).code == 0
    assert people.asked == [(PSEUDONYM,), ("", "ann"), ("default", "ann")]


def test_nobody_is_an_error(people: FakePeople, env: dict[str, str]) -> None:
    """Of another tenant, or erased: the two are not told apart. A subject may have slashes, a tenant has none."""
    for who in ("other/ann", "s-" + "b" * 26, "default/ann/x"):
        done = run("subjects", "lookup", who, "-o", "json", env=env)
        assert (done.code, done.json["errors"][0]["code"]) == (2, "subject.not_found")
    assert people.asked[-1] == ("default", "ann/x")


def test_an_erasure_is_meant(people: FakePeople, env: dict[str, str]) -> None:
    """Nobody at a terminal: nothing is asked of the gateway without --yes."""
    refused = run("erase", "subject", "default/ann", "-o", "json", env=env)
    assert (refused.code, refused.json["errors"][0]["code"]) == (2, "erase.not_confirmed")
    assert people.asked == []
    done = run("erase", "subject", "default/ann", "--yes", "--reason", "asked for", env=env)
    assert (done.code, done.err) == (0, "")
    assert f"default/ann is erased; {PSEUDONYM} is nobody" in done.out
    assert "2 missions, 3 recorded decisions" in done.out
    assert people.asked == [("default", "ann", "asked for")]


def test_an_erasure_in_json(env: dict[str, str]) -> None:
    """For programs."""
    answer = run("erase", "subject", "ann", "--yes", "-o", "json", env=env).json
    assert answer == {"pseudonym": PSEUDONYM, "missions": 2, "decisions": 3}


@pytest.mark.parametrize(
    ("arguments", "field"),
    [(("subjects", "lookup", "x" * 257), "name.subject"), (("erase", "subject", "\u202eann", "--yes"), "subject")],
)
def test_what_is_no_name_is_refused(env: dict[str, str], arguments: tuple[str, ...], field: str) -> None:
    """Too long, or what a reader cannot see."""
    done = run(*arguments, "-o", "json", env=env)
    assert (done.code, done.json["errors"][0]["field"]) == (2, field)

"""stats and history, against a gateway of fakes."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.cli_runner import run
from tests.fakes import FakeDesk
from tests.rpc_server import served_aside
from tests.statistics_desks import NOW, FakeStatistics


@pytest.fixture
def desk() -> FakeStatistics:
    return FakeStatistics()


@pytest.fixture
def env(desk: FakeStatistics) -> Iterator[dict[str, str]]:
    with served_aside(FakeDesk(), statistics=desk) as address:
        yield {"MISSIONGATE_SERVER": address, "MISSIONGATE_TOKEN": "ann-token"}


def test_a_summary_for_people(env: dict[str, str]) -> None:
    """What matters first, then kinds, errors and bars; what was cut off is said."""
    done = run("stats", width=110, env=env)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[2].startswith("missions  12 missions, 80.0%  Success 8  Cancelled 2")
    assert lines[3].startswith("steps     43 steps, 75.0%  Completed 30  Failed 10  Skipped 3")
    assert next(line for line in lines if line.startswith("http")).split()[:5] == ["http", "40", "10", "0", "75.0%"]
    assert next(line for line in lines if line.startswith("(not kept)")).split()[-1] == "-"
    assert next(line for line in lines if "effect.timeout" in line).split()[:3] == ["steps", "9", "20.9%"]
    assert "·" in done.out
    assert "these are the newest" in done.out


def test_a_summary_for_programs(desk: FakeStatistics, env: dict[str, str]) -> None:
    """The whole of it, and the time that was asked for."""
    answer = run(
        "stats",
        "--since",
        "2026-11-26T00:00:00Z",
        "--until",
        "2026-11-26T06:00:00Z",
        "--interval",
        "30",
        "-o",
        "json",
        env=env,
    ).json
    period = desk.asked[0][1]
    assert (period.until - period.since, period.interval) == (timedelta(hours=6), timedelta(minutes=30))
    assert (answer["missions"]["success_rate"], answer["steps"]["tallies"][0]["success_rate"]) == (0.8, None)
    assert answer["steps"]["tallies"][1]["durations"]["p99_ms"] == 3.0


def test_rules(env: dict[str, str]) -> None:
    """What they have used; those that ran most first."""
    done = run("stats", "--rules", width=140, env=env)
    assert done.out.splitlines()[1].split()[:2] == ["http@1.0.0", "1"]
    assert "constraint.cpu_exceeded 2" in done.out
    narrow = run("stats", "--rules", width=80, env=env)
    assert narrow.out.splitlines()[0].split()[:5] == ["rule", "runs", "faults", "p50", "p99"]
    rules = run("stats", "--rules", "--prefix", "sanitizer.", "-o", "json", env=env).json["rules"]
    assert [rule["rule"] for rule in rules] == ["sanitizer.step"]


def test_history(desk: FakeStatistics, env: dict[str, str]) -> None:
    """Page after page, up to the limit; the filters are the gateway's."""
    desk.pages = 3
    done = run("history", "--kind", "http", "--status", "Failed", "--limit", "3", width=160, env=env)
    assert (done.code, len(done.out.splitlines())) == (0, 4)
    assert done.out.splitlines()[1].split()[-2:] == ["http", "fetch"]
    assert "00000000-0000-4000-8000-000000000001" in done.out
    assert "[effect.timeout]  3 attempts" in done.out
    assert [(kind, status, size, token) for _, _, _, kind, status, size, token in desk.asked] == [
        ("http", "Failed", 3, ""),
        ("http", "Failed", 3, "more"),
        ("http", "Failed", 3, "more"),
    ]
    found = run("history", "-o", "json", env=env).json["executions"]
    assert found[0]["ended_at"] == (NOW - timedelta(minutes=1)).isoformat(timespec="microseconds")[:-6] + "Z"


def test_an_id_is_never_cut(env: dict[str, str]) -> None:
    """Also on a narrow terminal: it is what the next command needs."""
    lines = run("history", width=60, env=env).out.splitlines()
    assert lines[1].startswith("00000000-0000-4000-8000-000000000001  2026-11-26")
    assert {len(line) for line in lines} <= set(range(61))


@pytest.mark.parametrize("command", ["stats", "history"])
def test_a_time_that_is_none(command: str, env: dict[str, str]) -> None:
    """Is told before anything is asked."""
    done = run(command, "--since", "yesterday", "-o", "json", env=env)
    assert (done.code, done.json["errors"][0]["code"]) == (2, "usage.since")

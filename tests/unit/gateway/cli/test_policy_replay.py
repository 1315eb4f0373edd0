"""`missiongate policy replay`: what it prints, what it returns, and what it refuses."""

import asyncio
import io
import shutil
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine.clock import SystemClock
from gateway.decisions.opening import DecisionSettings, decision_records
from gateway.policy.bundle import Bundle
from gateway.policy.engine import Entrypoint
from gateway.policy.regorus_engine import RegorusEngine
from gateway.vault.master import MasterSource
from tests.cli_runner import run
from tests.policy_documents import rpc, step

OPEN = step("create_file", {"path": "out/x", "content": "text"})
CLOSED = step("create_file", {"path": "protected/x", "content": "text"})
CALL = rpc("gateway.v1.MissionService", "SubmitMission")
QUESTIONS: tuple[tuple[Entrypoint, bytes], ...] = (("step", OPEN), ("step", CLOSED), ("rpc", CALL), ("step", OPEN))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a home whose gateway has decided four times."""
    home = tmp_path / "home"
    assert run("init", "--home", home).code == 0

    async def decide() -> None:
        source = MasterSource(home)
        async with decision_records(
            home, DecisionSettings(), source=source, audit=None, clock=SystemClock()
        ) as records:
            policy = records.around(RegorusEngine(Bundle.load(home / "policies")))
            for entrypoint, document in QUESTIONS:
                await policy.decide(entrypoint, document)

    asyncio.run(decide())
    return home


def candidate(home: Path, prefixes: list[str]) -> Path:
    """Return a bundle that closes these folders to writes."""
    folder = home.parent / "candidate"
    shutil.copytree(home / "policies", folder)
    data = orjson.loads((folder / "data.json").read_bytes())
    data["gateway"]["config"]["files"]["write"]["closed_prefixes"] = prefixes
    (folder / "data.json").write_bytes(orjson.dumps(data))
    return folder


def test_the_same_bundle_changes_nothing(home: Path) -> None:
    """Exit 0, and one line."""
    ran = run("policy", "replay", home / "policies", "--home", home)
    assert (ran.code, ran.out) == (0, "✓ 4 decisions: 4 the same\n")


def test_each_change_is_listed(home: Path) -> None:
    """What was allowed and would be denied, and the other way round; exit 1."""
    ran = run("policy", "replay", candidate(home, ["out/"]), "--home", home, width=200)
    assert ran.code == 1
    lines = ran.out.splitlines()
    assert [line.partition("  ")[0] for line in lines if not line.startswith(" ")] == [
        "✗ allowed → denied",
        "✓ denied → allowed",
        "✗ allowed → denied",
        "✗ 4 decisions: 1 the same; would be 2 denied, 1 allowed",
    ]
    assert lines[0].startswith("✗ allowed → denied  step  nightly / A  red/ann  20")
    assert lines[1].startswith('    now parameters.path: "out/x" lies under "out/"')
    assert lines[2].startswith("    id  0")
    assert lines[-1].strip() == "2 denials by step.path_closed"


def test_programs_get_one_value(home: Path) -> None:
    """Counts and every change, with both answers."""
    ran = run("policy", "replay", candidate(home, ["out/"]), "--home", home, "-o", "json")
    found = ran.json
    assert (ran.code, found["asked"], found["same"], found["denied"], found["allowed"]) == (1, 4, 1, 2, 1)
    assert [change["kind"] for change in found["changes"]] == ["denied", "allowed", "denied"]
    first = found["changes"][0]
    assert (first["before"]["allow"], first["after"]["allow"]) == (True, False)
    assert first["after"]["bundle"] == found["candidate"]


def test_it_can_be_narrowed(home: Path) -> None:
    """By entrypoint, mission and time."""
    other = candidate(home, ["out/"])
    for options, asked, code in (
        (("--entrypoint", "rpc"), 1, 0),
        (("--entrypoint", "step"), 3, 1),
        (("--mission", "m1"), 3, 1),
        (("--mission", "m2"), 0, 0),
        (("--since", "1h"), 4, 1),
        (("--since", "99999d"), 4, 1),
        (("--since", "2999-01-01"), 0, 0),
        (("--since", "2020-01-01T00:00:00+02:00"), 4, 1),
    ):
        ran = run("policy", "replay", other, "--home", home, "-o", "json", *options)
        assert (ran.json["asked"], ran.code) == (asked, code), options
    assert run("policy", "replay", other, "--home", home, "--mission", "m2").out == "– nothing is recorded of that\n"  # noqa: RUF001


def test_an_archive_is_a_candidate_too(home: Path) -> None:
    """As OPA builds it."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        archive.add(home / "policies", arcname="/")
    path = home.parent / "bundle.tar.gz"
    path.write_bytes(made.getvalue())
    assert run("policy", "replay", path, "--home", home).code == 0


def test_what_does_not_open_is_listed_and_is_no_success(home: Path) -> None:
    """Nobody knows what would become of it."""
    with closing(sqlite3.connect(home / "decisions.db")) as connection:
        connection.execute("UPDATE decisions SET answer = zeroblob(40) WHERE seq = 2")
        connection.commit()
    ran = run("policy", "replay", home / "policies", "--home", home)
    assert ran.code == 1
    assert ran.out.splitlines()[0].startswith("! unreadable  step  0")
    assert "does not open" in ran.out.splitlines()[1]
    assert ran.out.splitlines()[-1] == "✗ 4 decisions: 3 the same; 1 unreadable"


def test_foreign_text_cannot_move_the_cursor(home: Path) -> None:
    """Names are a client's: they are shown escaped."""
    hostile: Any = orjson.loads(OPEN)
    hostile["step"]["name"] = "\x1b[2J\nforged"

    async def decide() -> None:
        async with decision_records(
            home, DecisionSettings(), source=MasterSource(home), audit=None, clock=SystemClock()
        ) as records:
            await records.around(RegorusEngine(Bundle.load(home / "policies"))).decide("step", orjson.dumps(hostile))

    asyncio.run(decide())
    ran = run("policy", "replay", candidate(home, ["out/"]), "--home", home, width=200)
    assert "\x1b" not in ran.out
    assert "nightly / \\x1b[2J\\nforged" in ran.out


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--since", "yesterday"), 2, "usage.since"),
        (("--since", "0d"), 2, "usage.since"),
        (("--since", "0001-01-01T00:00:00+23:00"), 2, "usage.since"),
        (("--entrypoint", "steps"), 2, "usage.entrypoint"),
    ],
)
def test_wrong_usage_is_told(home: Path, options: tuple[str, ...], code: int, said: str) -> None:
    """Before anything is asked."""
    ran = run("policy", "replay", home / "policies", "--home", home, "-o", "json", *options)
    assert (ran.code, ran.json["errors"][0]["code"]) == (code, said)


def test_a_candidate_that_is_none_is_refused(home: Path) -> None:
    """No such file, no archive, Rego that is not accepted."""
    broken = candidate(home, [])
    (broken / "gateway" / "step" / "broken.rego").write_text("package gateway.step\n\nx := 1 / input.y\n")
    garbage = home.parent / "garbage"
    garbage.write_bytes(b"no archive")
    for path in (home / "none", garbage, broken):
        ran = run("policy", "replay", path, "--home", home, "-o", "json")
        assert ran.code == 2
        assert ran.json["errors"][0]["code"].startswith("policy.")


def test_a_home_without_records_is_told(tmp_path: Path) -> None:
    """Nothing was recorded: that is no success."""
    home = tmp_path / "home"
    run("init", "--home", home)
    ran = run("policy", "replay", home / "policies", "--home", home, "-o", "json")
    assert (ran.code, ran.json["errors"][0]["code"]) == (2, "decisions.none")

"""get --format, --step and --output-file, against a real server in front of a fake desk."""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
import yaml

from engine.result import StepResult, StepState
from gateway.cli.output import terminal_safe
from tests.cli_runner import Ran, run
from tests.fakes import MOMENT, FakeDesk, ended, step_result, view
from tests.rpc_server import served_aside

PICTURE = bytes(range(256))
MISSION = {"version": "1.0", "labels": {"team": "a"}, "config": {"strategy": "levels"}, "steps": []}


@pytest.fixture
def desk() -> FakeDesk:
    steps = (
        step_result("rows", output=[{"n": 2**53 + 1, "x": "é"}], attempts=3, duration_ms=9.0),
        step_result("chart", output={"$bytes": base64.b64encode(PICTURE).decode()}),
        step_result("skipped", "Skipped", output=None, attempts=0),
    )
    return FakeDesk(missions={"m-1": ended("m-1", *steps)})


@pytest.fixture
def env(desk: FakeDesk) -> Iterator[dict[str, str]]:
    with served_aside(desk) as address:
        yield {"MISSIONGATE_SERVER": address, "MISSIONGATE_TOKEN": "ann-token"}


def raw(env: Mapping[str, str], *args: object) -> Ran:
    done = run("get", "m-1", *args, env=env)
    assert done.code == 0, done.err
    return done


def test_a_steps_output_is_given_out_alone(env: Mapping[str, str]) -> None:
    """As JSON unless told otherwise: to the last digit, and one line."""
    assert raw(env, "--step", "rows").out == '[{"n":9007199254740993,"x":"é"}]\n'
    assert raw(env, "--step", "skipped").out == "null\n"


def test_every_format_has_the_value(env: Mapping[str, str]) -> None:
    """YAML reads back to it, XML and plain text name it."""
    assert yaml.safe_load(raw(env, "--step", "rows", "--format", "yaml").out) == [{"n": 2**53 + 1, "x": "é"}]
    assert "9007199254740993" in raw(env, "--step", "rows", "-f", "xml").out
    assert raw(env, "--step", "rows", "-f", "plain").out == "- n: 9007199254740993\n  x: é\n"


def test_bytes_come_out_as_they_went_in(env: Mapping[str, str], tmp_path: Path) -> None:
    """To a file; nothing is added, and nothing else is printed."""
    done = raw(env, "--step", "chart", "--format", "binary", "--output-file", tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes() == PICTURE
    assert done.out == ""


def test_only_bytes_are_binary(env: Mapping[str, str], tmp_path: Path) -> None:
    """An output that is none is an error with a code, and no file is made."""
    done = run("get", "m-1", "--step", "rows", "-f", "binary", "--output-file", tmp_path / "x", "-o", "json", env=env)
    assert done.code == 2
    assert done.json["errors"][0]["code"] == "format.not_binary"
    assert not (tmp_path / "x").exists()


def test_a_result_comes_with_what_the_mission_was(desk: FakeDesk, env: Mapping[str, str]) -> None:
    """`metadata`: name, digest, labels, strategy, run, attempts, and the steps that took longest."""
    desk.missions["m-1"] = replace(desk.missions["m-1"], mission=MISSION)
    result = orjson.loads(raw(env, "--format", "json").out)
    assert result["overall_status"] == "Success"
    metadata = result["metadata"]
    assert metadata["mission_name"] == "quarterly report"
    assert (metadata["labels"], metadata["strategy"], metadata["run"]) == ({"team": "a"}, "levels", 1)
    assert metadata["attempts_total"] == 4
    assert [each["step_id"] for each in metadata["slowest_steps"]] == ["rows", "chart"]


def test_an_output_can_be_had_before_the_mission_ends(desk: FakeDesk, env: Mapping[str, str]) -> None:
    """From the results as they are saved; one that is not there yet is an error that names the next command."""
    desk.missions["m-1"] = view()
    desk.results_ = [
        StepResult(step_id="a", status=StepState.COMPLETED, output="done", duration_ms=1, timestamp=MOMENT, attempts=1)
    ]
    assert raw(env, "--step", "a", "-f", "plain").out == "done\n"
    for args, code in ((("--step", "b"), "step.no_result"), (("--format", "json"), "mission.no_result")):
        done = run("get", "m-1", *args, env=env)
        assert done.code == 2
        assert code in done.err
        assert "missiongate" in done.err


def test_a_file_that_cannot_be_written_is_usage(env: Mapping[str, str], tmp_path: Path) -> None:
    """2, with the system's reason."""
    done = run("get", "m-1", "--step", "rows", "--output-file", tmp_path, "-o", "json", env=env)
    assert (done.code, done.json["errors"][0]["code"]) == (2, "output.unwritable")


@pytest.mark.parametrize("text", ["\x1b[2J", "\x9b31m", "\u202ex", "\U000e0001", "a\rb"])
def test_text_for_a_terminal_moves_nothing(text: str) -> None:
    """It is escaped as JSON escapes, so that JSON stays the same value; what is harmless is left as it is."""
    escaped = terminal_safe(orjson.dumps({"é": text}))
    assert all(c.isprintable() for c in escaped.decode())
    assert orjson.loads(escaped) == {"é": text}
    assert terminal_safe("é\n\tplain".encode()) == "é\n\tplain".encode()

"""The examples for clients, as their readers run them, against one gateway: Python, Go, and grpcurl's commands."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.client import Client, Server
from tests.gateways import Program, new_home
from tests.outside_tools import need

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
GRPCURL = ROOT / ".tools" / "bin" / "grpcurl"
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Run a gateway; give the environment in which an example finds it."""
    made = new_home(tmp_path_factory.mktemp("examples"))
    program = Program.start(made)
    yield {**os.environ, "MISSIONGATE_SERVER": program.address, "MISSIONGATE_TOKEN": made.token}
    assert program.terminate() == 0


def ran(env: dict[str, str], *words: object, cwd: Path = ROOT) -> list[str]:
    """Return the lines that a program prints; it must have gone well."""
    done = subprocess.run(list(map(str, words)), cwd=cwd, env=env, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_the_blocking_example(env: dict[str, str]) -> None:
    """Built, planned, submitted, waited for."""
    printed = ran(env, sys.executable, EXAMPLES / "client" / "blocking.py")
    assert printed == ["levels: [['total'], ['write'], ['read']]", "Success: 3 steps", "total: 2480"]


def test_the_asynchronous_example(env: dict[str, str]) -> None:
    """Several missions side by side, each followed to its end."""
    printed = ran(env, sys.executable, EXAMPLES / "client" / "asynchronous.py")
    assert printed == ["GOOD MORNING, BERGEN", "GOOD MORNING, MOLDE", "GOOD MORNING, OSLO"]


def test_the_go_example(env: dict[str, str], tmp_path: Path) -> None:
    """Generated from the protocol, built with the versions that are pinned there, and run."""
    need("go", "version 1.26, to build examples/go")
    module = Path(shutil.copytree(EXAMPLES / "go", tmp_path / "go", ignore=shutil.ignore_patterns("gateway")))
    built = {**env, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
    buf = Path(sys.executable).parent / "buf"
    ran(built, buf, "generate", ROOT / "proto", "--template", module / "buf.gen.yaml", "-o", module, cwd=module)
    ran(built, "go", "build", "-o", tmp_path / "client", ".", cwd=module)
    lines = ran(env, tmp_path / "client", EXAMPLES / "report.yaml")
    assert [line.split()[0] for line in lines[:-1]] == list(map(str, range(len(lines) - 1)))
    assert lines[-2].split()[1:] == ["mission.completed"]
    assert lines[-1] == "OVERALL_STATUS_SUCCESS: 5 steps"


def test_the_commands_for_grpcurl(env: dict[str, str]) -> None:
    """Each is answered: known by reflection alone, since grpcurl has no copy of the protocol."""
    need(str(GRPCURL), "which tools/install_grpc_client.sh builds")
    with Client(Server(env["MISSIONGATE_SERVER"], env["MISSIONGATE_TOKEN"])) as client:
        mission_id = client.submit((EXAMPLES / "report.yaml").read_bytes(), "grpcurl-1").mission_id
        assert client.wait(mission_id).succeeded
    script = "\n".join(_BLOCK.findall((EXAMPLES / "grpcurl.md").read_text()))
    shown = "grpcurl() { printf '%s\\t' \"$@\"; echo; }"
    said = ran({**env, "MISSION": mission_id}, "bash", "-euc", f"{shown}\n{script}")
    commands = [line.split("\t")[:-1] for line in said]
    assert len(commands) == 14
    answers = {command[-1]: ran(env, GRPCURL, *command) for command in commands}
    assert {"gateway.v1.MissionService", "grpc.health.v1.Health"} <= set(answers["list"])
    assert "message SubmitMissionRequest {" in answers["gateway.v1.SubmitMissionRequest"]
    [submitted] = documents(answers["gateway.v1.MissionService/SubmitMission"])
    [planned] = documents(answers["gateway.v1.MissionService/PlanMission"])
    assert submitted == {"mission_id": mission_id, "digest": planned["digest"]}
    *_, last = documents(answers["gateway.v1.MissionService/WatchMission"])
    assert last["event"]["kind"] == "mission.completed"


def documents(lines: list[str]) -> list[dict[str, Any]]:
    """Return the JSON documents that grpcurl prints, one behind the other."""
    text, found = "\n".join(lines), []
    while text:
        document, end = json.JSONDecoder().raw_decode(text)
        found.append(document)
        text = text[end:].lstrip()
    return found

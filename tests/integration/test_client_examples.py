"""The examples for clients, as their readers run them, against one gateway: Python, Go, and grpcurl's commands."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

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
    """Each asks in words that the protocol has, and is answered: known by reflection alone, as grpcurl does.

    Where tools/install_grpcurl.sh has built it, grpcurl runs them too.
    """
    with Client(Server(env["MISSIONGATE_SERVER"], env["MISSIONGATE_TOKEN"])) as client:
        mission_id = client.submit((EXAMPLES / "report.yaml").read_bytes(), "grpcurl-1").mission_id
        assert client.wait(mission_id).succeeded
    env = {**env, "MISSION": mission_id}
    script = "\n".join(_BLOCK.findall((EXAMPLES / "grpcurl.md").read_text()))
    said = ran(env, "bash", "-euc", f"grpcurl() {{ printf '%s\\t' \"$@\"; echo; }}\n{script}")
    commands = [line.split("\t")[:-1] for line in said]
    assert len(commands) == 14
    with grpc.insecure_channel(env["MISSIONGATE_SERVER"]) as channel:
        intercepted = _authorized(channel, env["MISSIONGATE_TOKEN"])
        answers = {command[-1]: _ask(intercepted, command) for command in commands}
    assert {"gateway.v1.MissionService", "grpc.health.v1.Health"} <= set(answers["list"])
    assert answers["gateway.v1.MissionService/SubmitMission"] == [
        {"mission_id": mission_id, "digest": answers["gateway.v1.MissionService/PlanMission"][0]["digest"]}
    ]
    watched = answers["gateway.v1.MissionService/WatchMission"]
    assert watched[-1]["event"]["kind"] == "mission.completed"
    if GRPCURL.exists():
        path = f"{GRPCURL.parent}:{env['PATH']}"
        assert f'"mission_id": "{mission_id}"' in "\n".join(ran({**env, "PATH": path}, "bash", "-euc", script))


class _Token(grpc.UnaryStreamClientInterceptor, grpc.StreamStreamClientInterceptor):
    """Sends the header of grpcurl's -H."""

    def __init__(self, token: str) -> None:
        self._metadata = (("authorization", f"Bearer {token}"),)

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return continuation(client_call_details._replace(metadata=self._metadata), request)

    intercept_stream_stream = intercept_unary_stream


def _authorized(channel: grpc.Channel, token: str) -> grpc.Channel:
    return grpc.intercept_channel(channel, _Token(token))


def _ask(channel: grpc.Channel, command: list[str]) -> list[object]:
    """Do what a command says, knowing nothing of the protocol but what the gateway tells."""
    database = ProtoReflectionDescriptorDatabase(channel)
    pool = DescriptorPool(database)
    what = command[-1]
    if what == "list":
        return list(database.get_services())
    if "describe" in command:
        found = pool.FindServiceByName(what) if what.endswith("Service") else pool.FindMessageTypeByName(what)
        return [found.full_name]
    method = pool.FindServiceByName(what.partition("/")[0]).methods_by_name[what.partition("/")[2]]
    text = command[command.index("-d") + 1] if "-d" in command else "{}"
    request = json_format.Parse(text, message_factory.GetMessageClass(method.input_type)(), descriptor_pool=pool)
    answer = message_factory.GetMessageClass(method.output_type)
    asked = channel.unary_stream(f"/{what}", lambda sent: sent.SerializeToString(), answer.FromString)
    return [
        json_format.MessageToDict(each, preserving_proto_field_name=True, descriptor_pool=pool)
        for each in asked(request)
    ]

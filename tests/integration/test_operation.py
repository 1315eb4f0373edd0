"""A gateway from start to stop, as a service manager sees it: ready, reloaded, copied, unwell, stopped, restored."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import grpc
import orjson
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.client import CallError, Client, Server
from gateway.config import CONFIG_NAME
from gateway.folders import AUDIT_FOLDER
from gateway.home import NewHome
from tests.cli_runner import run
from tests.gateways import Program, calling, events_of, new_home, verified
from tests.gateways import serving as gateway_in_process
from tests.worlds import mission

STEP = {"id": "a", "name": "a", "step_type": "transform", "depends_on": [], "parameters": {}}
CONFIGURATION = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"
FORM = orjson.dumps(mission(STEP))


def told(manager: socket.socket, wanted: str) -> None:
    """Return once the service manager has heard a line; the socket's own limit bounds the wait."""
    while wanted not in manager.recv(4_096).decode().split("\n"):
        pass


def serving(address: str, name: str) -> bool:
    with grpc.insecure_channel(address) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=name))
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def succeeds(address: str, made: NewHome, request_id: str) -> None:
    with calling(address, made) as client:
        submitted = client.submit(FORM, request_id).mission_id
        for _ in client.watch(submitted):
            pass
        assert client.get(submitted).document()["result"]["overall_status"] == "Success"


def add_token(made: NewHome, token: str) -> None:
    digest = sha256(token.encode()).hexdigest()
    with (made.home / CONFIG_NAME).open("a") as config:
        config.write(f'\n[[tokens]]\nsha256 = "{digest}"\nsubject = "bob"\nroles = ["submitter"]\n')


def test_a_gateway_is_operated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One start, and what an operator does to it; each step leaves what it says in the log."""
    made = new_home(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        program = Program.start(made)
        try:
            told(manager, "READY=1")
            succeeds(program.address, made, "first")

            add_token(made, "bobs-token")
            program.process.send_signal(signal.SIGHUP)
            told(manager, "RELOADING=1")
            told(manager, "READY=1")
            with Client(Server(program.address, "bobs-token")) as bob:
                assert bob.submit(FORM, "bobs").created
            good = (made.home / CONFIG_NAME).read_text()
            (made.home / CONFIG_NAME).write_text("colour = 'red'\n" + good)
            program.process.send_signal(signal.SIGHUP)
            told(manager, "RELOADING=1")
            told(manager, "READY=1")
            (made.home / CONFIG_NAME).write_text(good)

            copy, restored = tmp_path / "copy", tmp_path / "restored"
            phrase = tmp_path / "phrase"
            phrase.write_text("a passphrase of some length")
            phrase.chmod(0o600)
            backup = run("backup", "--home", made.home, "--to", copy, "--keys-passphrase-file", phrase, "-o", "json")
            assert (backup.code, backup.json["keys"]) == (0, "sealed"), backup
            assert run("restore", copy, "--check", "--key", made.verifier_key).code == 0
            succeeds(program.address, made, "after the copy")
            checkpoint = made.home / AUDIT_FOLDER / "checkpoint"
            rolled = run("restore", copy, "--check", "--checkpoint", checkpoint, "-o", "json")
            assert (rolled.code, rolled.json["errors"][0]["code"]) == (1, "backup.rollback")
            done = run("restore", copy, "--home", restored, "--keys-passphrase-file", phrase, "-o", "json")
            assert done.code == 0, done
            assert run("restore", copy, "--home", restored).code == 2

            unwell(program, made)
            program.process.send_signal(signal.SIGTERM)
            told(manager, "STOPPING=1")
            program.process.communicate(timeout=60)
        finally:
            program.kill()
    types = [event.event_type for event in events_of(made)]
    assert [each for each in types if each.startswith("gateway.")][:3] == [
        "gateway.started",
        "gateway.reloaded",
        "gateway.reload_refused",
    ]
    asyncio.run(
        goes_on(NewHome(home=restored, token=made.token, token_file=made.token_file, verifier_key=made.verifier_key))
    )


def unwell(program: Program, made: NewHome) -> None:
    """Fill the disk of the log: health says so by component, and calls are refused."""
    assert all(serving(program.address, name) for name in ("", "audit", "store", "policy", "sandbox"))
    newest = max((made.home / AUDIT_FOLDER / "segments").iterdir())
    program.file_bytes_max(newest.stat().st_size + 100)
    with calling(program.address, made) as client, pytest.raises(CallError):
        client.submit(FORM, "into the full disk")
    with grpc.insecure_channel(program.address) as channel:
        watching = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service="audit"), timeout=60)
        assert any(answer.status == health_pb2.HealthCheckResponse.NOT_SERVING for answer in watching)
    assert not serving(program.address, "")
    assert serving(program.address, "sandbox")


async def goes_on(made: NewHome) -> None:
    """Start what was restored: its log verifies, and has more than the copy had. It adopts what is documented."""
    before = verified(made).events
    async with gateway_in_process(made) as gateway:
        known = await asyncio.to_thread(submitted_again, gateway.address, made)
        assert gateway.reloader.keys | {"log.level"} == documented_as_adopted()  # that one is of the process
    assert not known
    assert verified(made).events > before


def submitted_again(address: str, made: NewHome) -> bool:
    """Run something new, and return whether what was there before the copy is new as well."""
    succeeds(address, made, "restored")
    with calling(address, made) as client:
        return client.submit(FORM, "first").created


def documented_as_adopted() -> set[str]:
    """Return the keys of the table in docs/configuration.md."""
    table = CONFIGURATION.read_text().partition("## What a running gateway takes over")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return {key for row in rows for key in re.findall(r"`([^`]+)`", row)}


def test_doctor_finds_nothing_wrong_with_a_new_home(tmp_path: Path) -> None:
    """Both engines give their known answers, from workers under the lockdown; nothing fails."""
    made = new_home(tmp_path)
    command = [sys.executable, "-m", "gateway", "doctor", "--home", str(made.home), "-o", "json"]
    environ: Mapping[str, str] = {k: v for k, v in os.environ.items() if not k.startswith("MISSIONGATE")}
    done = subprocess.run(command, capture_output=True, timeout=60, check=False, env=environ)
    answer = orjson.loads(done.stdout)
    states = {check["code"]: check["state"] for check in answer["checks"]}
    assert (done.returncode, answer["ok"]) == (0, True), answer
    assert states["engine.regorus"] == states["engine.wasmtime"] == "ok", answer
    assert len(states) == len(answer["checks"]) == 16

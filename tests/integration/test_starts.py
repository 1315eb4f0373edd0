"""Starts of a gateway that go wrong, or find more than they expect: what an earlier one left goes on all the same."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine.audit.verify import verify_log
from gateway.assembly import Gateway, running_gateway
from gateway.config import load_config
from gateway.errors import ConfigurationError
from gateway.folders import AUDIT_FOLDER
from gateway.home import NewHome
from tests.gateways import calling, new_home, serving


def waiting(seconds: int) -> bytes:
    parameters = {"ms": seconds * 1_000}
    steps = [{"id": "wait", "name": "wait", "step_type": "delay", "parameters": parameters}]
    return orjson.dumps({"version": "1.0", "name": "waits", "steps": steps})


async def submit(gateway: Gateway, made: NewHome, seconds: int, request_id: str) -> str:
    def call() -> str:
        with calling(gateway.address, made) as client:
            return client.submit(waiting(seconds), request_id).mission_id

    return await asyncio.to_thread(call)


def kinds(made: NewHome) -> list[str]:
    report = verify_log(made.home / AUDIT_FOLDER, made.verifier_key)
    assert report.ok, report
    paths = sorted((made.home / AUDIT_FOLDER / "segments").iterdir())
    lines = b"".join(path.read_bytes() for path in paths).split(b"\n")
    return [orjson.loads(line)["event_type"] for line in lines if line]


async def test_a_start_that_fails_ends_no_mission(tmp_path: Path) -> None:
    """The port is taken, which is found out after recovery: what was resumed is suspended again, and goes on later."""
    made = new_home(tmp_path)
    async with serving(made, drain_seconds=0) as gateway:
        mission_id = await submit(gateway, made, 60, "r")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = load_config(made.home, listen=f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(ConfigurationError):
            async with running_gateway(made.home, config):
                pass
    assert "mission.ended" not in kinds(made)
    async with serving(made, drain_seconds=0) as gateway:
        assert gateway.recovered.resumed == (mission_id,)
    assert kinds(made)[-1] == "gateway.stopped"


async def test_more_missions_than_may_run_go_on(tmp_path: Path) -> None:
    """The limit was lowered between two starts: it holds for what is submitted, and keeps no gateway from starting."""
    made = new_home(tmp_path)
    async with serving(made, drain_seconds=0) as gateway:
        ids = [await submit(gateway, made, 60, f"r{n}") for n in range(3)]
    config = load_config(made.home)
    lower: Any = config.limits.model_copy(update={"missions_running_max": 1})
    async with running_gateway(made.home, config.model_copy(update={"limits": lower}), drain_seconds=0) as gateway:
        assert gateway.recovered.resumed == tuple(ids)

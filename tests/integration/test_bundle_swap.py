"""Another bundle takes the place of the one in force, in a gateway that is at work: nothing is lost, all follows."""

import asyncio
import shutil
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from gateway.assembly import Gateway
from gateway.client import CallError
from gateway.errors import HookRefusedError, PolicyInvalidError
from gateway.home import NewHome
from gateway.policy.bundle import Bundle
from tests.gateways import add_hook, change_data, events_of, new_home, serving, submitted, verified


def step(step_id: str, kind: str, *after: str, **parameters: Any) -> dict[str, Any]:
    return {"id": step_id, "name": step_id, "step_type": kind, "depends_on": list(after), "parameters": parameters}


def mission(name: str, *steps: dict[str, Any]) -> dict[str, Any]:
    return {"version": "1.0", "name": name, "steps": list(steps)}


def variant(made: NewHome, folder: Path, change: Callable[[dict[str, Any]], None]) -> Bundle:
    """Return the home's bundle with other data."""
    shutil.copytree(made.home / "policies", folder)
    change_data(folder, change)
    return Bundle.load(folder)


def status(view: Any) -> str:
    return str(view["result"]["overall_status"])


def code(view: Any) -> str:
    return str(view["result"]["step_results"]["a"]["error"]["code"])


async def ended(gateway: Gateway, made: NewHome, form: dict[str, Any]) -> Any:
    return await submitted(gateway, made, form, request_id=form["name"])


async def test_missions_go_on_while_bundles_change(tmp_path: Path) -> None:
    """Twenty changes under a stream of missions: each completes, and each decision names the bundle that gave it."""
    made = new_home(tmp_path)
    other = variant(made, tmp_path / "other", lambda config: config["timer"].update(sleep_ms_max=1_000))
    async with serving(made) as gateway:
        first = gateway.bundle
        stop = asyncio.Event()

        async def change() -> int:
            count = 0
            while not stop.is_set() or count < 20:
                await gateway.policy.activate(other if count % 2 == 0 else first)
                count += 1
            return count

        changing = asyncio.create_task(change())
        forms = [
            mission(f"m{i}", step("a", "delay", ms=20), step("b", "create_file", "a", path="out/x", content=str(i)))
            for i in range(24)
        ]
        views = await asyncio.gather(*(ended(gateway, made, form) for form in forms))
        stop.set()
        assert await changing >= 20
    assert [status(view) for view in views] == ["Success"] * 24
    verified(made)
    bundles = {event.details["bundle"] for event in events_of(made) if event.event_type == "step.allowed"}
    assert bundles == {first.digest, other.digest}


async def test_the_next_mission_is_held_to_the_new_rules_and_the_new_data(tmp_path: Path) -> None:
    """What a rule refuses, and what the host makes of the data: limits of a run, and of an effect."""
    made = new_home(tmp_path)

    def narrower(config: dict[str, Any]) -> None:
        config["files"]["write"]["closed_prefixes"] = ["out/"]
        config["profiles"]["semantic"]["memory_bytes"] = 2_097_152
        config["limits"]["default"]["file_write_bytes_max"] = 4

    other = variant(made, tmp_path / "other", narrower)
    write = step("a", "create_file", path="out/x", content="12345")
    elsewhere = step("a", "create_file", path="else/x", content="12345")
    short = step("a", "create_file", path="else/y", content="1234")
    async with serving(made) as gateway:
        assert status(await ended(gateway, made, mission("before", write))) == "Success"
        await gateway.policy.activate(other)
        refused = await ended(gateway, made, mission("closed", write))
        too_large = await ended(gateway, made, mission("large", elsewhere))
        small = await ended(gateway, made, mission("small", short))
    assert code(refused) == "step.path_closed"
    assert code(too_large) == "effect.too_large"
    assert status(small) == "Success"
    granted = [e.details["memory_bytes_max"] for e in events_of(made) if e.event_type == "step.allowed"]
    assert granted == [10_485_760, 2_097_152, 2_097_152]


async def test_hosts_and_addresses_follow(tmp_path: Path) -> None:
    """A service on this machine is out of reach until a bundle opens it, in the rules and in the address check."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_args: Any) -> None:
            pass

    made = new_home(tmp_path)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_port

    def opened(config: dict[str, Any]) -> None:
        config["http"]["hosts"]["127.0.0.1"] = {"ports": [port], "methods": ["GET"]}
        config["networks"]["allow"] = [f"127.0.0.1:{port}"]

    other = variant(made, tmp_path / "other", opened)
    get = step("a", "http", url=f"http://127.0.0.1:{port}/")
    try:
        async with serving(made) as gateway:
            with pytest.raises(CallError) as refused:
                await ended(gateway, made, mission("closed", get))
            await gateway.policy.activate(other)
            view = await ended(gateway, made, mission("open", get))
    finally:
        server.shutdown()
        server.server_close()
    assert "not public" in str(refused.value)
    assert status(view) == "Success"


async def test_a_bundle_that_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    """Data that the host does not understand, or that the hooks in force do not fit: the one before stays."""
    made = new_home(tmp_path)
    add_hook(made, "spin")
    bad = variant(made, tmp_path / "bad", lambda config: config["retention"].update(mission_days=0))
    unfit = variant(made, tmp_path / "unfit", lambda config: config["profiles"].pop("patient"))
    async with serving(made) as gateway:
        before = gateway.bundle.digest
        with pytest.raises(PolicyInvalidError, match=r"retention\.mission_days"):
            await gateway.policy.activate(bad)
        with pytest.raises(HookRefusedError, match="patient"):
            await gateway.policy.activate(unfit)
        assert gateway.bundle.digest == before
        view = await ended(gateway, made, mission("m", step("a", "create_file", path="out/x", content="")))
    assert status(view) == "Success"

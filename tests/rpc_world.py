"""A whole gateway behind a real channel, with the default bundle and people of several roles and tenants."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from gateway.assembly import Gateway, running_gateway
from gateway.config import CONFIG_NAME, load_config
from gateway.home import make_home
from gateway.v1 import audit_pb2, audit_pb2_grpc, mission_pb2, mission_pb2_grpc
from tests.gateways import compiling_once

ROLES = {
    "ann": ("default", ["submitter"]),
    "amy": ("default", ["submitter"]),
    "bob": ("other", ["submitter"]),
    "eve": ("default", ["auditor"]),
    "aud": ("other", ["auditor"]),
    "vic": ("default", ["viewer"]),
    "nil": ("default", []),
    "opi": ("default", ["operator"]),
    "ada": ("default", ["approver"]),
    "max": ("default", ["submitter", "approver"]),
    "blu": ("other", ["approver"]),
}


@dataclass
class World:
    gateway: Gateway
    home: Path
    missions: Any
    log: Any
    stop: Callable[[], Awaitable[None]]  # the gateway, its clients' channel staying open

    async def submit(self, request_id: str, *steps: dict[str, object], who: str = "ann") -> Any:
        request = mission_pb2.SubmitMissionRequest(request_id=request_id, document=document(*steps))
        return await self.missions.SubmitMission(request, metadata=as_(who))

    async def watch(self, mission_id: str, from_index: int = 0, who: str = "ann") -> list[tuple[int, str, str]]:
        request = mission_pb2.WatchMissionRequest(mission_id=mission_id, from_index=from_index)
        call = self.missions.WatchMission(request, metadata=as_(who))
        return [(a.event.index, a.event.kind, a.event.step_id) async for a in call]

    async def view(self, mission_id: str, who: str = "ann", *, document: bool = False) -> mission_pb2.MissionView:
        request = mission_pb2.GetMissionRequest(mission_id=mission_id, include_mission=document)
        return (await self.missions.GetMission(request, metadata=as_(who))).mission

    async def seen(self, mission_id: str, kind: str, who: str = "ann", of: str = "") -> mission_pb2.MissionEvent:
        """Return the first event of a kind, once it has come; with `of`, that of this step."""
        request = mission_pb2.WatchMissionRequest(mission_id=mission_id)
        async for answer in self.missions.WatchMission(request, metadata=as_(who)):
            if answer.event.kind == kind and of in {"", answer.event.step_id}:
                return answer.event
        raise AssertionError(f"the mission ended without {kind}")

    async def events(self, kind: str) -> list[dict[str, Any]]:
        """Return the audit log's events of a kind."""
        call = self.log.ReadEvents(audit_pb2.ReadEventsRequest(), metadata=as_("eve"))
        lines = [json.loads(line) async for answer in call for line in answer.lines]
        return [line for line in lines if line["event_type"] == kind]


def as_(who: str) -> tuple[tuple[str, str]]:
    return (("authorization", f"Bearer {who}-token"),)


def step(step_id: str, step_type: str = "transform", **more: object) -> dict[str, object]:
    return {"id": step_id, "name": step_id, "step_type": step_type, "parameters": {}, **more}


def document(*steps: dict[str, object]) -> bytes:
    return json.dumps({"version": "1.0", "name": "m", "steps": list(steps)}).encode()


SLOW = step("slow", "delay", parameters={"ms": 60_000})


def home_with_people(tmp_path: Path) -> Path:
    """Return the home in `tmp_path`, which is made the first time, with a token for everyone."""
    home = tmp_path / "home"
    if not home.exists():
        make_home(home, listen="127.0.0.1:0")
        with (home / CONFIG_NAME).open("a") as file:
            for who, (tenant, roles) in ROLES.items():
                digest = sha256(f"{who}-token".encode()).hexdigest()
                file.write(
                    f'\n[[tokens]]\nsubject = "{who}"\ntenant = "{tenant}"\nroles = {roles}\nsha256 = "{digest}"\n'
                )
    return home


@asynccontextmanager
async def world(
    tmp_path: Path, *, listen: str = "", config: Callable[[Any], Any] | None = None, **options: Any
) -> AsyncIterator[World]:
    """Run a gateway on the home in `tmp_path`, which is made the first time; on `listen`, or on a free port.

    `config` makes the configuration that it runs with of that which the home has.
    """
    home = home_with_people(tmp_path)
    found = load_config(home)
    if listen:
        found = found.model_copy(update={"listen": listen})
    if config is not None:
        found = config(found)
    async with AsyncExitStack() as channels, AsyncExitStack() as gateways:
        gateways.enter_context(compiling_once())
        gateway = await gateways.enter_async_context(running_gateway(home, found, **options))
        channel = await channels.enter_async_context(grpc.aio.insecure_channel(gateway.address))
        missions, log = mission_pb2_grpc.MissionServiceStub(channel), audit_pb2_grpc.AuditServiceStub(channel)
        yield World(gateway, home, missions, log, gateways.aclose)


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value

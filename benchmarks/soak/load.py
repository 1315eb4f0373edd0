"""Callers: each submits a mission, follows it to its end, and begins again, for as long as there is time."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Final

import grpc.aio
import orjson

from benchmarks.soak.again import tried
from benchmarks.soak.world import HOOK, Served
from gateway.v1 import mission_pb2, mission_pb2_grpc

_CHANNELS: Final = 8
_OPTIONS: Final = (("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1))
_END_SECONDS_MAX: Final = 120.0
ORDERS: Final = 2  # of each mission
_REST_MS: Final = 60_000  # for which a mission waits between them, so that a thousand are under way at once


@dataclass(slots=True)
class Seen:
    """What the callers saw. Times are in seconds."""

    submitting: list[float] = field(default_factory=list)  # a call that was answered
    ending: list[float] = field(default_factory=list)  # from there until its end was told
    acknowledged: dict[str, str] = field(default_factory=dict)  # mission id by what its orders are called
    ended: Counter[str] = field(default_factory=Counter)  # by overall status, or what went wrong
    tried_again: Counter[str] = field(default_factory=Counter)  # by status
    under_way: int = 0  # acknowledged, and not ended
    most_under_way: int = 0

    def began(self, name: str, mission_id: str) -> None:
        """Note that a mission was acknowledged."""
        self.acknowledged[name] = mission_id
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)


def mission(name: str, port: int) -> bytes:
    """Return a mission: an order, the hook, a pure step, a rest, and another order that needs them."""

    def order(step_id: str, after: list[str]) -> dict[str, Any]:
        parameters = {"url": f"http://127.0.0.1:{port}/orders", "method": "POST", "body": f"{name}/{step_id}"}
        return {"id": step_id, "name": step_id, "step_type": "http", "depends_on": after, "parameters": parameters}

    def after(step_id: str, kind: str, **parameters: Any) -> dict[str, Any]:
        return {"id": step_id, "name": step_id, "step_type": kind, "depends_on": ["first"], "parameters": parameters}

    between = [after("stamp", HOOK), after("shape", "transform"), after("rest", "delay", ms=_REST_MS)]
    steps = [order("first", []), *between, order("last", [step["id"] for step in between])]
    return orjson.dumps({"version": "1.0", "name": "soak", "steps": steps})


class Callers:
    """So many missions at once, over a few connections."""

    def __init__(self, served: Served, port: int) -> None:
        self._metadata = (("authorization", f"Bearer {served.made.token}"),)
        self._channels = [grpc.aio.insecure_channel(served.address, options=_OPTIONS) for _ in range(_CHANNELS)]
        self._stubs = [mission_pb2_grpc.MissionServiceStub(channel) for channel in self._channels]
        self._port = port
        self.seen = Seen()

    async def run(self, missions: int, until: float) -> None:
        """Keep so many missions going until `perf_counter` says `until`, and then see the last ones end."""
        async with asyncio.TaskGroup() as group:
            for number in range(missions):
                group.create_task(self._go_on(number, missions, until))

    async def close(self) -> None:
        """Close the connections."""
        for channel in self._channels:
            await channel.close()

    async def _go_on(self, number: int, missions: int, until: float) -> None:
        await asyncio.sleep(_REST_MS / 1e3 * number / missions)  # so that they do not all come back at the same moment
        turn = 0
        while perf_counter() < until:
            await self._one(f"{number}-{turn}", self._stubs[number % _CHANNELS])
            turn += 1

    async def _one(self, name: str, stub: Any) -> None:
        request = mission_pb2.SubmitMissionRequest(request_id=name, document=mission(name, self._port))
        began = perf_counter()
        answer = await tried(lambda: stub.SubmitMission(request, metadata=self._metadata), self.seen.tried_again)
        submitted = perf_counter()
        self.seen.submitting.append(submitted - began)
        self.seen.began(name, answer.mission_id)
        await tried(lambda: self._followed(stub, answer.mission_id), self.seen.tried_again)
        self.seen.under_way -= 1
        self.seen.ending.append(perf_counter() - submitted)
        wanted = mission_pb2.GetMissionRequest(mission_id=answer.mission_id)
        view = (await tried(lambda: stub.GetMission(wanted, metadata=self._metadata), self.seen.tried_again)).mission
        self.seen.ended[_outcome(view)] += 1

    async def _followed(self, stub: Any, mission_id: str) -> None:
        request = mission_pb2.WatchMissionRequest(mission_id=mission_id)
        async for _ in stub.WatchMission(request, metadata=self._metadata, timeout=_END_SECONDS_MAX):
            pass


def _outcome(view: mission_pb2.MissionView) -> str:
    status: str = mission_pb2.OverallStatus.Name(view.result.overall_status).removeprefix("OVERALL_STATUS_").lower()
    codes = sorted({step.error.code for step in view.result.step_results.values() if step.HasField("error")})
    return f"{status}: {', '.join(codes)}" if codes else status

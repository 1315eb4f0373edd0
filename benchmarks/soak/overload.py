"""More than the gateway can do: what it turns away, what it still does, and how soon all is as before.

(0) Callers whom nobody knows: what it costs to turn one away. (1) Capacity: so many callers, each with one mission
after the other. (2) Four times that, begun by the clock, whatever comes back. (3) Half of capacity, right after: half a
second later nobody may be turned away any more.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio
import orjson

from benchmarks.soak.world import Served
from gateway.v1 import mission_pb2, mission_pb2_grpc

TIMES: Final = 4
_CALLERS: Final = 32
_CHANNELS: Final = 16
_TICK_SECONDS: Final = 0.01
_CALL_SECONDS_MAX: Final = 30.0
_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
_MISSION: Final = orjson.dumps(
    {
        "version": "1.0",
        "name": "overload",
        "steps": [{"id": "a", "name": "a", "step_type": "transform", "parameters": {}}],
    }
)


Metadata: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Phase:
    """What came of the calls of one phase. Times are in seconds."""

    begun: int = 0
    seconds: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)  # of the calls that were answered well
    refusals: list[float] = field(default_factory=list)  # of the others
    cpu_seconds: float = 0.0  # of the gateway's process, its workers not among them
    began: float = 0.0  # `perf_counter`
    last_refusal: float = 0.0  # seconds after that

    @property
    def rate(self) -> float:
        """Missions that were admitted, a second."""
        return self.statuses["OK"] / self.seconds


class Overload:
    """Submits missions of one pure step."""

    def __init__(self, served: Served) -> None:
        self._metadata = _as(served.made.token)
        self._pid = served.pid
        options = (("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1))
        self._channels = [grpc.aio.insecure_channel(served.address, options=options) for _ in range(_CHANNELS)]
        self._stubs: Sequence[Any] = [mission_pb2_grpc.MissionServiceStub(channel) for channel in self._channels]
        self._names = count()

    async def close(self) -> None:
        """Close the connections."""
        for channel in self._channels:
            await channel.close()

    async def strangers(self, seconds: float) -> Phase:
        """Return what callers without a credential that is accepted get, who wait for their answers."""
        return await self._in_turn(seconds, _as("nobody's"))

    async def capacity(self, seconds: float) -> Phase:
        """Return what callers who wait for their answers get."""
        return await self._in_turn(seconds, self._metadata)

    async def _in_turn(self, seconds: float, metadata: Metadata) -> Phase:
        phase, began, cpu = Phase(), perf_counter(), cpu_seconds(self._pid)

        async def caller() -> None:
            while perf_counter() - began < seconds:
                await self._submit(phase, metadata)

        await asyncio.gather(*(caller() for _ in range(_CALLERS)))
        phase.seconds, phase.cpu_seconds = perf_counter() - began, cpu_seconds(self._pid) - cpu
        return phase

    async def at_rate(self, rate: float, seconds: float) -> Phase:
        """Return what comes of calls that are begun by the clock."""
        phase, cpu = Phase(began=perf_counter()), cpu_seconds(self._pid)
        began = phase.began
        tasks: set[asyncio.Task[None]] = set()
        begun = 0
        while (passed := perf_counter() - began) < seconds:
            for _ in range(int(rate * passed) - begun):
                begun += 1
                task = asyncio.create_task(self._submit(phase, self._metadata))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await asyncio.sleep(_TICK_SECONDS)
        if tasks:
            await asyncio.wait(tasks)
        phase.seconds, phase.cpu_seconds = perf_counter() - began, cpu_seconds(self._pid) - cpu
        return phase

    async def _submit(self, phase: Phase, metadata: Metadata) -> None:
        number = next(self._names)
        phase.begun += 1
        request = mission_pb2.SubmitMissionRequest(request_id=f"overload-{number}", document=_MISSION)
        began = perf_counter()
        stub = self._stubs[number % _CHANNELS]
        try:
            await stub.SubmitMission(request, metadata=metadata, timeout=_CALL_SECONDS_MAX)
        except grpc.aio.AioRpcError as error:
            phase.statuses[error.code().name] += 1
            ended = perf_counter()
            phase.refusals.append(ended - began)
            phase.last_refusal = ended - phase.began
            return
        phase.statuses["OK"] += 1
        phase.latencies.append(perf_counter() - began)


def _as(token: str) -> Metadata:
    return (("authorization", f"Bearer {token}"),)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process, all its threads (utime and stime of proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND

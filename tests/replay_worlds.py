"""Replays in a world of fakes: the same core as on a home, over a log and a store in memory."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import orjson

from engine.constraints import ExecutionConstraints
from gateway.replay.outcome import StepOutcome
from gateway.replay.replayer import Replayer
from gateway.replay.trace import LogEvent, MissionTrace
from gateway.sandbox.port import RunGiven, RunReport
from gateway.sandbox.version import EngineVersion
from tests.worlds import World

ENGINE = EngineVersion("1.0.0", 1)


@dataclass
class WorldModules:
    """Runs what the world's sandbox would, without its faults. Hooks of one place are one module."""

    world: World

    async def run(
        self, _sha256: str, document: bytes, constraints: ExecutionConstraints, _given: RunGiven
    ) -> RunReport:
        asked = json.loads(document)
        sandbox = self.world.sandbox
        if asked["kind"] == "step":
            answer = sandbox.answer(asked)
        else:
            [key] = [p.hook.key for p in self.world.placed if (p.hook.kind, p.hook.at) == (asked["kind"], asked["at"])]
            answer = sandbox.hooks[key](asked)
        output = answer if isinstance(answer, bytes) else orjson.dumps(answer)
        assert constraints.fuel_max > 0
        return RunReport(output, fuel_used=sandbox.fuel_used, memory_bytes=65_536, wall_us=1)


def trace_of(world: World, mission_id: str) -> MissionTrace:
    """Return what the world's log says under its checkpoint."""
    trace = MissionTrace(mission_id)
    for event in world.log.events[: world.log.size]:
        trace.take(LogEvent(event.event_type, event.target, event.details))
    return trace


async def replay(world: World, mission_id: str, **parts: Any) -> list[StepOutcome]:
    """Replay a mission of the world."""
    settings = {placed.settings for placed in world.placed}
    await world.store.hooks.use_modules({hashlib.sha256(each).hexdigest(): each for each in settings})
    ports = {"records": world.store, "modules": WorldModules(world), "handles": None, "engine": ENGINE}
    return [outcome async for outcome in Replayer(**{**ports, **parts}).replay(trace_of(world, mission_id))]

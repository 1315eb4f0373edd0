"""Whole secured steps per second: every layer on, audited, beside bare worker round trips in the same run.

A mission of 2,000 `transform` steps that do nothing goes through sanitizer, policy, sandbox, log and store of a real
gateway with two sandbox workers and one policy worker. The floor is what the two round trips of a step cost with
nothing around them: one to a policy worker that decides, one to a sandbox worker that runs, from the same loop.

Run it: `python -m benchmarks.bench_gateway`
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final

import orjson

from benchmarks.command import main
from benchmarks.table import Row, timed_row
from benchmarks.timing import FULL, Effort, Work, costs_in_turn
from engine.clock import SystemClock
from engine.loader import load_mission
from engine.mission import MissionLimits
from gateway.assembly import Gateway, running_gateway
from gateway.config import load_config
from gateway.home import make_home
from gateway.identity import Principal
from gateway.policy import document
from gateway.sandbox.abi import encode_step
from gateway.sandbox.profile import profiles_from

TITLE: Final = "gateway: whole secured steps, every layer on"
STEPS = 2_000
AT_ONCE = 64
CALLER = Principal(subject="admin", tenant="default", roles=("admin",))
WASM = profiles_from({})["wasm"]
MISSION = orjson.dumps(
    {
        "version": "1.0",
        "name": "bench",
        "config": {"parallel_limit": AT_ONCE},
        "steps": [{"id": f"s{n}", "name": f"s{n}", "step_type": "transform", "parameters": {}} for n in range(STEPS)],
    }
)


class Floor:
    """The two round trips of a step, and nothing else."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._clock = SystemClock()
        self._asked = 0
        self._hooks = gateway.registry.current
        self._step = encode_step(
            step_id="s1", name="s1", step_type="transform", attempt=1, parameters={}, journal=[], now="", seed="0" * 32
        )
        self._mission = load_mission(MISSION, limits=MissionLimits(), step_types=("transform",)).mission

    async def one(self) -> None:
        """Decide once and run once."""
        self._asked += 1  # of another mission each time: an answer that is kept would not be a round trip
        asked = document.step_document(
            CALLER,
            f"m{self._asked}",
            self._mission,
            self._mission.steps[0],
            profile="wasm",
            parameters={},
            taint=(),
            security_level="balanced",
            now=self._clock.now(),
        )
        await self._gateway.policy.decide("step", asked)
        await self._hooks.sandbox.run(self._hooks.kinds["transform"].hook.key, self._step, WASM)

    async def all(self, at_once: int) -> None:
        """Do it for every step, so many at a time."""

        async def caller() -> None:
            for _ in range(STEPS // at_once):
                await self.one()

        await asyncio.gather(*(caller() for _ in range(at_once)))


async def secured(gateway: Gateway, name: str) -> None:
    """Submit the mission and wait for its recorded end."""
    caller = await gateway.subjects.known(CALLER)
    submission = await gateway.desk.submit(caller, MISSION, name)
    async for _ in gateway.desk.watch(caller, submission.mission_id, 2 * STEPS):  # only its end comes after those
        pass
    view = await gateway.desk.get(caller, submission.mission_id)
    result: Any = view.result
    failed = [step for step in result["step_results"].values() if step["status"] != "Completed"]
    assert not failed, failed[:3]


async def rows(effort: Effort = FULL) -> AsyncIterator[Row]:
    """Measure every figure."""
    names = map(str, count())
    with tempfile.TemporaryDirectory() as folder:
        made = make_home(Path(folder) / "home", listen="127.0.0.1:0")
        async with running_gateway(made.home, load_config(made.home)) as gateway:
            floor = Floor(gateway)
            ours, many, single = await costs_in_turn(
                effort,
                Work(lambda: secured(gateway, next(names)), STEPS),
                Work(partial(floor.all, AT_ONCE), STEPS // AT_ONCE * AT_ONCE),
                Work(partial(floor.all, 1), STEPS),
            )
    what, bare = f"a mission of {STEPS:,} pure steps", "bare decision and run"
    yield timed_row(what, "steps/s", ours.wall, against=f"{bare}, {AT_ONCE} at once", peer=many.wall, target=8_000)
    yield timed_row(
        f"{what}, beside one at a time", "steps/s", ours.wall, against=f"{bare}, one at a time", peer=single.wall
    )
    yield timed_row(
        f"{what}: CPU of the gateway", "µs/step", ours.cpu, against=f"{bare}, {AT_ONCE} at once", peer=many.cpu
    )


if __name__ == "__main__":
    raise SystemExit(main(only="gateway"))

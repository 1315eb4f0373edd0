"""Whole secured steps per second: every layer on, audited, beside bare worker round trips in the same run.

A mission of 2,000 `transform` steps that do nothing goes through sanitizer, policy, sandbox, log and store of a real
gateway with two sandbox workers and one policy worker. The floor is what the two round trips of a step cost with
nothing around them: one to a policy worker that decides, one to a sandbox worker that runs, from the same loop.

Run it: `python -m benchmarks.bench_gateway`
"""

import asyncio
import logging
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import orjson

from gateway.assembly import Gateway, running_gateway
from gateway.config import load_config
from gateway.home import make_home
from gateway.identity import Principal
from gateway.policy import document
from gateway.sandbox.abi import encode_step
from gateway.sandbox.profile import profiles_from

STEPS = 2_000
ROUNDS = 5  # the best counts: the machine may be busy with other things
AT_ONCE = 64
CALLER = Principal(subject="admin", tenant="default", roles=("admin",))
WASM = profiles_from({})["wasm"].constraints
MISSION = orjson.dumps(
    {
        "version": "1.0",
        "name": "bench",
        "config": {"parallel_limit": AT_ONCE},
        "steps": [{"id": f"s{n}", "name": f"s{n}", "step_type": "transform", "parameters": {}} for n in range(STEPS)],
    }
)


def line(what: str, figure: str) -> None:
    print(f"{what:<66} {figure:>18}")


async def measured(work: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """Return wall and this process's CPU, in microseconds a step, of the best round."""
    figures = []
    for _ in range(ROUNDS):
        wall, cpu = time.perf_counter(), time.process_time()
        await work()
        figures.append(((time.perf_counter() - wall) / STEPS * 1e6, (time.process_time() - cpu) / STEPS * 1e6))
    return min(figures)


class Floor:
    """The two round trips of a step, and nothing else."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._step = encode_step(
            step_id="s1", name="s1", step_type="transform", attempt=1, parameters={}, journal=[], now="", seed="0" * 32
        )
        self._mission = gateway.desk._admission.sanitize(MISSION).plan.mission  # noqa: SLF001 - of the same mission

    async def one(self) -> None:
        """Decide once and run once."""
        asked = document.step_document(
            CALLER, "m", self._mission, self._mission.steps[0], profile="wasm", parameters={}, taint=()
        )
        await self._gateway.policy.decide("step", asked)
        await self._gateway.sandbox.run("transform", self._step, WASM)

    async def run_only(self) -> None:
        """Run every step in the sandbox, one after the other."""
        for _ in range(STEPS):
            await self._gateway.sandbox.run("transform", self._step, WASM)

    async def sequential(self) -> None:
        """One step after the other."""
        for _ in range(STEPS):
            await self.one()

    async def at_once(self) -> None:
        """As many at a time as the mission has."""

        async def caller() -> None:
            for _ in range(STEPS // AT_ONCE):
                await self.one()

        await asyncio.gather(*(caller() for _ in range(AT_ONCE)))


async def secured(gateway: Gateway, name: str) -> None:
    """Submit the mission and wait for its recorded end."""
    submission = await gateway.desk.submit(CALLER, MISSION, name)
    async for _ in gateway.desk.watch(CALLER, submission.mission_id, 2 * STEPS):  # only its end comes after those
        pass
    view = await gateway.desk.get(CALLER, submission.mission_id)
    assert view.result is not None
    assert view.result["steps_completed"] == STEPS, [
        s for s in view.result["step_results"].values() if s["status"] == "Failed"
    ]


async def main() -> None:
    logging.disable()
    with tempfile.TemporaryDirectory() as folder:
        made = make_home(Path(folder) / "home", listen="127.0.0.1:0")
        async with running_gateway(made.home, load_config(made.home)) as gateway:
            floor = Floor(gateway)
            for what, work in (
                ("floor: a bare sandbox round trip per step, one after the other", floor.run_only),
                ("floor: bare decision and sandbox round trip, one after the other", floor.sequential),
                (f"floor: bare decision and sandbox round trip, {AT_ONCE} at once", floor.at_once),
            ):
                wall, cpu = await measured(work)
                line(what, f"{1e6 / wall:,.0f} steps/s")
                line("  of that, this process's CPU", f"{cpu:.1f} µs a step")
            names = iter(range(ROUNDS))
            wall, cpu = await measured(lambda: secured(gateway, f"r{next(names)}"))
            line(f"secured steps, mission of {STEPS:,}, all layers (target 8,000)", f"{1e6 / wall:,.0f} steps/s")
            line("  the gateway's own CPU, submission and results included", f"{cpu:.1f} µs a step")


if __name__ == "__main__":
    asyncio.run(main())

"""Runs several missions side by side and follows each: MISSIONGATE_SERVER and MISSIONGATE_TOKEN say where, as whom.

Every watch goes on where it broke, whatever happens to the connection or the gateway meanwhile.
"""

import asyncio
import os
import sys
from collections.abc import Mapping
from typing import Any

from gateway.client import AsyncClient, CallOptions, MissionResult, Retry, Retrying, Server

CITIES = ("Bergen", "Molde", "Oslo")


def greeting(city: str) -> Mapping[str, Any]:
    """Return a mission as an object."""
    step = {
        "id": "greet",
        "name": f"Greet {city}",
        "step_type": "transform",
        "parameters": {"input": f"good morning, {city}", "operations": [{"op": "upper"}]},
    }
    return {"version": "1.0", "name": f"greet {city}", "steps": [step]}


async def run(client: AsyncClient, city: str) -> MissionResult:
    """Submit one mission, follow it to its end, and return its result."""
    submission = await client.submit(greeting(city))
    async for event in client.watch(submission.mission_id):
        if event.step_id:
            print(f"{city}: {event.kind}", file=sys.stderr)
    return await client.wait(submission.mission_id)


def told(retrying: Retrying) -> None:
    """Say why nothing happens."""
    print(f"{retrying.failure.code}; again in {retrying.wait_seconds:.1f} s", file=sys.stderr)


async def main() -> None:
    """Print the outputs in the order of the cities."""
    server = Server.of(os.environ.get("MISSIONGATE_SERVER", "127.0.0.1:7443"))
    options = CallOptions(retry=Retry(attempts_max=8, seconds_max=10.0), on_retry=told)
    async with AsyncClient(server, options) as client, asyncio.TaskGroup() as group:
        running = [group.create_task(run(client, city)) for city in CITIES]
    for task in running:
        print(task.result().step_results["greet"].output)


if __name__ == "__main__":
    asyncio.run(main())

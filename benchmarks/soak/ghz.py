"""A peer's client beside ours: ghz asks for a page of missions so many times a second, and says how long it waited."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.soak.world import Served

_ROOT: Final = Path(__file__).resolve().parents[2]
PROGRAM: Final = _ROOT / ".tools" / "bin" / "ghz"
RATE: Final = 50  # calls a second
_METHOD: Final = "gateway.v1.MissionService/ListMissions"
_CALLERS: Final = 20
_CONNECTIONS: Final = 4


@dataclass(frozen=True, slots=True)
class Heard:
    """What ghz reports. Times are in seconds, of the calls that were answered well."""

    statuses: Mapping[str, int]
    latencies: Mapping[int, float]  # by percentage


async def ask(served: Served, seconds: float) -> Heard | None:
    """Let ghz call for so long; None where it has not been built."""
    if not PROGRAM.exists():
        return None
    wanted = {
        "--call": _METHOD,
        "--proto": _ROOT / "proto" / "gateway" / "v1" / "mission.proto",
        "--import-paths": _ROOT / "proto",
        "--metadata": json.dumps({"authorization": f"Bearer {served.made.token}"}),
        "--data": json.dumps({"page_size": 20}),
        "--rps": RATE,
        "--concurrency": _CALLERS,
        "--connections": _CONNECTIONS,
        "--duration": f"{seconds:.0f}s",
        "--duration-stop": "wait",
        "--format": "json",
    }
    words = [word for key, value in wanted.items() for word in (key, str(value))]
    process = await asyncio.create_subprocess_exec(
        PROGRAM, "--insecure", *words, served.address, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        told, errors = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        raise RuntimeError(errors.decode())
    report = json.loads(told)
    latencies = {each["percentage"]: each["latency"] / 1e9 for each in report["latencyDistribution"] or ()}
    return Heard(report["statusCodeDistribution"], latencies)

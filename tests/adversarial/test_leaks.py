"""A worker after tens of thousands of calls, most of them hostile: as large as before, and with nothing more open."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from engine.constraints import ExecutionConstraints
from gateway.errors import SandboxError
from gateway.sandbox.artefact import Artefact
from gateway.sandbox.jail import compile_here
from gateway.sandbox.native import NativeCaller
from gateway.sandbox.pool import PRELOAD, PooledSandbox
from gateway.sandbox.port import RunGiven
from gateway.sandbox.public import PublicCaller
from gateway.sandbox.runtime import Runtime
from gateway.workers.supervisor import Zygote
from tests.adversarial.hostile_modules import MEMORY_BOMB, OUTPUT_WRAPS, START_TRAP, UNREACHABLE
from tests.adversarial.test_host_calls import FLOODS, calling
from tests.depth import times
from tests.unit.gateway.sandbox.modules import ECHO, PAGE

LIMITS = ExecutionConstraints(wall_ms_max=1_000, fuel_max=100_000, memory_bytes_max=4 * PAGE)
GIVEN = RunGiven(1_769_860_800_000_000, bytes(range(16)))
CALLS = times(24_000, 100_000)
BATCH = 200
GROWTH_BYTES_MAX = 4 * 1024 * 1024  # over all the calls: a third of a page for each of the rarest kind, in `make test`


def modules() -> Mapping[str, Artefact]:
    wasm = {
        "echo": ECHO,
        "trap": UNREACHABLE,
        "start": START_TRAP,
        "memory": MEMORY_BOMB,
        "output": OUTPUT_WRAPS,
        "clock": calling(),
        "flood": calling(FLOODS["clocks"]),
        "exit": calling("(call $proc_exit (i32.const 0)) (unreachable)"),
    }
    return {name: compile_here(module) for name, module in wasm.items()}


ENDS = {
    "echo": "returned",
    "trap": "sandbox.trap",
    "start": "sandbox.trap",
    "memory": "constraint.memory_exceeded",
    "output": "sandbox.output_invalid",
    "clock": "returned",
    "flood": "constraint.cpu_exceeded",
    "exit": "sandbox.trap",
}


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
async def zygote() -> AsyncIterator[Zygote]:
    zygote = await Zygote.start(PRELOAD)
    yield zygote
    await zygote.close()


@pytest.mark.long
async def test_a_worker_does_not_grow(zygote: Zygote) -> None:
    """The same worker serves all the calls, each kind ends as it always does, and its memory stays where it was."""
    sandbox = PooledSandbox(zygote, modules(), 1, depth=4)
    await sandbox.start()
    [pid] = sandbox.pids
    ends = Counter[tuple[str, str]]()

    async def run(name: str) -> None:
        try:
            await sandbox.run(name, b"{}", LIMITS, GIVEN)
            ends[name, "returned"] += 1
        except SandboxError as error:
            ends[name, error.code] += 1

    async def calls(count: int) -> None:
        for _ in range(count // BATCH):
            await asyncio.gather(*(run(name) for name in list(ENDS) * (BATCH // len(ENDS))))

    await calls(BATCH * 20)  # what is kept for good is there by now
    before = resident_bytes(pid)
    await calls(CALLS)
    assert resident_bytes(pid) - before < GROWTH_BYTES_MAX
    assert sandbox.pids == (pid,)
    assert ends == {(name, end): (CALLS + 20 * BATCH) // len(ENDS) for name, end in ENDS.items()}
    await sandbox.close()


@pytest.mark.parametrize("caller", [NativeCaller, PublicCaller])
def test_runs_leave_nothing_open(caller: type[NativeCaller | PublicCaller]) -> None:
    """Descriptors and threads of the process are as many after a thousand runs of each kind as before."""
    runtime = Runtime({name: artefact.code for name, artefact in modules().items()}, caller=caller)

    def runs(count: int) -> None:
        ends = Counter[tuple[str, str]]()
        for name in list(ENDS) * count:
            try:
                runtime.run(name, b"{}", LIMITS, GIVEN)
                ends[name, "returned"] += 1
            except SandboxError as error:
                ends[name, error.code] += 1
        assert ends == dict.fromkeys(ENDS.items(), count)

    def held() -> tuple[int, int]:
        return len(list(Path("/proc/self/fd").iterdir())), len(list(Path("/proc/self/task").iterdir()))

    runs(20)
    before = held()
    runs(1_000 if caller is NativeCaller else 100)
    assert held() == before

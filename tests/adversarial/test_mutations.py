"""Damaged modules by the ten thousand: each is refused with a code, or is a module that runs within its limits."""

from base64 import b64decode
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson
import pytest

from engine.constraints import ExecutionConstraints
from gateway.errors import SandboxError
from gateway.sandbox.artefact import Artefact
from gateway.sandbox.calls import JAIL
from gateway.sandbox.compile import REFUSAL_CODES
from gateway.sandbox.pool import PRELOAD, PooledSandbox
from gateway.workers.limits import ResourceLimits
from gateway.workers.pool import WorkerPool
from gateway.workers.spec import WorkerSpec
from gateway.workers.supervisor import Zygote
from tests.adversarial.mutations import Bench
from tests.depth import times

SEED = 20260131
BATCH = 5_000  # a jail for each: under its ten seconds of CPU
LIMITS = ResourceLimits(address_space_bytes_max=1_500_000_000, cpu_seconds_max=10)  # those of the compiler's jail
SPEC = WorkerSpec(entry="tests.adversarial.mutations:serve", limits=LIMITS, calls=JAIL)
RUN_LIMITS = ExecutionConstraints(wall_ms_max=50, fuel_max=100_000, memory_bytes_max=4 * 1024 * 1024)
ENDS = {
    "returned",
    "sandbox.trap",
    "sandbox.output_invalid",
    "constraint.cpu_exceeded",
    "constraint.memory_exceeded",
}


@pytest.fixture
async def zygote() -> AsyncIterator[Zygote]:
    zygote = await Zygote.start(PRELOAD)
    yield zygote
    await zygote.close()


async def judged(zygote: Zygote, first: int, count: int) -> Mapping[str, Any]:
    """Put the cases to a jail of their own; one that dies of them is an error here."""
    jail = WorkerPool(zygote, SPEC, 1)
    await jail.start()
    try:
        answer: Mapping[str, Any] = orjson.loads(
            await jail.call(orjson.dumps([SEED, first, count]), deadline_ms=60_000)
        )
    finally:
        await jail.close(drain_seconds=0)
    return answer


def test_a_case_is_a_fact_of_its_seed() -> None:
    """The same bytes each time, so that a case that breaks something can be looked at."""
    first, second = Bench.of(SEED), Bench.of(SEED)
    cases = [first.damaged(case) for case in range(200)]
    assert cases == [second.damaged(case) for case in range(200)]
    assert len(set(cases)) > 190


async def run(zygote: Zygote, compiled: Mapping[str, bytes]) -> Counter[str]:
    """Run what was accepted in a worker, and count how the runs ended; the worker outlives them."""
    sandbox = PooledSandbox(zygote, {case: Artefact(code, "") for case, code in compiled.items()}, 1)
    await sandbox.start()
    ends, pids = Counter[str](), sandbox.pids
    for case in compiled:
        try:
            await sandbox.run(case, b"{}", RUN_LIMITS)
            ends["returned"] += 1
        except SandboxError as error:
            ends[error.code] += 1
    assert sandbox.pids == pids
    await sandbox.close()
    return ends


async def assert_typed_ends(zygote: Zygote, cases: int) -> None:
    counts, ends = Counter[str](), Counter[str]()
    for first in range(0, cases, BATCH):
        answer = await judged(zygote, first, min(BATCH, cases - first))
        counts.update(answer["counts"])
        ends.update(await run(zygote, {case: b64decode(code) for case, code in answer["compiled"].items()}))
    assert set(ends) <= ENDS
    assert ends.total() > cases // 200
    judgements = {*REFUSAL_CODES, "hook.magic", "accepted"}
    assert sum(counts[code] for code in judgements) == cases
    assert set(counts) <= judgements
    assert min(counts["hook.invalid"], counts["accepted"]) > cases // 10  # neither is the only thing that happens
    assert min(counts["hook.magic"], counts["hook.export_missing"]) > 0


async def test_damaged_modules_have_typed_ends(zygote: Zygote) -> None:
    """Four thousand, with the same end each in another jail: refused by name, or a module like any other."""
    await assert_typed_ends(zygote, 4_000)
    once, again = [await judged(zygote, 0, 1_000) for _ in range(2)]
    assert once == again


@pytest.mark.long
async def test_tens_of_thousands_of_damaged_modules_have_typed_ends(zygote: Zygote) -> None:
    """No jail dies, and no error comes out but those of registration and of a run."""
    await assert_typed_ends(zygote, times(20_000, 100_000))

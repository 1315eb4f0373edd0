"""Hooks that Zig, C and Go compilers made for WASI: they run, and a run is a function of what it was given."""

import asyncio
import hashlib
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import orjson
import pytest
import pytest_asyncio

from gateway.errors import SandboxError
from gateway.sandbox.artefact import Artefact
from gateway.sandbox.compile import compile_module
from gateway.sandbox.jail import compile_here
from gateway.sandbox.native import NativeCaller
from gateway.sandbox.pool import PRELOAD, PooledSandbox
from gateway.sandbox.port import RunGiven, RunReport
from gateway.sandbox.profile import profiles_from
from gateway.sandbox.public import PublicCaller
from gateway.sandbox.runtime import Runtime
from gateway.workers.supervisor import Zygote
from tests.depth import some, times
from tests.made_once import made_once
from tests.unit.gateway.sandbox.modules import module
from tests.wasi_guests import guest

WASM = profiles_from({})["wasm"]
PLENTY = replace(WASM, wall_ms_max=5_000)  # a busy machine is not what these are about
GIVEN = RunGiven(1_769_860_800_000_000, bytes(range(16)))
ON_ITS_LOOP = pytest.mark.asyncio(loop_scope="module")  # the zygote's
# Zig compiles the guest in C too, with a C library that it builds first; the SDK's tests have C in any case.
LANGUAGES = pytest.mark.parametrize(
    "language", some(["zig", pytest.param("go", marks=pytest.mark.long)], ["zig", "go", "c"])
)
DOCUMENT = b'{"abi":1}'


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the jail take its time: of Go's module a busy machine needs more than the ten seconds that there are."""
    monkeypatch.setattr("gateway.sandbox.compile.COMPILE_MS_MAX", 100_000)


async def artefact(language: str, zygote: Zygote) -> Artefact:
    """Return the module, compiled in the jail once a run: Go's takes four seconds."""
    loop = asyncio.get_running_loop()
    wasm = await asyncio.to_thread(guest, language)

    def compiled() -> bytes:
        return asyncio.run_coroutine_threadsafe(compile_module(zygote, wasm), loop).result().code

    code = await asyncio.to_thread(made_once, f"compiled {language}", compiled)
    return Artefact(code, hashlib.sha256(wasm).hexdigest())


def outcome(report: RunReport) -> tuple[bytes, int, int, bytes]:
    """Return all of a report that has to be the same each time."""
    return report.output, report.fuel_used, report.memory_bytes, report.log


def output(report: RunReport) -> Any:
    return orjson.loads(report.output)["output"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def zygote() -> AsyncIterator[Zygote]:
    """Start one for all."""
    zygote = await Zygote.start(PRELOAD)
    yield zygote
    await zygote.close()


@LANGUAGES
@ON_ITS_LOOP
async def test_a_toolchain_s_module_runs_under_the_profile_wasm(language: str, zygote: Zygote) -> None:
    """Compiled in the jail, run in a worker within the default fuel and memory: its world is what it was given."""
    sandbox = PooledSandbox(zygote, {"m": await artefact(language, zygote)}, 1)
    await sandbox.start()
    report = await sandbox.run("m", DOCUMENT, PLENTY, GIVEN)
    await sandbox.close()
    seen = output(report)
    assert 0 <= seen["first_ns"] - GIVEN.now_us * 1000 < 100_000  # a hundred readings by its runtime at most
    assert len(seen["chance"]) == 16
    assert report.log.endswith(b"9 bytes of input\n")


@ON_ITS_LOOP
async def test_c_finds_no_world(zygote: Zygote) -> None:
    """No file, no environment; constructors have run, and both outputs are in the log."""
    report = Runtime({"m": (await artefact("c", zygote)).code}).run("m", DOCUMENT, PLENTY, GIVEN)
    seen = output(report)
    assert (seen["constructed"], seen["file"], seen["badf"], seen["home"], seen["entropy"]) == (1, -1, 1, 0, 0)
    assert seen["second_ns"] - seen["first_ns"] == 1000
    assert seen["root"] == 3.0
    assert report.log == b"to standard output 1\nto standard error, 9 bytes of input\n"


@LANGUAGES
@ON_ITS_LOOP
async def test_both_callers_give_the_same_run(language: str, zygote: Zygote) -> None:
    """Output, fuel, memory and log, whichever way the call is made, and again after other runs."""
    code = (await artefact(language, zygote)).code
    runtimes = [Runtime({"m": code}, caller=caller) for caller in (NativeCaller, PublicCaller)]
    others = [RunGiven(GIVEN.now_us + 1, GIVEN.seed), RunGiven(GIVEN.now_us, bytes(16))]
    first = outcome(runtimes[0].run("m", DOCUMENT, PLENTY, GIVEN))
    for runtime in runtimes * times(1, 2):
        different = [outcome(runtime.run("m", DOCUMENT, PLENTY, other)) for other in others]
        assert first not in different
        assert outcome(runtime.run("m", DOCUMENT, PLENTY, GIVEN)) == first


@LANGUAGES
@ON_ITS_LOOP
async def test_all_workers_give_the_same_run_also_after_a_crash(language: str, zygote: Zygote) -> None:
    """Two workers, and the one that takes the place of a killed one, agree to the byte and to the unit of fuel."""
    crashing = compile_here(module("(unreachable)"))
    sandbox = PooledSandbox(zygote, {"m": await artefact(language, zygote), "trap": crashing}, 2)
    await sandbox.start()
    outcomes = [outcome(await sandbox.run("m", DOCUMENT, PLENTY, GIVEN)) for _ in range(4)]
    with pytest.raises(SandboxError, match="trapped"):
        await sandbox.run("trap", DOCUMENT, PLENTY, GIVEN)
    for pid in sandbox.pids:
        os.kill(pid, signal.SIGKILL)
    outcomes += [outcome(await sandbox.run("m", DOCUMENT, PLENTY, GIVEN)) for _ in range(4)]
    await sandbox.close()
    assert set(outcomes) == {outcomes[0]}

"""Trust classes: whose workers a module runs in, and what becomes of workers that are replaced."""

import asyncio
from dataclasses import replace

import pytest

from engine.constraints import ExecutionConstraints
from gateway.errors import SandboxError
from gateway.sandbox.hooks import hook_of
from gateway.sandbox.port import RunGiven, RunReport
from gateway.sandbox.retiring import RetiringSandbox
from gateway.sandbox.routing import RoutedSandbox, trust_class
from gateway.sandbox.signature import BUILTIN, SITE
from tests.gateways import until
from tests.hook_folders import ACME, files_of

GIVEN = RunGiven(7, bytes(range(16)))
LIMITS = ExecutionConstraints(wall_ms_max=10, fuel_max=1_000, memory_bytes_max=65_536)


class FakePool:
    """A pool whose runs end when the test lets them."""

    def __init__(self, size: int, pools: list["FakePool"], *, held: bool) -> None:
        self.size = size
        self.state = "made"
        self.given: list[RunGiven] = []
        self.gate = asyncio.Event()
        if not held:
            self.gate.set()
        pools.append(self)

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(range(self.size)) if self.state == "started" else ()

    async def start(self) -> None:
        await asyncio.sleep(0)
        self.state = "started"

    async def close(self) -> None:
        self.state = "closing"
        await asyncio.sleep(0)
        self.state = "closed"

    async def run(self, module: str, document: bytes, constraints: ExecutionConstraints, given: RunGiven) -> RunReport:
        self.given.append(given)
        assert self.state == "started"
        await self.gate.wait()
        assert self.state == "started", "it was ended under a run"
        return RunReport(document, constraints.fuel_max, 1, len(module))


class World:
    def __init__(self, *, awake: int = 4) -> None:
        self.pools: list[FakePool] = []
        self.held = False  # whether runs in pools made from now on wait for their gate
        make = lambda size: FakePool(size, self.pools, held=self.held)  # noqa: E731
        self.sandbox = RetiringSandbox(make, 3, asyncio.Semaphore(awake))  # type: ignore[arg-type]

    async def run(self) -> bytes:
        return (await self.sandbox.run("m", b"x", LIMITS, GIVEN)).output


def test_a_module_is_addressed_by_name_and_version() -> None:
    """Two versions of one name are two modules."""
    first, second = (hook_of(files_of(version=version), publisher=SITE) for version in ("1.0.0", "1.0.1"))
    assert (first.key, second.key) == ("resize@1.0.0", "resize@1.0.1")


def test_every_owner_has_three_classes() -> None:
    """Its steps, its screens with its rewrites, and its observers; no publisher's name can be another's class."""
    classes = set()
    for publisher in (BUILTIN, SITE, ACME.name, f"{ACME.name}/screens"):
        for kind in ("step", "screen", "rewrite", "observe"):
            classes.add(trust_class(hook_of(files_of(kind=kind), publisher=publisher)))
    assert len(classes) == 12
    screening = {trust_class(hook_of(files_of(kind=kind), publisher=SITE)) for kind in ("screen", "rewrite")}
    assert screening == {f"{SITE} screens"}
    step = hook_of(files_of(), publisher="publisher:builtin")
    assert trust_class(replace(step, publisher=BUILTIN)) == f"{BUILTIN} steps"
    assert trust_class(step) == "publisher:publisher:builtin steps"


async def test_a_module_that_is_not_there_is_no_run() -> None:
    """Not even of another version of the same name."""
    world = World()
    await world.sandbox.start()
    routed = RoutedSandbox({"resize@1.0.0": world.sandbox})
    assert (await routed.run("resize@1.0.0", b"x", LIMITS, GIVEN)).output == b"x"
    assert world.pools[0].given == [GIVEN]
    for module in ("resize@1.0.1", "resize", ""):
        with pytest.raises(SandboxError) as caught:
            await routed.run(module, b"x", LIMITS)
        assert caught.value.code == "sandbox.unavailable"


async def test_retired_workers_let_their_runs_end() -> None:
    """Nothing is taken away from a run; the last one that ends takes the workers with it."""
    world = World()
    await world.sandbox.start()
    [pool] = world.pools
    pool.gate.clear()
    runs = [asyncio.create_task(world.run()) for _ in range(5)]
    await asyncio.sleep(0)
    await world.sandbox.retire()
    assert pool.state == "started"
    pool.gate.set()
    assert await asyncio.gather(*runs) == [b"x"] * 5
    assert pool.state == "closed"
    assert len(world.pools) == 1


async def test_a_retired_set_comes_back_for_the_time_of_a_run() -> None:
    """One worker, from the same machine code, and none when the run is over."""
    world = World()
    await world.sandbox.start()
    await world.sandbox.retire()
    assert world.sandbox.pids == ()
    assert await asyncio.gather(*(world.run() for _ in range(20))) == [b"x"] * 20
    assert [pool.size for pool in world.pools[1:]] == [1] * (len(world.pools) - 1)
    assert all(pool.state == "closed" for pool in world.pools)
    assert [given for pool in world.pools for given in pool.given] == [GIVEN] * 20


async def test_retired_sets_have_processes_one_after_the_other() -> None:
    """However many sets steps hold on to, so many of their runs have a process at a time."""
    world = World(awake=1)
    await world.sandbox.start()
    await world.sandbox.retire()
    seen = []

    async def watched() -> None:
        seen.append(await world.run())
        assert sum(pool.state == "started" for pool in world.pools) <= 1

    await asyncio.gather(*(watched() for _ in range(10)))
    assert len(seen) == 10


async def test_a_run_that_is_cancelled_leaves_no_worker() -> None:
    """Also where it had woken one only for itself."""
    world = World()
    await world.sandbox.start()
    await world.sandbox.retire()
    world.held = True
    run = asyncio.create_task(world.run())
    await until(lambda: len(world.pools) > 1 and world.pools[1].state == "started")
    run.cancel()
    await asyncio.wait([run])
    for _ in range(10):
        await asyncio.sleep(0)
    assert [pool.state for pool in world.pools] == ["closed", "closed"]


async def test_what_is_closed_stays_closed() -> None:
    """At the end of the gateway nothing wakes a worker any more."""
    world = World()
    await world.sandbox.start()
    await world.sandbox.close()
    await world.sandbox.close()
    with pytest.raises(SandboxError) as caught:
        await world.run()
    assert (caught.value.code, len(world.pools)) == ("sandbox.unavailable", 1)

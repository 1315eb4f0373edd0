"""What a decision costs by engine: regorus in process and in a worker, a real OPA over loopback and over a Unix socket.

Run it: `python -m benchmarks.bench_engines`
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks import opa
from benchmarks.command import main
from benchmarks.table import Row, timed_row
from benchmarks.timing import FULL, Effort, Timing, Work, in_turn_async, lap
from gateway.policy.bundle import Bundle
from gateway.policy.engine import Entrypoint, PolicyEngine
from gateway.policy.opa.engine import OpaPolicy
from gateway.policy.opa.server import OpaServer
from gateway.policy.opa.settings import OpaSettings
from gateway.policy.pool import PRELOAD, WorkerPolicy
from gateway.policy.regorus_engine import RegorusEngine
from gateway.workers.supervisor import Zygote
from tests.policy_documents import mission, step

TITLE: Final = "policy: the same decision by each engine"
POLICIES: Final = Path(__file__).resolve().parent.parent / "policies"
AT_ONCE: Final = 16
DOCUMENTS: Final[tuple[tuple[str, Entrypoint, bytes, int, str], ...]] = (
    ("a pure step", "step", step("transform", {}), 1_000, "µs"),
    ("a mission of 1,000 steps", "mission", mission(1_000), 4, "ms"),
)
IN_PROCESS, WORKER, LOOPBACK, UNIX = (
    "regorus in process",
    "regorus in a worker",
    "OPA over loopback",
    "OPA over a socket",
)


async def decide_calls(engine: PolicyEngine, entrypoint: Entrypoint, document: bytes, calls: int, callers: int) -> None:
    """Decide one document `calls` times, from so many callers at once."""

    async def caller() -> None:
        for _ in range(calls // callers):
            await engine.decide(entrypoint, document)

    await asyncio.gather(*(caller() for _ in range(callers)))


@contextmanager
def opas() -> Iterator[dict[str, OpaSettings]]:
    """Run an OPA for each kind of connection."""
    with TemporaryDirectory() as folder:
        port, path = opa.free_port(), Path(folder) / "opa.sock"
        with opa.running(POLICIES, f"127.0.0.1:{port}"), opa.running(POLICIES, f"unix://{path}"):
            yield {LOOPBACK: OpaSettings(port=port), UNIX: OpaSettings(socket=str(path))}


async def engines(stack: AsyncExitStack) -> dict[str, PolicyEngine]:
    """Start every engine that this machine has, on the bundled policies."""
    bundle = Bundle.load(POLICIES)
    zygote = await Zygote.start(PRELOAD)
    stack.push_async_callback(zygote.close)
    worker = WorkerPolicy(zygote, bundle, 1)
    stack.push_async_callback(worker.close)
    await worker.start()
    found: dict[str, PolicyEngine] = {IN_PROCESS: RegorusEngine(bundle), WORKER: worker}
    if opa.PROGRAM.is_file():
        for name, settings in stack.enter_context(opas()).items():
            server = OpaServer(settings)
            stack.push_async_callback(server.close)
            policy = OpaPolicy(bundle, server)
            await policy.start()
            found[name] = policy
    return found


async def measured(
    effort: Effort, found: dict[str, PolicyEngine], entrypoint: Entrypoint, document: bytes, calls: int, callers: int
) -> dict[str, Timing]:
    """Return what a decision takes, by engine; the engines take turns."""
    for name, engine in found.items():
        if not (await engine.decide(entrypoint, document)).allow:
            raise ValueError(f"{name} denies: a refusal is not what is measured")
    works = [
        Work(partial(decide_calls, engine, entrypoint, document, calls, callers), calls) for engine in found.values()
    ]
    return dict(zip(found, await in_turn_async(effort, *works), strict=True))


async def own_cpu(effort: Effort, engine: PolicyEngine, entrypoint: Entrypoint, document: bytes, calls: int) -> Timing:
    """Return the CPU time that a decision takes of the process that asks: a gateway has only one."""
    rounds = []
    for _ in range(effort.rounds):
        with lap() as taken:
            await decide_calls(engine, entrypoint, document, calls, 1)
        rounds.append(taken.cpu)
    return Timing.of(rounds, calls)


async def rows(effort: Effort = FULL) -> AsyncIterator[Row]:
    """Measure every figure, each beside OPA over its Unix socket."""
    async with AsyncExitStack() as stack:
        found = await engines(stack)
        for what, entrypoint, document, calls, unit in DOCUMENTS:
            for callers in (1, AT_ONCE) if calls >= AT_ONCE else (1,):
                taken = await measured(effort, found, entrypoint, document, calls, callers)
                peer = taken.get(UNIX)
                for name, timing in taken.items():
                    title = f"{what}, {name}" + (f", {callers} at once" if callers > 1 else "")
                    against = (UNIX if peer else opa.MISSING) if name != UNIX else None
                    yield timed_row(title, unit, timing, against=against, peer=peer if name != UNIX else None)
            for name, engine in found.items():
                spent = await own_cpu(effort, engine, entrypoint, document, calls)
                yield timed_row(f"{what}, {name}, our CPU", unit, spent)


if __name__ == "__main__":
    raise SystemExit(main(only="engines"))

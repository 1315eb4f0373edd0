"""What a decision of the bundled policies costs, in process and from a policy worker, beside OPA's own server.

Run it: `python -m benchmarks.bench_policy`
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

import orjson

from benchmarks import opa
from benchmarks.command import main
from benchmarks.table import Row, timed_row
from benchmarks.timing import FULL, Effort, Work, calls, in_turn, in_turn_async
from gateway.policy.bundle import Bundle, unpack
from gateway.policy.calls import WORKER
from gateway.policy.engine import Entrypoint
from gateway.policy.evaluator import Evaluator
from gateway.policy.pool import PRELOAD, WorkerPolicy
from gateway.workers.limits import ResourceLimits
from gateway.workers.pool import WorkerPool
from gateway.workers.spec import WorkerSpec
from gateway.workers.supervisor import Zygote
from tests.policy_documents import effect, mission, rpc, step

TITLE: Final = "policy: the bundled Rego"
POLICIES: Final = Path(__file__).resolve().parent.parent / "policies"
CALLS = 1_000
AT_ONCE = 16
PREPARED = 20
DECISION_TARGET_US: Final = 200
DOCUMENTS: Final[tuple[tuple[str, Entrypoint, bytes, int], ...]] = (
    ("a call", "rpc", rpc("gateway.v1.MissionService", "SubmitMission"), CALLS),
    ("a pure step", "step", step("transform", {}), CALLS),
    ("a step that writes", "step", step("create_file", {"path": "out/x", "content": "text"}), CALLS),
    (
        "an effect",
        "effect",
        effect("create_file", "file.write", {"path": "out/x", "content": "", "mode": "create"}),
        CALLS,
    ),
    ("a mission of 10 steps", "mission", mission(10), CALLS),
    ("a mission of 10,000 steps", "mission", mission(10_000), 2),
)


def evaluation_rows(evaluator: Evaluator, effort: Effort) -> Iterator[Row]:
    """Measure each entrypoint as a worker evaluates it, no other process between, beside OPA's server."""
    with ExitStack() as stack:
        server = stack.enter_context(opa.serving(POLICIES)) if opa.PROGRAM.is_file() else None
        for what, entrypoint, document, times in DOCUMENTS:
            if not orjson.loads(evaluator.evaluate(entrypoint, document)[1:])["allow"]:
                raise ValueError(f"{what} is denied: a refusal is not what is measured")
            works = [calls(partial(evaluator.evaluate, entrypoint, document), times)]
            if server is not None:
                request = opa.request(entrypoint, document)
                if not opa.allowed(server.ask(request)):
                    raise ValueError(f"OPA denies {what}")
                works.append(calls(partial(server.ask, request), times))
            ours, *peer = in_turn(effort, *works)
            yield timed_row(
                f"evaluating {what}",
                "µs" if times == CALLS else "ms",
                ours,
                against="OPA's server, over loopback" if peer else opa.MISSING,
                peer=peer[0] if peer else None,
            )


async def decide_calls(policy: WorkerPolicy, callers: int) -> None:
    """Decide the pure step from so many callers at once."""
    _, entrypoint, document, _ = DOCUMENTS[1]

    async def caller() -> None:
        for _ in range(CALLS // callers):
            await policy.decide(entrypoint, document)

    await asyncio.gather(*(caller() for _ in range(callers)))


async def echo_calls(pool: WorkerPool, callers: int) -> None:
    """Send the same document to a worker that decides nothing."""
    document = DOCUMENTS[1][2]

    async def caller() -> None:
        for _ in range(CALLS // callers):
            await pool.call(document, deadline_ms=1_000)

    await asyncio.gather(*(caller() for _ in range(callers)))


def decided(policy: WorkerPolicy, echo: WorkerPool, callers: int) -> list[Work[Awaitable[None]]]:
    """Return the works of deciding and of only sending, from so many callers at once."""
    return [Work(partial(decide_calls, policy, callers), CALLS), Work(partial(echo_calls, echo, callers), CALLS)]


async def ask_calls(server: opa.Connection) -> None:
    """Ask OPA for the same decisions, one after the other."""
    _, entrypoint, document, _ = DOCUMENTS[1]
    request = opa.request(entrypoint, document)
    for _ in range(CALLS):
        server.ask(request)


async def worker_rows(bundle: Bundle, effort: Effort) -> AsyncIterator[Row]:
    """Measure a decision as the gateway sees it, with one worker, beside OPA's server and a worker that only echoes."""
    zygote = await Zygote.start((*PRELOAD, "benchmarks.policy_echo"))
    spec = WorkerSpec(
        entry="benchmarks.policy_echo:serve", limits=ResourceLimits(address_space_bytes_max=1 << 29), calls=WORKER
    )
    policy, echo = WorkerPolicy(zygote, bundle, 1), WorkerPool(zygote, spec, 1, AT_ONCE)
    await policy.start()
    await echo.start()
    with ExitStack() as stack:
        asked = []
        if opa.PROGRAM.is_file():
            asked = [Work(partial(ask_calls, stack.enter_context(opa.serving(POLICIES))), CALLS)]
        one, bare, *peer = await in_turn_async(effort, *decided(policy, echo, 1), *asked)
    many, bare_many = await in_turn_async(effort, *decided(policy, echo, AT_ONCE))
    what, floor = "decision of a pure step by one worker", "a worker that echoes"
    against, theirs = ("OPA's server, over loopback", peer[0]) if peer else (opa.MISSING, None)
    yield timed_row(what, "µs", one, against=against, peer=theirs, target=DECISION_TARGET_US)
    yield timed_row(f"{what}, beside an echo", "µs", one, against=floor, peer=bare)
    yield timed_row(f"{what}, {AT_ONCE} at once", "µs", many, against=floor, peer=bare_many)
    await policy.close()
    await echo.close()
    await zygote.close()


def loading_rows(bundle: Bundle, effort: Effort) -> Iterator[Row]:
    """Measure what is paid once for a bundle: vetting in the gateway, preparing in each worker."""
    vetting, preparing = in_turn(
        effort,
        calls(lambda: Bundle.load(POLICIES), PREPARED),
        calls(lambda: Evaluator(*unpack(bundle.packed)), PREPARED),
    )
    yield timed_row("bundle read and vetted", "ms", vetting)
    yield timed_row("engine prepared in a worker", "ms", preparing)


async def rows(effort: Effort = FULL) -> AsyncIterator[Row]:
    """Measure every figure."""
    bundle = Bundle.load(POLICIES)
    for row in evaluation_rows(Evaluator(bundle.sources, bundle.document), effort):
        yield row
    async for row in worker_rows(bundle, effort):
        yield row
    for row in loading_rows(bundle, effort):
        yield row


if __name__ == "__main__":
    raise SystemExit(main(only="policy"))

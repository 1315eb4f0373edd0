"""What a kept answer saves, what recording a decision costs, and how fast recorded decisions are replayed.

Run it: `python -m benchmarks.bench_decisions`. It writes to the temporary directory, or to the one of TMPDIR.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson

from benchmarks.command import main
from benchmarks.table import Row, timed_row
from benchmarks.timing import FULL, Effort, Work, costs_in_turn, in_turn_async
from engine.clock import SystemClock
from gateway.decisions.opening import DecisionRecords, DecisionSettings, decision_records
from gateway.decisions.records import Filter, Records
from gateway.decisions.replay import Summary, replay
from gateway.policy.bundle import Bundle
from gateway.policy.cache import CachedPolicy
from gateway.policy.engine import Entrypoint, PolicyEngine
from gateway.policy.pool import PRELOAD, WorkerPolicy
from gateway.policy.regorus_engine import RegorusEngine
from gateway.vault.master import KEY_FILE, MasterSource, write_key
from gateway.workers.supervisor import Zygote
from tests.policy_documents import mission, rpc, step

TITLE: Final = "decisions: kept, recorded, replayed"
POLICIES: Final = Path(__file__).resolve().parent.parent / "policies"
HITS: Final = 10_000
CALLS: Final = 1_000
RECORDED: Final = 2_000
AT_ONCE: Final = 64
HIT_TARGET_US: Final = 5
ASKED: Final[tuple[tuple[str, Entrypoint, bytes], ...]] = (
    ("a call", "rpc", rpc("gateway.v1.MissionService", "SubmitMission")),
    ("a step that writes", "step", step("create_file", {"path": "out/x", "content": "text"})),
    ("a mission of 10 steps", "mission", mission(10)),
)


async def ask(policy: PolicyEngine, entrypoint: Entrypoint, document: bytes, times: int) -> None:
    """Ask for the same decision again and again."""
    for _ in range(times):
        await policy.decide(entrypoint, document)


async def cached_rows(bundle: Bundle, effort: Effort) -> AsyncIterator[Row]:
    """Measure an answer that is kept beside the one worker that would be asked."""
    zygote = await Zygote.start(PRELOAD)
    worker = WorkerPolicy(zygote, bundle, 1)
    await worker.start()
    cached = CachedPolicy(worker, entries_max=100, deterministic=True, rpc_reads=bundle.rpc_reads)
    for what, entrypoint, document in ASKED:
        await cached.decide(entrypoint, document)
        ours, theirs = await in_turn_async(
            effort,
            Work(partial(ask, cached, entrypoint, document, HITS), HITS),
            Work(partial(ask, worker, entrypoint, document, CALLS), CALLS),
        )
        target = HIT_TARGET_US if entrypoint != "mission" else None  # of that, hashing the document is most
        yield timed_row(f"a kept answer about {what}", "µs", ours, against="one worker", peer=theirs, target=target)
    whole = CachedPolicy(worker, entries_max=100, deterministic=True)
    calls = [
        rpc("gateway.v1.MissionService", "GetMission", mission_id=f"m{number}", tenant="red", submitter="ann")
        for number in range(CALLS)  # of more missions than answers are kept
    ]
    ours, theirs = await in_turn_async(
        effort, Work(partial(ask_all, cached, calls), CALLS), Work(partial(ask_all, whole, calls), CALLS)
    )
    yield timed_row("a call about another mission each time", "µs", ours, against="a key of all of it", peer=theirs)
    await worker.close()
    await zygote.close()


async def ask_all(policy: PolicyEngine, asked: Sequence[bytes]) -> None:
    """Ask about each call, one after the other."""
    for document in asked:
        await policy.decide("rpc", document)


def documents(count: int) -> list[bytes]:
    """Return the documents of so many steps, none like another, as a gateway's are."""
    return [step("create_file", {"path": f"out/{number}", "content": "text"}) for number in range(count)]


async def decide_all(policy: PolicyEngine, asked: Sequence[bytes], records: DecisionRecords | None) -> None:
    """Decide every document, so many at once, and wait until all of them are recorded."""
    waiting = iter(asked)

    async def caller() -> None:
        for document in waiting:
            await policy.decide("step", document)

    await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
    if records is not None:
        await records.recorder.settled()


def new_home(stack: AsyncExitStack) -> Path:
    """Return a home with a key."""
    home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    (home / "keys").mkdir(mode=0o700)
    write_key(home / KEY_FILE, os.urandom(32))
    return home


async def recorded_rows(bundle: Bundle, effort: Effort) -> AsyncIterator[Row]:
    """Measure what recording adds to a decision in process, by what is recorded; then replay what was."""
    engine, asked = RegorusEngine(bundle), documents(RECORDED)
    async with AsyncExitStack() as stack:
        home = new_home(stack)
        ways: dict[str, dict[str, Any]] = {
            "recorded": {},
            "recorded, and in a log file": {"log_file": home / "log.ndjson"},
        }
        for what, settings in ways.items():
            made = DecisionSettings(**settings)
            async with decision_records(
                home, made, source=MasterSource(home), audit=None, clock=SystemClock()
            ) as records:
                records.bundles.learn(bundle)
                ours, theirs = await costs_in_turn(
                    effort,
                    Work(partial(decide_all, records.around(engine), asked, records), RECORDED),
                    Work(partial(decide_all, engine, asked, None), RECORDED),
                )
            against = "not recorded"
            yield timed_row(f"a decision, {what}", "µs", ours.wall, against=against, peer=theirs.wall)
            yield timed_row(f"a decision, {what}: CPU", "µs", ours.cpu, against=against, peer=theirs.cpu)
        yield await replay_row(home, engine, effort)


async def replay_row(home: Path, engine: PolicyEngine, effort: Effort) -> Row:
    """Measure a replay of everything that is there, beside the decisions alone."""
    with Records.open(home, MasterSource(home), SystemClock()) as records:
        asked = [each.document for each in records.read(Filter()) if hasattr(each, "document")]

        async def again() -> None:
            summary = Summary()
            changes = [
                orjson.dumps(change.document_of()) async for change in replay(records.read(Filter()), engine, summary)
            ]
            if changes or summary.same != len(asked):
                raise ValueError("a replay by the same bundle changes nothing")

        works: list[Work[Awaitable[object]]] = [
            Work(again, len(asked)),
            Work(partial(decide_all, engine, asked, None), len(asked)),
        ]
        ours, theirs = await in_turn_async(effort, *works)
    return timed_row("replay of recorded decisions", "decisions/s", ours, against="deciding alone", peer=theirs)


async def rows(effort: Effort = FULL) -> AsyncIterator[Row]:
    """Measure every figure."""
    bundle = Bundle.load(POLICIES)
    async for row in cached_rows(bundle, effort):
        yield row
    async for row in recorded_rows(bundle, effort):
        yield row


if __name__ == "__main__":
    raise SystemExit(main(only="decisions"))

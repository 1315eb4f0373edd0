"""`python -m benchmarks.soak`: a thousand missions at once while workers die and rules change, and what came of it.

Nothing may be lost, nothing done twice, and memory has to stay where it is. The service at the other end counts.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.machine import Machine
from benchmarks.soak import ghz
from benchmarks.soak.chaos import Chaos
from benchmarks.soak.load import ORDERS, Callers, Seen
from benchmarks.soak.orders import Orders, taking_orders
from benchmarks.soak.overload import TIMES, Overload, Phase
from benchmarks.soak.world import make_world, served
from engine.audit.verify import VerificationReport, verify_log
from gateway.folders import AUDIT_FOLDER

RECOVERED_SECONDS_MAX: Final = 0.5  # after which nobody may be turned away, once the overload is over
GROWTH_MAX: Final = 1.10  # of memory, from the second quarter of the time to the last
_MEBIBYTE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How much, and for how long."""

    seconds: float
    missions: int
    kill_seconds: float = 2.0
    swap_seconds: float = 10.0
    publish_seconds: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it."""

    seen: Seen
    heard: ghz.Heard | None  # by a client that is not ours
    orders: Orders
    done: dict[str, int]
    resident_bytes: Sequence[int]
    log: VerificationReport
    seconds: float

    def wrong(self) -> list[str]:
        """Return what must not be; nothing, if all is well."""
        seen, orders = self.seen, self.orders
        found = [f"{count} missions ended {outcome}" for outcome, count in seen.ended.items() if outcome != "success"]
        if lost := len(seen.acknowledged) - seen.ended.total():
            found.append(f"{lost} missions were acknowledged, and their end was never told")
        if orders.repeated:
            found.append(f"{orders.repeated} orders were placed twice under one idempotency key")
        wanted = {f"{name}/{step}" for name in seen.acknowledged for step in ("first", "last")}
        if wanted - set(orders.of):
            found.append(f"{len(wanted - set(orders.of))} orders were never placed")
        if surplus := [name for name, count in orders.of.items() if count > 1 or name not in wanted]:
            found.append(f"{len(surplus)} orders were placed more than once, or by nobody")
        if self.heard is not None and (odd := set(self.heard.statuses) - {"OK", "ResourceExhausted"}):
            found.append(f"ghz heard {', '.join(sorted(odd))}")
        if not self.log.ok:
            found.append(f"the log does not verify: {self.log.message}")
        if (growth := self.growth()) is not None and growth > GROWTH_MAX:
            found.append(f"memory grew by {growth - 1:.0%} from the second quarter to the last")
        return found

    def growth(self) -> float | None:
        """Return memory in the last quarter over that in the second; None where there are too few samples."""
        quarter = len(self.resident_bytes) // 4
        if quarter < 5:
            return None
        second = statistics.median(self.resident_bytes[quarter : 2 * quarter])
        return statistics.median(self.resident_bytes[-quarter:]) / second


async def soak(folder: Path, asked: Asked) -> Outcome:
    """Run it, and wait until every mission has ended."""
    async with taking_orders() as (port, orders):
        made = make_world(folder, port, missions=2 * asked.missions)
        async with served(made) as gateway:
            chaos, callers = Chaos(gateway), Callers(gateway, port)
            await chaos.prepare()
            tasks = chaos.begin(
                kill_seconds=asked.kill_seconds,
                swap_seconds=asked.swap_seconds,
                publish_seconds=asked.publish_seconds,
            )
            began = perf_counter()
            running = asyncio.create_task(callers.run(asked.missions, began + asked.seconds))
            asking = asyncio.create_task(ghz.ask(gateway, asked.seconds))
            try:
                heard = await _until(running, asking, tasks)
            finally:
                background = (running, asking, *tasks)
                for task in background:
                    task.cancel()
                await asyncio.gather(*background, return_exceptions=True)
                await callers.close()
                await chaos.close()
            seconds = perf_counter() - began
        log = await asyncio.to_thread(verify_log, made.home / AUDIT_FOLDER, made.verifier_key)
        return Outcome(
            seen=callers.seen,
            heard=heard,
            orders=orders,
            done=dict(chaos.done),
            resident_bytes=tuple(chaos.resident_bytes),
            log=log,
            seconds=seconds,
        )


async def _until(
    running: asyncio.Task[None], asking: asyncio.Task[ghz.Heard | None], chaos: Sequence[asyncio.Task[None]]
) -> ghz.Heard | None:
    """Return what ghz has heard, once all callers are done; what goes wrong beside them is heard at once."""
    left: set[asyncio.Task[Any]] = {running, asking}
    while left:
        done, _ = await asyncio.wait([*left, *chaos], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()  # chaos ends only where something is wrong
        left -= done
    return asking.result()


def show(console: Console, outcome: Outcome) -> None:
    """Print what happened, and whether it was right."""
    seen = outcome.seen
    table = Table(box=None, show_header=False, pad_edge=False)
    missions = seen.ended.total()
    table.add_row("missions", f"{missions:,}", f"{missions / outcome.seconds:,.0f} a second, two orders each")
    table.add_row("of them at once", f"{seen.most_under_way:,}", "at most")
    for what, seconds in (("submitting", seen.submitting), ("from there to the end", seen.ending)):
        table.add_row(what, f"{_percentile(seconds, 50):,.0f} ms", f"p99 {_percentile(seconds, 99):,.0f} ms")
    if (heard := outcome.heard) is not None:
        statuses = ", ".join(f"{number:,} {status}" for status, number in heard.statuses.items())
        median, late = (f"{1e3 * heard.latencies.get(which, 0.0):,.0f} ms" for which in (50, 99))
        times = median, f"p99 {late}; {statuses}"
        table.add_row(f"ghz, {ghz.RATE} pages a second", *times)
    else:
        table.add_row("ghz", "not there", "tools/install_grpc_client.sh ghz builds it")
    for what, number in outcome.done.items():
        table.add_row(what, f"{number:,}", "")
    for status, number in seen.tried_again.items():
        table.add_row("asked to come again", f"{number:,}", status)
    if outcome.resident_bytes:
        growth = outcome.growth()
        told = "" if growth is None else f"{growth - 1:+.1%} from the second quarter to the last"
        table.add_row("memory of the gateway", f"{outcome.resident_bytes[-1] / _MEBIBYTE:,.0f} MiB", told)
    table.add_row("events in the log", f"{outcome.log.events:,}", outcome.log.message)
    console.print(table)
    console.print()
    for sentence in outcome.wrong():
        console.print(f"✗ {sentence}", style="bold red")
    if not outcome.wrong():
        console.print(f"✓ nothing lost, nothing done twice: {ORDERS * missions:,} orders", style="green")


async def overload(folder: Path, seconds: float) -> list[tuple[str, Phase]]:
    """Ask for four times what the gateway can do, and for half of it right after that."""
    made = make_world(folder, port=1, missions=100_000)
    async with served(made) as gateway:
        calls = Overload(gateway)
        try:
            strangers = await calls.strangers(seconds)
            capacity = await calls.capacity(seconds)
            over = await calls.at_rate(TIMES * capacity.rate, seconds)
            after = await calls.at_rate(capacity.rate / 2, seconds)
        finally:
            await calls.close()
    log = await asyncio.to_thread(verify_log, made.home / AUDIT_FOLDER, made.verifier_key)
    if not log.ok:
        raise RuntimeError(log.message)
    return [
        ("nobody's, one after the other", strangers),
        ("as much as it can", capacity),
        (f"{TIMES} times as much", over),
        ("half as much, right after", after),
    ]


def show_overload(console: Console, phases: Sequence[tuple[str, Phase]]) -> bool:
    """Print what became of the calls; return whether that is as it should be."""
    columns = ("", "begun/s", "CPU ms", "admitted/s", "p50 ms", "p99 ms", "refused in p50 ms", "p99 ms", "answers")
    table = Table(*columns, box=None, pad_edge=False)
    for name, phase in phases:
        table.add_row(
            name,
            f"{phase.begun / phase.seconds:,.0f}",
            f"{1e3 * phase.cpu_seconds / phase.begun:.2f}",
            f"{phase.rate:,.0f}",
            f"{_percentile(phase.latencies, 50):,.0f}",
            f"{_percentile(phase.latencies, 99):,.0f}",
            f"{_percentile(phase.refusals, 50):,.0f}" if phase.refusals else "",
            f"{_percentile(phase.refusals, 99):,.0f}" if phase.refusals else "",
            ", ".join(f"{number:,} {status}" for status, number in phase.statuses.most_common()),
        )
    console.print(table)
    (_, over), (_, after) = phases[-2:]
    wrong = [status for status in over.statuses if status not in {"OK", "RESOURCE_EXHAUSTED"}]
    good = not wrong and over.statuses["RESOURCE_EXHAUSTED"] > 0 and after.last_refusal < RECOVERED_SECONDS_MAX
    last = f"nobody is turned away {1e3 * after.last_refusal:,.0f} ms after the overload"
    console.print(f"✓ it sheds, and {last}" if good else "✗ it does not shed as it should", style="bold")
    return good


def _percentile(seconds: Sequence[float], which: int) -> float:
    """Return a percentile in milliseconds."""
    if not seconds:
        return 0.0
    ordered = sorted(seconds)
    return 1_000 * ordered[min(len(ordered) - 1, len(ordered) * which // 100)]


def main() -> int:
    """Ask the command line how long, and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="how long missions are begun (600)")
    parser.add_argument("--missions", type=int, default=1_000, help="how many at once (1000)")
    parser.add_argument("--overload", action="store_true", help="ask for four times what it can do, instead")
    asked = parser.parse_args()
    console = Console()
    if asked.overload:
        console.print(f"{Machine.here()}\nfour phases of {asked.seconds:g} s\n", style="dim")
        with tempfile.TemporaryDirectory() as folder:
            phases = asyncio.run(overload(Path(folder), asked.seconds))
        return 0 if show_overload(console, phases) else 1
    console.print(f"{Machine.here()}\n{asked.missions:,} missions at once for {asked.seconds:g} s\n", style="dim")
    with tempfile.TemporaryDirectory() as folder:
        outcome = asyncio.run(soak(Path(folder), Asked(seconds=asked.seconds, missions=asked.missions)))
    show(console, outcome)
    return 1 if outcome.wrong() else 0


if __name__ == "__main__":
    sys.exit(main())

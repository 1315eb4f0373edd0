"""`python -m benchmarks`: measures every section in a process of its own, and prints one table as they arrive.

A process each, because a heap that one benchmark left behind would slow the next, and a crash of one must not hide the
others.
"""

import argparse
import asyncio
import logging
import multiprocessing
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib import import_module
from pathlib import Path
from typing import Final, Protocol, cast

from rich.console import Console
from rich.text import Text

from benchmarks.machine import Machine
from benchmarks.saved import Saved, SavedFiguresError, load, save
from benchmarks.table import Row, Section, section_table, verdict, width_of
from benchmarks.timing import EFFORTS, FULL, QUICK, Effort

SECTIONS: Final = (
    "gateway",
    "start",
    "scheduling",
    "concurrency",
    "memory",
    "peers",
    "graph",
    "sanitizer",
    "policy",
    "sandbox",
    "effects",
    "store",
    "audit",
    "step_fuel",
)
"""In the order of the table; `benchmarks.bench_<name>` measures each."""

_EXIT_FAILED: Final = 1
_EXIT_USAGE: Final = 2


class Bench(Protocol):
    """What a bench module exposes."""

    TITLE: str

    def rows(self, effort: Effort) -> Iterator[Row] | AsyncIterator[Row]:
        """Measure, and yield each figure."""


def bench(name: str) -> Bench:
    """Return the module that measures a section."""
    return cast("Bench", import_module(f"benchmarks.bench_{name}"))


def measure(name: str, effort: Effort) -> Section:
    """Measure one section, in this process."""
    module = bench(name)
    found = module.rows(effort)
    rows = tuple(found) if isinstance(found, Iterator) else asyncio.run(_all(found))
    return Section(name, module.TITLE, rows)


async def _all(rows: AsyncIterator[Row]) -> tuple[Row, ...]:
    return tuple([row async for row in rows])


def measure_apart(name: str, effort: Effort) -> Section:
    """Measure one section in a fresh process.

    Raises:
        Exception: whatever the benchmark raised, or BrokenProcessPool where it ended its process.
    """
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh, initializer=logging.disable) as process:  # workers die on purpose
        return process.submit(measure, name, effort).result()


def run(console: Console, names: Sequence[str], effort: Effort, before: Saved | None) -> tuple[list[Section], bool]:
    """Measure and print; return what was measured, and whether everything was."""
    sections: list[Section] = []
    complete = True
    for name in names:
        try:
            with console.status(f"measuring: {name}"):
                section = measure_apart(name, effort)
        except Exception as error:  # noqa: BLE001 - one benchmark that fails must not hide the others
            complete = False
            why = "its process died" if isinstance(error, BrokenProcessPool) else f"{type(error).__name__}: {error}"
            console.print(Text(f"{name}: not measured: {why}\n", style="bold red"))
            continue
        figures = None if before is None else before.figures.get(name, {})
        console.print(section_table(section, width=width_of(console), header=not sections, before=figures))
        sections.append(section)
    return sections, complete


def introduce(console: Console, machine: Machine, effort: Effort, before: Saved | None) -> None:
    """Print what the figures depend on, and how to read them."""
    lines = [
        str(machine),
        f"{effort.name} run: {effort.rounds} rounds of each figure, ours and its peer in turn",
        "ratio: ours divided by the peer's; more is better where the unit is a rate (/s), less everywhere else",
    ]
    if before is not None:
        lines.append(f"change: ours against a {before.effort} run of commit {before.commit}")
        if before.cpu != machine.cpu:
            lines.append(f"that run was on another processor, {before.cpu}: its figures do not compare")
    console.print(Text("\n".join(lines) + "\n", style="dim"), width=width_of(console))


def arguments(argv: Sequence[str] | None, only: str | None) -> argparse.Namespace:
    """Parse the command line; `only` is the section of a bench module that was started alone."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks{'' if only is None else f'.bench_{only}'}")
    if only is None:
        parser.add_argument("--only", metavar="NAMES", help=f"comma-separated, of {', '.join(SECTIONS)}")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK.rounds} rounds instead of {FULL.rounds}")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the figures as JSON")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="add a column: the change since a saved run")
    options = parser.parse_args(argv)
    chosen = [only] if only else options.only.split(",") if options.only else list(SECTIONS)
    if unknown := [name for name in chosen if name not in SECTIONS]:
        parser.error(f"no section {unknown[0]!r}; there are {', '.join(SECTIONS)}")
    options.names = [name for name in SECTIONS if name in chosen]
    return options


def main(argv: Sequence[str] | None = None, *, only: str | None = None) -> int:
    """Run the command; return its exit code: 1 where a section could not be measured; a missed target is no failure."""
    options = arguments(argv, only)
    effort = EFFORTS["quick" if options.quick else "full"]
    console, machine = Console(highlight=False, soft_wrap=True), Machine.here()
    try:
        before = load(options.compare) if options.compare else None
    except SavedFiguresError as error:
        print(error, file=sys.stderr)
        return _EXIT_USAGE
    introduce(console, machine, effort, before)
    began = time.perf_counter()
    sections, complete = run(console, options.names, effort, before)
    console.print()
    console.print(verdict(sections), width=width_of(console))
    console.print(Text(f"{time.perf_counter() - began:.0f} s in all", style="dim"))
    if options.save:
        save(options.save, machine, effort, sections)
    return 0 if complete else _EXIT_FAILED

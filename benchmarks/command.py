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
from benchmarks.saved import Kept, Saved, SavedFiguresError, load, save
from benchmarks.table import REGRESSION, Row, Section, comparison, regressions, section_table, verdict, width_of
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
    "engines",
    "decisions",
    "bundles",
    "sandbox",
    "boundary",
    "hooks",
    "constraints",
    "telemetry",
    "streams",
    "effects",
    "store",
    "audit",
    "audit_index",
    "step_fuel",
)
"""In the order of the table; `benchmarks.bench_<name>` measures each."""

_EXIT_FAILED: Final = 1
_EXIT_USAGE: Final = 2
_EXIT_WORSE: Final = 3


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


def run(
    console: Console, names: Sequence[str], effort: Effort, before: Saved | None, regression: float
) -> tuple[list[Section], bool]:
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
        figures = None if before is None else before.sections.get(name, {})
        width, header = width_of(console), not sections
        console.print(section_table(section, width=width, header=header, before=figures, regression=regression))
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
        lines.append(
            f"change: ours against a {before.effort.name} run of commit {before.machine.commit}; ! marks what is worse"
        )
        if before.machine.cpu != machine.cpu:
            lines.append(f"that run was on another processor, {before.machine.cpu}: its figures do not compare")
    console.print(Text("\n".join(lines) + "\n", style="dim"), width=width_of(console))


def arguments(argv: Sequence[str] | None, only: str | None) -> argparse.Namespace:
    """Parse the command line; `only` is the section of a bench module that was started alone."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks{'' if only is None else f'.bench_{only}'}")
    if only is None:
        parser.add_argument("--only", metavar="NAMES", help=f"comma-separated, of {', '.join(SECTIONS)}")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK.rounds} rounds instead of {FULL.rounds}")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the figures as JSON")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="add a column: the change since a saved run")
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="FOLDER",
        help="compare with the run that is kept there, and keep this one if it is whole; the former stays as previous",
    )
    parser.add_argument(
        "--fail-on-regression",
        type=_share,
        metavar="PERCENT",
        help=f"exit with {_EXIT_WORSE} where a figure is so much worse than in the run compared with",
    )
    options = parser.parse_args(argv)
    chosen = [only] if only else options.only.split(",") if options.only else list(SECTIONS)
    if unknown := [name for name in chosen if name not in SECTIONS]:
        parser.error(f"no section {unknown[0]!r}; there are {', '.join(SECTIONS)}")
    options.names = [name for name in SECTIONS if name in chosen]
    return options


def _share(percent: str) -> float:
    share = float(percent) / 100
    if not share > 0:
        raise ValueError("not above zero")
    return share


def main(argv: Sequence[str] | None = None, *, only: str | None = None) -> int:
    """Run the command; return its exit code.

    1 where a section could not be measured, 3 where `--fail-on-regression` found one; a missed target is no failure.
    """
    options = arguments(argv, only)
    effort = EFFORTS["quick" if options.quick else "full"]
    console, machine = Console(highlight=False, soft_wrap=True), Machine.here()
    kept = Kept(options.keep) if options.keep else None
    try:
        before = load(options.compare) if options.compare else kept.load() if kept else None
    except SavedFiguresError as error:
        print(error, file=sys.stderr)
        return _EXIT_USAGE
    if options.fail_on_regression and kept and before is None and kept.latest.exists():
        print(f"{kept.latest}: holds no figures of this version, so nothing can be held against it", file=sys.stderr)
        return _EXIT_USAGE
    introduce(console, machine, effort, before)
    began = time.perf_counter()
    share = options.fail_on_regression or REGRESSION
    sections, complete = run(console, options.names, effort, before, share)
    earlier = {} if before is None else before.sections
    console.print()
    console.print(verdict(sections), width=width_of(console))
    if before is not None:
        console.print(comparison(sections, earlier, share), width=width_of(console))
    console.print(Text(f"{time.perf_counter() - began:.0f} s in all", style="dim"))
    if options.save:
        save(options.save, machine, effort, sections)
    if kept and complete and options.names == list(SECTIONS):  # a part would leave the rest without a figure
        kept.save(machine, effort, sections)
    if not complete:
        return _EXIT_FAILED
    return _EXIT_WORSE if options.fail_on_regression and regressions(sections, earlier, share) else 0

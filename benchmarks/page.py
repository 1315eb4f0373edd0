"""Writes the figures of a kept run into PERFORMANCE.md, between its markers: `python -m benchmarks.page`.

`<!-- figures: NAME -->` begins the table of a section and `<!-- run -->` what the figures depend on; each ends at
`<!-- end -->`. What stands around them is written by people.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from benchmarks.saved import Kept, Saved, SavedFiguresError, load
from benchmarks.table import Row, number, target_of

_FIGURES: Final = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_RUN: Final = re.compile(r"(<!-- run -->\n).*?(<!-- end -->)", re.DOTALL)
_HEAD: Final = (
    "| what | ours, best | median | floor or peer | its best | ratio | target |\n|---|---:|---:|---|---:|---:|---:|\n"
)


def table(rows: Iterable[Row]) -> str:
    """Return the table of a section."""
    return _HEAD + "".join(f"| {' | '.join(_cells(row))} |\n" for row in rows)


def _cells(row: Row) -> list[str]:
    return [
        row.what,
        f"{number(row.ours)} {row.unit}",
        "" if row.median is None else number(row.median),
        row.peer_name or "",
        "" if row.peer is None else number(row.peer),
        "" if row.ratio is None else number(row.ratio),
        target_of(row),
    ]


def rewritten(page: str, saved: Saved) -> str:
    """Return the page with the figures of a run; a section that was not measured keeps those that it has."""

    def figures(found: re.Match[str]) -> str:
        rows = saved.sections.get(found[2])
        return found[0] if rows is None else f"{found[1]}{table(rows.values())}{found[3]}"

    run = f"{saved.machine}; {saved.effort.rounds} rounds of each figure.\n"
    return _FIGURES.sub(figures, _RUN.sub(lambda found: f"{found[1]}{run}{found[2]}", page))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page")
    parser.add_argument("figures", nargs="?", type=Path, default=Kept(Path(".bench")).latest)
    parser.add_argument("page", nargs="?", type=Path, default=Path(__file__).with_name("PERFORMANCE.md"))
    options = parser.parse_args(argv)
    try:
        saved = load(options.figures)
    except SavedFiguresError as error:
        print(error, file=sys.stderr)
        return 2
    options.page.write_text(rewritten(options.page.read_text(), saved))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

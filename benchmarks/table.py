"""The table that a person reads: each figure of ours beside its floor or peer, and its target."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from benchmarks.timing import Timing

Better = Literal["less", "more"]

WIDTH_MIN = 100
WIDTH_MAX = 160
NOTICEABLE = 0.05  # changes below are noise, even on a quiet machine
REGRESSION = 0.20  # what a run may be worse than an earlier one before it is called so


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure. `ours`, `median`, `peer` and `target` are in `unit`.

    `peer_name` without `peer` says why there is nothing to compare with.
    """

    what: str
    ours: float  # of the best round
    unit: str
    median: float | None = None  # of all rounds of ours; None where one round says it all
    peer_name: str | None = None
    peer: float | None = None  # of its best round
    better: Better = "less"
    target: float | None = None  # under it where less is better, over it where more is
    ratio_max: float | None = None  # a second target: at most so many times the peer's

    @property
    def ratio(self) -> float | None:
        """Ours divided by the peer's."""
        return self.ours / self.peer if self.peer else None

    @property
    def wins(self) -> bool | None:
        """Whether ours is better than the peer's."""
        return None if self.ratio is None else self._beats(self.ratio, 1.0)

    @property
    def met(self) -> bool | None:
        """Whether this run meets the target, or both; a multiple of a peer that was not measured is not met."""
        if self.target is None:
            return None
        within = self.ratio_max is None or (self.ratio is not None and self.ratio <= self.ratio_max)
        return within and self._beats(self.ours, self.target)

    def change(self, before: "Row") -> float:
        """Return by how much ours differs from an earlier figure: 0.1 is a tenth more."""
        return self.ours / before.ours - 1 if before.ours else 0.0

    def improves(self, before: "Row") -> bool:
        """Whether ours is better than an earlier figure."""
        return self._beats(self.ours, before.ours)

    def regresses(self, before: "Row", by: float = REGRESSION) -> bool:
        """Whether ours is worse than an earlier figure by more than a share, and the machine is not to blame.

        That is: the best round is, and the median round and the ratio to the peer where there are such. A busy machine
        strikes ours and the peer, and rarely every round.
        """
        figures = ((self.ours, before.ours), (self.median, before.median), (self.ratio, before.ratio))
        return all(self._worse(now, then) > by for now, then in figures if now is not None and then is not None)

    def _worse(self, now: float, then: float) -> float:
        more, less = (now, then) if self.better == "less" else (then, now)
        return more / less - 1 if less else 0.0

    def _beats(self, one: float, other: float) -> bool:
        return one < other if self.better == "less" else one > other


def timed_row(
    what: str,
    unit: str,
    ours: Timing,
    *,
    against: str | None = None,
    peer: Timing | None = None,
    target: float | None = None,
    ratio_max: float | None = None,
) -> Row:
    """Return the row of two timings; a unit that ends in `/s` is a rate, and more of it is better."""
    mine = ours.within(unit)
    return Row(
        what=what,
        ours=mine.best,
        unit=unit,
        median=mine.median,
        peer_name=against,
        peer=peer.within(unit).best if peer else None,
        better="more" if unit.endswith("/s") else "less",
        target=target,
        ratio_max=ratio_max,
    )


@dataclass(frozen=True, slots=True)
class Section:
    """The rows of one benchmark, under its title."""

    name: str
    title: str
    rows: tuple[Row, ...]


def number(value: float) -> str:
    """Return two or three significant digits, or all before the point, with thousands grouped."""
    size = abs(value)
    if size < 0.1:
        return f"{value:#.2g}"
    digits = 0 if size >= 100 else 1 if size >= 10 else 2
    return f"{value:,.{digits}f}"


def section_table(
    section: Section,
    *,
    width: int,
    header: bool = False,
    before: Mapping[str, Row] | None = None,
    regression: float = REGRESSION,
) -> Table:
    """Return a section's part of the table; `before` are earlier figures by `Row.what`, and adds a column."""
    table = Table(box=None, width=width, show_header=header, header_style="dim", padding=(0, 1), pad_edge=False)
    table.add_column("", ratio=6, overflow="fold")
    table.add_column("ours, best", justify="right", width=18)
    table.add_column("median", justify="right", width=9, style="dim")
    table.add_column("floor or peer", ratio=4, overflow="fold")
    table.add_column("its best", justify="right", width=11)
    table.add_column("ratio", justify="right", width=9)
    table.add_column("target", justify="right", width=14)
    if before is not None:
        table.add_column("change", justify="right", width=8)
    table.add_row()
    table.add_row(Text(section.title, style="bold"))
    for row in section.rows:
        cells = [*_figures(row), *([] if before is None else [_change(row, before.get(row.what), regression)])]
        table.add_row(*cells)
    return table


def _figures(row: Row) -> list[RenderableType]:
    return [
        Padding(row.what, (0, 0, 0, 2)),
        Text(f"{number(row.ours)} {row.unit}"),
        Text("" if row.median is None else number(row.median)),
        Text(row.peer_name or ""),
        Text("" if row.peer is None else number(row.peer)),
        Text("" if row.ratio is None else f"{number(row.ratio)} x", style="green" if row.wins else ""),
        Text(target_of(row), style="green" if row.met else "bold red"),
    ]


def target_of(row: Row) -> str:
    """Return the target, both where there are two, and a mark that says whether it is met."""
    if row.target is None:
        return ""
    bound = "<" if row.better == "less" else ">"
    ratio = "" if row.ratio_max is None else f", {row.ratio_max:g} x"
    return f"{bound} {row.target:,g}{ratio} {'✓' if row.met else '✗'}"


def _change(row: Row, before: Row | None, regression: float) -> Text:
    if before is None:
        return Text("new", style="dim")
    change = row.change(before)
    if row.regresses(before, regression):
        return Text(f"{change:+.0%} !", style="bold red")
    if abs(change) < NOTICEABLE:
        return Text(f"{change:+.0%}", style="dim")
    return Text(f"{change:+.0%}", style="green" if row.improves(before) else "red")


def verdict(sections: Sequence[Section]) -> Text:
    """Return how many targets this run met, and which it did not."""
    judged = [row for section in sections for row in section.rows if row.met is not None]
    if not judged:
        return Text("no figure here has a target", style="dim")
    missed = [row.what for row in judged if not row.met]
    text = Text(f"{len(judged) - len(missed)} of {len(judged)} targets met in this run", style="bold")
    if missed:
        text.append(f"; not met: {', '.join(missed)}", style="red")
    return text


def comparison(sections: Sequence[Section], before: Mapping[str, Mapping[str, Row]], by: float) -> Text:
    """Return which figures are worse by more than a share than they were before."""
    worse = regressions(sections, before, by)
    if not worse:
        return Text(f"no figure is more than {by:.0%} worse than in the run before", style="dim")
    these = "figures are" if len(worse) > 1 else "figure is"
    return Text(
        f"{len(worse)} {these} more than {by:.0%} worse than in the run before: {', '.join(worse)}", style="red"
    )


def regressions(sections: Sequence[Section], before: Mapping[str, Mapping[str, Row]], by: float) -> list[str]:
    """Return the figures that are worse by more than a share, by their names."""
    return [
        row.what
        for section in sections
        for row in section.rows
        if (then := before.get(section.name, {}).get(row.what)) is not None and row.regresses(then, by)
    ]


def width_of(console: Console) -> int:
    """Return the width that the table takes: the terminal's within bounds, or a fixed one in a file or pipe."""
    return max(WIDTH_MIN, min(console.width, WIDTH_MAX)) if console.is_terminal else WIDTH_MAX

"""The live table of a mission's steps: what runs, what has failed, who is waited for, and how far it is."""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from engine.clock import Clock
from engine.result import StepState
from gateway.cli.output import said, span, styled
from gateway.cli.progress import ACTIVE, WAITING, Progress, StepProgress, waited_for

REFRESHES_PER_SECOND: Final = 4
ROWS_MIN: Final = 3
KIND_FROM: Final = 96  # columns of the terminal from which on there is room for the kind
TRIES_FROM: Final = 72
BAR: Final = 20  # columns
_STEP_SHARE: Final = 0.3  # of the width, at most, for step ids
_FIXED_LINES: Final = 5  # title, head, rest, bar, and the one that the cursor is on
_ORDER: Final = tuple(
    map(
        str,
        (StepState.COMPLETED, StepState.FAILED, StepState.SKIPPED, *sorted(ACTIVE), StepState.READY, StepState.PENDING),
    )
)


class LiveTable:
    """Draws a `Progress` while events come in; rich draws it from a thread of its own."""

    def __init__(self, progress: Progress, console: Console, clock: Clock) -> None:
        self._progress = progress
        self._console = console
        self._clock = clock
        self._lock = threading.Lock()
        self._trouble = ""

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Keep the table on the terminal for the time of the block."""
        with Live(
            get_renderable=self.render,
            console=self._console,
            refresh_per_second=REFRESHES_PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        ):
            yield

    def event(self, event: Mapping[str, Any]) -> None:
        """Take in one event."""
        with self._lock:
            self._trouble = ""
            self._progress.apply(event)

    def trouble(self, text: str) -> None:
        """Show, until the next event, why there is none."""
        with self._lock:
            self._trouble = text

    def render(self) -> Group:
        """Return the table as it is now."""
        ascii_only = not self._console.encoding.lower().startswith("utf")
        with self._lock:
            lines = draw(
                self._progress, self._clock.now(), self._console.width, self._console.height, ascii_only=ascii_only
            )
            if self._trouble:
                lines.append(_cut(said(self._trouble, "yellow"), self._console.width))
        return Group(*lines)


def draw(progress: Progress, now: datetime, width: int, height: int, *, ascii_only: bool = False) -> list[Text]:
    """Return the lines of the table; none is wider than `width`, and together they fit into `height`."""
    asked = _approval_lines(progress, width)
    room = max(ROWS_MIN, height - _FIXED_LINES - len(asked))
    steps = list(progress.steps.values())
    if len(steps) > room:
        steps = _window(steps, room)
    rest = Counter(progress.counts)
    rest.subtract(step.state for step in steps)
    lines = [_title(progress, width), *_rows(steps, now, width)]
    if told := [f"{rest[state]} {state.lower()}" for state in _ORDER if rest[state] > 0]:
        lines.append(_cut(Text(f"and {', '.join(told)}", "dim"), width))
    return [*lines, _bar(progress, now, width, ascii_only=ascii_only), *asked]


def _window(steps: Sequence[StepProgress], room: int) -> list[StepProgress]:
    """Return what matters most of a mission that does not fit: what runs or waits, then what has failed."""
    active = [step for step in steps if step.state in ACTIVE]
    failed = [step for step in steps if step.state == StepState.FAILED]
    return [*active, *failed][:room]


def _title(progress: Progress, width: int) -> Text:
    line = Text.assemble(said(progress.name, "bold"), "  ", styled(progress.state))
    if progress.run > 1:
        line.append(f", run {progress.run}", "dim")
    if progress.paused:
        line.append("  paused", "yellow")
    if progress.stopping:
        line.append("  stopping", "yellow")
    if progress.waits_for:
        line.append_text(said(f"  waits for {waited_for(progress.waits_for)}", "yellow"))
    return _cut(line, width)


def _rows(steps: Sequence[StepProgress], now: datetime, width: int) -> list[Text]:
    """Return head and rows, in columns; those that a narrow terminal has no room for are left out."""
    titles = ["step", "kind", "state", "tries", "time"]
    chosen = [at for at, title in enumerate(titles) if width >= {"kind": KIND_FROM, "tries": TRIES_FROM}.get(title, 0)]
    table = [[Text(title, style="bold") for title in titles]]
    table += [
        [
            said(step.step_id),
            said(step.kind, "dim"),
            styled(step.state_at(now)),
            Text(str(step.attempts) if step.attempts else "", "yellow" if step.attempts > 1 else ""),
            Text(_took(step, now)),
        ]
        for step in steps
    ]
    widths = [max(row[at].cell_len for row in table) for at in range(len(titles))]
    widths[0] = min(widths[0], max(len(titles[0]), int(width * _STEP_SHARE)))
    lines = []
    for row, note in zip(table, [Text("note", "bold"), *(_note(step) for step in steps)], strict=True):
        line = Text("  ").join([*(_cell(row[at], widths[at], titles[at]) for at in chosen), note])
        lines.append(_cut(line, width))
    return lines


def _cell(text: Text, width: int, title: str) -> Text:
    text.truncate(width, overflow="ellipsis")
    if title in {"tries", "time"}:
        text.pad_left(width - text.cell_len)
    else:
        text.pad_right(width - text.cell_len)
    return text


def _note(step: StepProgress) -> Text:
    return said(step.note, "red" if step.state == StepState.FAILED else "dim")


def _took(step: StepProgress, now: datetime) -> str:
    if step.duration_ms is not None:
        return "" if step.began is None else span(step.duration_ms / 1e3)
    return "" if step.began is None else span(max(0.0, (now - step.began).total_seconds()))


def _bar(progress: Progress, now: datetime, width: int, *, ascii_only: bool) -> Text:
    """Return how far the mission is, in one line."""
    full, empty = ("#", "-") if ascii_only else ("━", "─")
    part = progress.steps_ended / progress.steps_total if progress.steps_total else 0.0
    filled = int(BAR * min(1.0, part))
    failed = progress.counts[StepState.FAILED]
    line = Text.assemble((full * filled, "red" if failed else "green"), (empty * (BAR - filled), "dim"))
    line.append(f"  {progress.steps_ended}/{progress.steps_total}")
    if running := sum(progress.counts[state] for state in ACTIVE - {WAITING}):
        line.append(f"  {running} running", "cyan")
    if waiting := progress.counts[WAITING]:
        line.append(f"  {waiting} waiting", "yellow")
    if failed:
        line.append(f"  {failed} failed", "red")
    if progress.began is not None:
        until = progress.last if progress.ended and progress.last else now
        line.append(f"  {span(max(0.0, (until - progress.began).total_seconds()))}", "dim")
    return _cut(line, width)


def _approval_lines(progress: Progress, width: int) -> list[Text]:
    """Return what people are asked, and the command with which they answer: it is never cut."""
    asked = [(step.step_id, details) for step, details in progress.approvals]
    if progress.approval is not None:
        asked = [("the mission", progress.approval), *asked]
    if not asked:
        return []
    if len(asked) > 1:
        what = Text(f"{len(asked)} approvals are waited for:", "yellow")
        command = f"missiongate approvals {progress.mission_id}"
    else:
        subject, details = asked[0]
        whom = f" {', '.join(roles)}" if (roles := details.get("approvers")) else ""
        what = _cut(said(f"{subject} asks{whom}: {details.get('message', '')}", "yellow"), width)
        command = f"missiongate approve {progress.mission_id}"
    return [what, said(f"  {command}", "bold")]


def _cut(line: Text, width: int) -> Text:
    line.truncate(width, overflow="ellipsis")
    line.no_wrap = True
    return line

"""The live table: what fits where, and that nothing of a mission reaches the terminal raw."""

import io
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from engine.clock import SystemClock
from gateway.cli.live import LiveTable, draw
from gateway.cli.progress import Progress
from tests.fakes import MOMENT
from tests.unit.gateway.cli.test_progress import event

ID = "0b9ad7a4-6f0e-4a53-9d3a-2f6f7a0b1c2d"
LATER = MOMENT + timedelta(seconds=75)


def progress(*ids: str, name: str = "quarterly report") -> Progress:
    steps = [{"id": each, "step_type": "create_file"} for each in ids]
    return Progress({"name": name, "mission_id": ID, "steps_total": len(ids), "mission": {"steps": steps}})


def busy(count: int) -> Progress:
    """Return a mission of many steps: most completed, some running, some failed."""
    out = progress(*(f"step-{at}" for at in range(count)))
    out.apply(event("mission.executing"))
    for at in range(count * 3 // 4):
        out.apply(event("step.executing", f"step-{at}"))
        if at % 10:
            out.apply(event("step.completed", f"step-{at}", duration_ms=5, status="Completed"))
        elif at % 20:
            failure = {"code": "step.path_closed", "message": "the path is closed"}
            out.apply(event("step.failed", f"step-{at}", duration_ms=5, status="Failed", error=failure))
    return out


def text(*args: Any, **more: Any) -> list[str]:
    return [line.plain for line in draw(*args, **more)]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("count", [3, 40, 400])
def test_the_table_fits_the_screen(width: int, count: int) -> None:
    """No line is wider, and there are not more lines than rows, at any size of mission and terminal."""
    for height in (12, 24, 60):
        lines = draw(busy(count), LATER, width, height)
        assert max(line.cell_len for line in lines) <= width
        assert len(lines) < height


def test_a_short_mission_is_shown_whole_in_its_order() -> None:
    """Every step, also pending ones."""
    mission = progress("a", "b", "c")
    mission.apply(event("step.executing", "b"))
    lines = text(mission, LATER, 80, 24)
    assert [line.split()[:2] for line in lines[2:5]] == [["a", "Pending"], ["b", "Executing"], ["c", "Pending"]]
    assert lines[4].split() == ["c", "Pending"]
    assert "0/3  1 running" in lines[-1]


def test_a_long_mission_is_a_window() -> None:
    """What runs comes first, then what has failed; all else is counted."""
    lines = text(busy(200), LATER, 80, 16)
    rows = [line.split()[1] for line in lines[2:-2]]
    assert rows == ["Executing"] * 8 + ["Failed"] * 3
    assert lines[-2] == "and 135 completed, 4 failed, 50 pending"
    assert lines[-1].endswith("142/200  8 running  7 failed  1m15s")


def test_who_waits_does_not_run() -> None:
    """The line below the table counts them apart."""
    mission = progress("a", "b", "c")
    for each in ("a", "b"):
        mission.apply(event("step.executing", each))
    mission.apply(event("step.waiting", "b", **{"for": "mission"}, mission_id="m-2"))
    assert "0/3  1 running  1 waiting" in text(mission, LATER, 80, 24)[-1]


def test_narrow_terminals_leave_columns_out() -> None:
    """The kind first, then the tries; state, time and note are always there."""
    heads = {width: text(progress("a"), LATER, width, 24)[1].split() for width in (60, 80, 120)}
    assert heads[60] == ["step", "state", "time", "note"]
    assert heads[80] == ["step", "state", "tries", "time", "note"]
    assert heads[120] == ["step", "kind", "state", "tries", "time", "note"]


def test_an_approval_comes_with_the_command_that_decides_it() -> None:
    """Whole, at 60 columns; with several, the command that lists them."""
    mission = progress("a", "b")
    asked = {"for": "approval", "approval_id": "x", "message": "Publish draft.txt? " + "Really? " * 20}
    mission.apply(event("step.waiting", "a", **asked))
    lines = text(mission, LATER, 60, 24)
    assert lines[-2].startswith("a asks: Publish draft.txt?")
    assert lines[-1] == f"  missiongate approve {ID}"
    mission.apply(event("step.waiting", "a", **asked, approvers=["lead", "board"]))
    assert text(mission, LATER, 60, 24)[-2].startswith("a asks lead, board: Publish draft.txt?")
    mission.apply(event("step.waiting", "b", **asked))
    assert text(mission, LATER, 60, 24)[-2:] == ["2 approvals are waited for:", f"  missiongate approvals {ID}"]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0 ms"), (0.25, "250 ms"), (9.96, "10.0 s"), (75, "1m15s"), (3_599, "59m59s"), (7_500, "2h05m")],
)
def test_time_is_short(seconds: float, shown: str) -> None:
    """Milliseconds, seconds, minutes, hours."""
    mission = progress("a")
    mission.apply(event("step.executing", "a"))
    assert shown in text(mission, MOMENT + timedelta(seconds=seconds), 80, 24)[2]


def test_a_clock_that_is_behind_shows_no_negative_time() -> None:
    """Of the client against the gateway."""
    mission = progress("a")
    mission.apply(event("step.executing", "a"))
    assert "0 ms" in text(mission, MOMENT - timedelta(hours=1), 80, 24)[2]


def test_flags_stand_beside_the_name() -> None:
    """Paused, waiting for its key, which run."""
    mission = progress("a")
    for each in (
        event("mission.retried"),
        event("mission.paused"),
        event("mission.waiting", **{"for": "concurrency_key"}),
    ):
        mission.apply(each)
    assert (
        text(mission, LATER, 80, 24)[0] == "quarterly report  Validated, run 2  paused  waits for its concurrency key"
    )


FOREIGN = st.text(st.characters(codec="utf-8"), max_size=30)


@given(FOREIGN, FOREIGN, FOREIGN)
def test_foreign_text_does_not_reach_the_terminal_raw(name: str, step: str, message: str) -> None:
    """Whatever a mission is called and says: only printable characters, and what rich itself adds for colours."""
    mission = progress(step or "a", name=name)
    mission.apply(event("step.waiting", step or "a", **{"for": "approval"}, message=message))
    failure = {"code": message, "message": message}
    mission.apply(event("step.failed", "other", status="Failed", duration_ms=1, error=failure))
    assert all(line.isprintable() for line in text(mission, LATER, 80, 24))


def test_names_are_no_markup() -> None:
    """A mission and a step named like a style are shown as they are named."""
    mission = progress("[red]a[/red]", name="[bold]x[/] :warning:")
    lines = text(mission, LATER, 80, 24)
    assert lines[0].startswith("[bold]x[/] :warning:")
    assert lines[2].startswith("[red]a[/red]")


def test_a_terminal_without_unicode_gets_a_bar_of_ascii() -> None:
    """So that no line is an escape."""
    bar = text(busy(40), LATER, 80, 24, ascii_only=True)[-1]
    assert bar.isascii()
    assert bar.startswith("#" * 14 + "-" * 6)


def test_the_table_is_drawn_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal: the steps are seen, the cursor comes back, and the trouble of a broken stream is told."""
    monkeypatch.setenv("TERM", "xterm")  # nothing live is drawn on a dumb one, which a build server's may be
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80, height=24, markup=False, emoji=False)
    table = LiveTable(progress("only-step"), console, SystemClock())
    with table.shown():
        table.event(event("step.executing", "only-step"))
        table.trouble("the gateway has gone")
        assert [str(line) for line in table.render().renderables][-1] == "the gateway has gone"
        table.event(event("step.completed", "only-step", status="Completed", duration_ms=1))
        assert "gone" not in str(table.render().renderables[-1])
    assert "only-step" in screen.getvalue()
    assert screen.getvalue().count("\x1b[?25l") == screen.getvalue().count("\x1b[?25h") == 1

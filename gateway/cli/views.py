"""How missions look to people."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.text import Text

from gateway.cli.output import OUT, said, steps_table, styled

WIDE: Final = 110  # columns from which on a list has room for steps and submitter


def print_missions(missions: Sequence[Mapping[str, Any]]) -> None:
    """Print a list of missions. An id is what the next command needs: it is never cut, the name is."""
    if not missions:
        OUT.print("no missions")
        return
    wide = OUT.width >= WIDE
    titles = ("mission", "state", "created", *(("steps", "submitter") if wide else ()), "name")
    rows = [[Text(title, style="bold") for title in titles]]
    for view in missions:
        cells = [said(view["mission_id"]), styled(view["state"]), said(view["created_at"][:16].replace("T", " "))]
        if wide:
            cells += [said(view["steps_total"]), said(view["submitter"])]
        rows.append([*cells, said(view["name"])])
    widths = [max(cell.cell_len for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        for cell, width in zip(row[:-1], widths, strict=False):
            cell.pad_right(width - cell.cell_len)
        line = Text("  ").join(row)
        line.truncate(OUT.width, overflow="ellipsis")
        OUT.print(line)


def print_view(view: Mapping[str, Any]) -> None:
    """Print a mission."""
    result = view["result"]
    OUT.print(Text.assemble(said(f"{view['name']}  ", "bold"), styled(view["state"])))
    OUT.print(said(f"{view['mission_id']}  {view['digest'][:19]}…  submitted by {view['submitter']}", "dim"))
    if result is None:
        OUT.print(f"{_steps(view['steps_total'])}, not ended")
        return
    OUT.print()
    OUT.print(steps_table(result["step_results"]))
    OUT.print()
    counts = ", ".join(
        f"{result[f'steps_{word}']} {word}" for word in ("completed", "failed", "skipped") if result[f"steps_{word}"]
    )
    took = f": {counts or 'no step ran'} in {result['total_duration_ms']:.0f} ms"
    OUT.print(Text.assemble(styled(result["overall_status"]), took))
    if error := result.get("error"):
        OUT.print(Text.assemble(said(error["message"], "red"), said(f"  [{error['code']}]", "dim")))


def print_event(event: Mapping[str, Any]) -> None:
    """Print one event of a mission as `time state subject`, with the reason of a failure."""
    subject, _, state = event["kind"].partition(".")
    state_text = styled(state.capitalize())
    state_text.pad_right(max(0, len("Completed") - len(state_text)))
    line = Text.assemble((event["timestamp"][11:23], "dim"), "  ", state_text, "  ")
    line.append_text(said(event["step_id"] or f"the {subject}"))
    if error := event["details"].get("error"):
        line.append_text(said(f"  {error['message']}", "red")).append_text(said(f"  [{error['code']}]", "dim"))
    OUT.print(line)


def _steps(count: int) -> str:
    return f"{count} step" if count == 1 else f"{count} steps"

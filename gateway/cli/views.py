"""How missions look to people."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.text import Text

from gateway.cli.output import OUT, counted, said, span, steps_table, styled
from gateway.cli.progress import note_of, waited_for

_IN_DOUBT: Final = "effect.in_doubt"
_PART_FAILED: Final = "effect.mission_failed"
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
        state = styled("Waiting" if view["waits_for"] else view["state"])
        cells = [said(view["mission_id"]), state, said(view["created_at"][:16].replace("T", " "))]
        if wide:
            cells += [said(view["steps_total"]), said(view["submitter"])]
        rows.append([*cells, said("(erased)" if view["erased_at"] else view["name"])])
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
    title = Text.assemble(said(f"{view['name'] or '(erased)'}  ", "bold"), styled(view["state"]))
    if view["run"] > 1:
        title.append(f", run {view['run']}", "dim")
    if view["paused"]:
        title.append("  paused", "yellow")
    if view["waits_for"]:
        title.append_text(said(f"  waits for {waited_for(view['waits_for'])}", "yellow"))
    OUT.print(title)
    OUT.print(said(f"{view['mission_id']}  {view['digest'][:19]}…  submitted by {view['submitter']}", "dim"))
    if view["parent_id"]:
        OUT.print(said(f"a part of {view['parent_id']}", "dim"))
    if labels := view["decision_labels"]:
        OUT.print(said(f"policy: {', '.join(f'{name}={text}' for name, text in sorted(labels.items()))}", "dim"))
    if view["erased_at"]:
        OUT.print(said(f"erased {view['erased_at']}: times and counts are all that is left", "yellow"))
    if result is None:
        OUT.print(f"{counted(view['steps_total'], 'step')}, not ended")
        if view["waits_for"] == "approval":
            OUT.print(said(f"→ missiongate approve {view['mission_id']}", "bold"))
        return
    if not view["erased_at"]:
        OUT.print()
        OUT.print(steps_table(result["step_results"]))
    OUT.print()
    counts = ", ".join(
        f"{result[f'steps_{word}']} {word}" for word in ("completed", "failed", "skipped") if result[f"steps_{word}"]
    )
    took = f": {counts or 'no step ran'} in {span(result['total_duration_ms'] / 1e3)}"
    OUT.print(Text.assemble(styled(result["overall_status"]), took))
    if error := result.get("error"):
        OUT.print(Text.assemble(said(error["message"], "red"), said(f"  [{error['code']}]", "dim")))
    if result["overall_status"] != "Success" and not view["erased_at"]:
        _print_next(view)


def _print_next(view: Mapping[str, Any]) -> None:
    """Say how a mission is begun anew, and that somebody has to look first where an effect is in doubt.

    A part of another mission is begun anew with it, unless somebody has to decide about the part.
    """
    mission_id, parent_id = view["mission_id"], view["parent_id"]
    errors = [step["error"] for step in view["result"]["step_results"].values() if "error" in step]
    codes = {error["code"] for error in errors}
    in_doubt = _IN_DOUBT in codes or any(error["message"].endswith(f"[{_IN_DOUBT}]") for error in errors)  # of an item
    if _PART_FAILED in codes:
        OUT.print("→ missiongate get, with the mission that the message names, shows what failed in it", style="dim")
    if in_doubt:
        OUT.print("→ whether an effect took place is not known: look first; if it may be repeated:", style="yellow")
        OUT.print(said(f"  missiongate retry {mission_id} --repeat-in-doubt"))
    elif not parent_id:
        OUT.print(said(f"→ to begin it anew: missiongate retry {mission_id}", "dim"))
    if in_doubt and parent_id:
        OUT.print(said(f"→ and then that of which it is a part: missiongate retry {parent_id}", "dim"))


def print_event(event: Mapping[str, Any], mission_id: str) -> None:
    """Print one event of a mission as `time state subject`, with what it has to say."""
    subject, _, state = event["kind"].partition(".")
    state_text = styled(state.replace("_", " ").capitalize())
    state_text.pad_right(max(0, len("Completed") - len(state_text)))
    line = Text.assemble((event["timestamp"][11:23], "dim"), "  ", state_text, "  ")
    line.append_text(said(event["step_id"] or f"the {subject}"))
    if note := note_of(event):
        line.append_text(said(f"  {note}", "red" if state == "failed" else "dim"))
    OUT.print(line)
    if event["kind"] in {"step.waiting", "mission.waiting"} and event["details"].get("for") == "approval":
        approval_id = event["details"].get("approval_id", "")
        OUT.print(said(f"              missiongate approve {mission_id} {approval_id}", "bold"))

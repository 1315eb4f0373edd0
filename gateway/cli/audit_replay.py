"""audit replay: a recorded mission is run again from its records, and every digest compared with the signed log."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from engine.errors import EngineError
from gateway.cli.audit import print_report, report_document, verifier_key
from gateway.cli.options import (
    Connection,
    HomeOption,
    MissionArgument,
    OutputOption,
    calling,
    connected,
    default_home,
)
from gateway.cli.output import OUT, Exit, Output, counted, fail, print_json, said
from gateway.config import load_config
from gateway.errors import ConfigurationError
from gateway.folders import AUDIT_FOLDER
from gateway.replay.home import replaying
from gateway.replay.log import read_trace
from gateway.replay.outcome import Verdict
from gateway.replay.trace import MissionTrace
from gateway.signing.signers import VERIFIER_KEY_FILE
from gateway.wiring import home_files
from gateway.workers.limits import hide_memory

_MARKS: Final[Mapping[str, tuple[str, str]]] = {
    Verdict.SAME: ("✓ ", "green"),
    Verdict.DIFFERS: ("✗ ", "red"),
    Verdict.NOT_REPRODUCIBLE: ("– ", "yellow"),  # noqa: RUF001 - a dash, beside a tick and a cross
}
_DOCUMENT: Final = "(document)"  # no step id has parentheses


@connected
def replay(
    mission: MissionArgument,
    *,
    home: HomeOption = default_home(),  # noqa: B008 - typer calls it, and --help shows the answer
    key: Annotated[
        str, typer.Option(help="The log's verifier key, or a file that holds it; else the home's own copy.")
    ] = "",
    step: Annotated[list[str] | None, typer.Option(help="Only this step; may be repeated.", metavar="ID")] = None,
    gateway: Connection | None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Run a recorded mission again, step by step, and compare each digest with the log; exit 1 where one differs."""
    seen: list[Mapping[str, Any]] = []

    def show(outcome: Mapping[str, Any]) -> None:
        seen.append(outcome)
        if output is Output.TEXT:
            print_outcome(outcome)

    if gateway is not None:
        with calling(gateway, output, mission=mission) as client:
            for outcome in client.audit.replay(mission, step or []):
                show(outcome.document())
        finish(mission, seen, output)
        return
    try:
        known = verifier_key(key or str(home / VERIFIER_KEY_FILE))
        report, trace = read_trace(home / AUDIT_FOLDER, known, mission)
        if report.ok:
            asyncio.run(_replay(home, known, trace, step or [], show))
    except EngineError as error:
        fail(error, output, mission=mission)
    if not report.ok:
        if output is Output.JSON:
            print_json(report_document(report))
        else:
            print_report(report)
        raise typer.Exit(Exit.FAILED)
    finish(mission, seen, output)


async def _replay(
    home: Path, key: str, trace: MissionTrace, steps: list[str], show: Callable[[Mapping[str, Any]], None]
) -> None:
    try:
        hide_memory()  # the key of the secrets' handles is in it
    except OSError as error:
        raise ConfigurationError(f"the kernel refuses: {error.strerror}", code="config.kernel") from error
    config = load_config(home)
    files = home_files(home, key, config.secrets.source(home))
    async with replaying(files, without=config.workers.accept_without) as replayer:
        async for outcome in replayer.replay(trace, steps):
            show(outcome.document())


def print_outcome(outcome: Mapping[str, Any]) -> None:
    """Print one step for people: a line, and on a difference what was compared."""
    mark, style = _MARKS[outcome["verdict"]]
    line = Text.assemble((mark, style), said(outcome["step_id"] or _DOCUMENT, "bold"))
    if outcome["item"] is not None:
        line.append_text(said(f"[{outcome['item']}]", "bold"))
    if outcome["reason"]:
        line.append_text(said(f"  {outcome['reason']}", style))
    if outcome["message"]:
        line.append_text(said(f"  {outcome['message']}"))
    if outcome["verdict"] == Verdict.SAME and outcome["rounds"]:
        line.append_text(said(f"  {counted(outcome['rounds'], 'run')}", "dim"))
    OUT.print(line)
    for name in ("recorded", "replayed"):
        if outcome[name]:
            OUT.print(Text.assemble((f"    {name}  ", "dim"), said(outcome[name])))


def finish(mission: str, seen: list[Mapping[str, Any]], output: Output) -> None:
    """Print the summary, or everything as JSON, and leave with 1 where anything differs."""
    counts = Counter(outcome["verdict"] for outcome in seen)
    same, differs, rest = (counts[verdict] for verdict in Verdict)
    if output is Output.JSON:
        print_json({"mission_id": mission, "same": same, "differs": differs, "not_reproducible": rest, "steps": seen})
    else:
        parts = [f"{same} the same", f"{differs} different", f"{rest} not reproducible"]
        mark, style = _MARKS[Verdict.DIFFERS if differs else Verdict.SAME if same else Verdict.NOT_REPRODUCIBLE]
        steps = sum(1 for outcome in seen if outcome["step_id"])
        OUT.print(Text.assemble((mark, style), said(f"{counted(steps, 'step')}: {', '.join(parts)}")))
    if differs:
        raise typer.Exit(Exit.FAILED)

"""doctor: look at kernel, engines, keys, disk, clock and configuration, and say what to do about what is not right."""

import asyncio
from pathlib import Path
from typing import Final

import typer
from rich.text import Text

from engine.clock import SystemClock
from gateway.cli.config import telling_all
from gateway.cli.options import HomeOption, OutputOption, default_home
from gateway.cli.output import OUT, Exit, Output, print_json, said
from gateway.config import Config, load_config
from gateway.doctor.check import Check, State
from gateway.doctor.examination import examine
from gateway.workers.limits import hide_memory

_SIGNS: Final = {State.OK: ("✓ ", "green"), State.WARN: ("! ", "yellow"), State.FAIL: ("✗ ", "red")}


def doctor(
    *,
    home: HomeOption = default_home(),  # noqa: B008 - typer calls it, and --help shows the answer
    output: OutputOption = Output.TEXT,
) -> None:
    """Look at everything that a gateway needs; also beside one that runs. Exit 1 where something fails."""
    with telling_all(output):
        config = load_config(home)
    hide_memory()  # keys are opened
    found = asyncio.run(_examined(home, config, output))
    if output is Output.JSON:
        rows = [{"code": c.code, "state": str(c.state), "message": c.message, "advice": c.advice} for c in found]
        print_json({"ok": not _failures(found), "checks": rows})
    elif not _failures(found):
        OUT.print(said("nothing stands against a start", "dim"))
    if _failures(found):
        raise typer.Exit(Exit.FAILED)


async def _examined(home: Path, config: Config, output: Output) -> list[Check]:
    found = []
    async for check in examine(home, config, SystemClock()):
        found.append(check)
        if output is Output.TEXT:
            _print(check)
    return found


def _print(check: Check) -> None:
    OUT.print(Text.assemble(_SIGNS[check.state], said(check.message), said(f"  [{check.code}]", "dim")))
    if check.advice:
        OUT.print(said(f"  → {check.advice}", "dim"))


def _failures(found: list[Check]) -> list[Check]:
    return [check for check in found if check.state is State.FAIL]

"""demo: shows a newcomer, in half a minute, what the gateway does and that the log proves it."""

import asyncio
import logging
import tempfile
from pathlib import Path

import typer
from rich.rule import Rule
from rich.text import Text

from engine.errors import EngineError
from gateway.cli.audit import print_report
from gateway.cli.output import OUT, Exit, Output, fail, fail_call, print_errors, said, steps_table, styled
from gateway.client import CallError
from gateway.demo.scenario import ACTS, Outcome, Stage, stage, verify
from gateway.workers.isolation import Isolation


def demo() -> None:
    """Start a gateway in a temporary home, run nine missions, explain what happened, verify the log."""
    logging.basicConfig(level=logging.ERROR)
    try:
        with tempfile.TemporaryDirectory(prefix="missiongate-demo-") as folder:
            surprises = asyncio.run(_demo(Path(folder)))
    except CallError as error:
        fail_call(error, Output.TEXT)
    except EngineError as error:
        fail(error, Output.TEXT)
    if surprises:
        OUT.print(Text.assemble(("✗ ", "red"), f"not as expected: {', '.join(surprises)}"))
        raise typer.Exit(Exit.FAILED)


async def _demo(folder: Path) -> list[str]:
    """Play every act and return the names of those that did not end as they must."""
    surprises = []
    async with stage(folder) as running:
        _introduce(running)
        for number, act in enumerate(ACTS, start=1):
            outcome = await running.play(act)
            _show(number, outcome)
            if not outcome.as_expected:
                surprises.append(act.file)
        home = running.home
    OUT.print(Rule("The audit log", align="left", style="dim"))
    _say("Every verdict, effect and outcome above is one event of a hash chain under signed checkpoints.")
    _say("Verified offline, by code that shares nothing with the writer:\n")
    report = verify(home)
    print_report(report)
    if not report.ok:
        surprises.append("the audit log")
    _say("\nNext: missiongate init, missiongate serve, missiongate submit; docs/architecture.md tells the rest.")
    return surprises


def _introduce(running: Stage) -> None:
    OUT.print(Text.assemble(("Missiongate", "bold"), (f"  serving on {running.gateway.address}", "dim")))
    _say(
        "Every step is sanitized, decided by Rego, run in a WebAssembly sandbox and recorded. "
        "Modules cannot touch anything: they ask for effects, which are checked, decided, recorded, then performed."
    )
    _say(_held_by(running.gateway.isolation) + "\n")


def _held_by(isolation: Isolation) -> str:
    """Say in one line what binds the workers here."""
    lacking = " and ".join(isolation.missing)
    lack = (
        f" This kernel lacks {lacking}: serve refuses that unless workers.accept_without names it." if lacking else ""
    )
    return f"Workers are held by {', '.join(isolation.in_force)}.{lack}"


def _show(number: int, outcome: Outcome) -> None:
    OUT.print(Rule(f"{number}  {outcome.name}", align="left", style="dim"))
    _say(outcome.act.shows + "\n")
    if outcome.step_results:
        OUT.print(steps_table(outcome.step_results))
    print_errors(outcome.refusals, outcome.act.file, console=OUT)
    for name, text in outcome.files:
        OUT.print(Text.assemble(said(f"  {name}: ", "dim"), said(text.strip())))
    verdict = Text.assemble("→ ", styled(outcome.status))
    if outcome.as_expected and outcome.status != "Success":
        verdict.append(", as it must", style="dim")
    OUT.print(verdict)
    OUT.print()


def _say(prose: str) -> None:
    """Print prose, wrapped between words."""
    OUT.print(prose, soft_wrap=False)

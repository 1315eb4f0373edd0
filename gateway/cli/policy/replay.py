"""policy replay: what a candidate bundle would decide otherwise of everything that this home's gateway has decided."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from engine.clock import SystemClock, rfc3339
from engine.errors import EngineError
from gateway.cli.options import HomeOption, OutputOption, default_home
from gateway.cli.output import OUT, Exit, Output, counted, fail, print_json, said
from gateway.cli.policy.bundles import load_bundle, made, quiet_workers
from gateway.cli.times import moment_of
from gateway.config import Config, load_config
from gateway.decisions.records import Filter, Records
from gateway.decisions.replay import CHANGES, Change, ChangeKind, Summary
from gateway.decisions.replay import replay as replay_records
from gateway.errors import ConfigurationError
from gateway.policy.bundle import Bundle
from gateway.policy.decision import Decision
from gateway.policy.engine import ENTRYPOINTS, Entrypoint
from gateway.policy.pool import PRELOAD, WorkerPolicy
from gateway.workers.limits import hide_memory
from gateway.workers.supervisor import Zygote

_LOOKS: Final[Mapping[ChangeKind, tuple[str, str]]] = {
    ChangeKind.DENIED: ("✗ allowed → denied", "red"),
    ChangeKind.ALLOWED: ("✓ denied → allowed", "yellow"),
    ChangeKind.OBLIGATIONS: ("• other obligations", "cyan"),
    ChangeKind.REASONS: ("• other reasons", "dim"),
    ChangeKind.NOT_COMPARABLE: ("– not comparable", "dim"),  # noqa: RUF001 - a dash, beside a tick and a cross
    ChangeKind.UNREADABLE: ("! unreadable", "red"),
}
_SAID: Final[Mapping[ChangeKind, str]] = {
    ChangeKind.DENIED: "denied",
    ChangeKind.ALLOWED: "allowed",
    ChangeKind.OBLIGATIONS: "allowed with other obligations",
    ChangeKind.REASONS: "decided for other reasons",
}
_CODES_SHOWN: Final = 10


def replay(
    candidate: Annotated[
        Path, typer.Argument(help="The bundle to try: a folder or a .tar.gz.", metavar="CANDIDATE", show_default=False)
    ],
    *,
    home: HomeOption = default_home(),  # noqa: B008 - typer calls it, and --help shows the answer
    since: Annotated[
        str, typer.Option(help="Only decisions from then on: 7d, 12h, 30m, or 2026-01-31T12:00:00Z.", metavar="TIME")
    ] = "",
    entrypoint: Annotated[str, typer.Option(help=f"Only of one: {', '.join(ENTRYPOINTS)}.")] = "",
    mission: Annotated[str, typer.Option(help="Only of one mission.", metavar="ID")] = "",
    output: OutputOption = Output.TEXT,
) -> None:
    """Ask a candidate bundle about every recorded decision, and list each that would change; exit 1 if one would.

    What can no longer be opened is listed as well, and is exit 1: nobody knows what would become of it.
    """
    wanted = made(output, lambda: _filter(since, entrypoint, mission))
    bundle = made(output, lambda: load_bundle(candidate))
    quiet_workers()
    seen: list[Change] = []
    codes: Counter[str] = Counter()

    def show(change: Change) -> None:
        if output is Output.JSON:
            seen.append(change)
        else:
            print_change(change)
        if change.kind is ChangeKind.DENIED and change.after is not None:
            codes.update({reason.code for reason in change.after.reasons})

    try:
        summary = asyncio.run(_replay(home, load_config(home), bundle, wanted, show))
    except EngineError as error:
        fail(error, output)
    if output is Output.JSON:
        changes = [change.document_of() for change in seen]
        print_json({"candidate": bundle.digest, "revision": bundle.revision, **summary.document(), "changes": changes})
    else:
        print_summary(summary, codes)
    if not summary.clean:
        raise typer.Exit(Exit.FAILED)


async def _replay(
    home: Path, config: Config, bundle: Bundle, wanted: Filter, show: Callable[[Change], None]
) -> Summary:
    """Decide anew in a worker, as a gateway would: within its deadlines."""
    try:
        hide_memory()
    except OSError as error:
        raise ConfigurationError(f"the kernel refuses: {error.strerror}", code="config.kernel") from error
    summary = Summary()
    zygote = await Zygote.start(PRELOAD, without=config.workers.accept_without)
    try:
        policy = WorkerPolicy(zygote, bundle)
        try:
            await policy.start()
            with Records.open(home, config.secrets.source(home), SystemClock()) as records:
                async for change in replay_records(records.read(wanted), policy, summary):
                    show(change)
        finally:
            await policy.close()
    finally:
        await zygote.close()
    return summary


def _filter(since: str, entrypoint: str, mission: str) -> Filter:
    """Return which decisions are meant.

    Raises:
        ConfigurationError: `usage.since`, `usage.entrypoint`.
    """
    known: Entrypoint | None = next((name for name in ENTRYPOINTS if name == entrypoint), None)
    if entrypoint and known is None:
        message = f"--entrypoint: {entrypoint!r} is none of {', '.join(ENTRYPOINTS)}"
        raise ConfigurationError(message, code="usage.entrypoint")
    moment = moment_of(since, "since", SystemClock())
    return Filter(since="" if moment is None else rfc3339(moment), entrypoint=known, mission_id=mission)


def print_change(change: Change) -> None:
    """Print one for people: what, whose and when, and on a line below what was said and what would be."""
    look, style = _LOOKS[change.kind]
    OUT.print(
        Text.assemble(
            (f"{look}  ", style),
            said(change.entrypoint, "bold"),
            "  ",
            said(change.what or change.document or change.decision_id, "bold"),
            said(f"  {change.who}" if change.who else ""),
            said(f"  {change.at}", "dim"),
        )
    )
    if change.why:
        _line("why", change.why)
    before, after = _told(change)
    if before != after:
        _line("was", before)
    if after:
        _line("now", after)
    _line("id", change.decision_id)


def _told(change: Change) -> tuple[str, str]:
    """Return what was said and what would be, as far as it tells the two apart."""
    if change.before is None or change.after is None:
        return "", ""
    if change.kind is ChangeKind.OBLIGATIONS:
        return _obligations(change.before), _obligations(change.after)
    return _reasons(change.before), _reasons(change.after)


def _reasons(decision: Decision) -> str:
    return "; ".join(f"{reason.message} [{reason.code}]" for reason in decision.reasons)


def _obligations(decision: Decision) -> str:
    document: dict[str, Any] = decision.document()
    left = {name: value for name, value in document.items() if name not in {"allow", "reasons", "bundle"}}
    return ", ".join(f"{name}: {value}" for name, value in sorted(left.items())) or "none"


def _line(name: str, text: str) -> None:
    if text:
        OUT.print(Text.assemble((f"    {name:<4}", "dim"), said(text)))


def print_summary(summary: Summary, codes: Mapping[str, int]) -> None:
    """Print the counts, and which reasons would deny most."""
    parts = [f"{summary.counts[kind]} {_SAID[kind]}" for kind in CHANGES if summary.counts[kind]]
    text = f"{counted(summary.asked, 'decision')}: {summary.same} the same"
    if parts:
        text += f"; would be {', '.join(parts)}"
    if left := summary.counts[ChangeKind.NOT_COMPARABLE]:
        text += f"; {left} not comparable"
    if left := summary.counts[ChangeKind.UNREADABLE]:
        text += f"; {left} unreadable"
    mark, style = ("✓ ", "green") if summary.clean else ("✗ ", "red")
    if not summary.asked:
        mark, style, text = "– ", "yellow", "nothing is recorded of that"  # noqa: RUF001 - a dash
    OUT.print(Text.assemble((mark, style), said(text)))
    for code, count in sorted(codes.items(), key=lambda pair: (-pair[1], pair[0]))[:_CODES_SHOWN]:
        _line("", f"{counted(count, 'denial')} by {code}")

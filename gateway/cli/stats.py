"""stats and history: what missions and steps of a tenant came to, and what rules have used of their constraints."""

from enum import StrEnum
from itertools import islice
from typing import Annotated, Any, Final

import typer

from engine.clock import SystemClock
from engine.errors import EngineError
from gateway.cli.options import Connection, OutputOption, calling, connected
from gateway.cli.output import Output, fail, print_json
from gateway.cli.stats_view import print_executions, print_rules, print_summary
from gateway.cli.times import moment_of

PAGE_SIZE: Final = 200  # as many as a gateway gives

SinceOption = Annotated[str, typer.Option(help="From when: a time, or 30m, 12h, 7d ago.", metavar="WHEN")]
UntilOption = Annotated[str, typer.Option(help="Until when, likewise.", metavar="WHEN")]


class Status(StrEnum):
    """How a step may have ended."""

    COMPLETED = "Completed"
    FAILED = "Failed"
    SKIPPED = "Skipped"


@connected
def stats(
    *,
    since: SinceOption = "24h",
    until: UntilOption = "",
    interval: Annotated[int, typer.Option(help="Minutes of one bar of the trend; 0: a 24th.", min=0)] = 0,
    rules: Annotated[
        bool, typer.Option("--rules", help="What each rule has used of its constraints, since the gateway began.")
    ] = False,
    prefix: Annotated[str, typer.Option(help="With --rules: only those whose name begins so.")] = "",
    gateway: Connection,
    output: OutputOption = Output.TEXT,
) -> None:
    """Show how missions and steps did: counts, success, lengths, errors and trend."""
    clock = SystemClock()
    try:
        begin, end = moment_of(since, "since", clock), moment_of(until, "until", clock)
    except EngineError as error:
        fail(error, output)
    used: list[dict[str, Any]] = []
    summary: dict[str, Any] = {}
    with calling(gateway, output) as client:
        if rules:
            used = [rule.document() for rule in client.statistics.constraints(prefix)]
        else:
            found = client.statistics.summary(since=begin, until=end, interval_seconds=interval * 60)
            summary = found.document()
    if output is Output.JSON:
        print_json({"rules": used} if rules else summary)
    elif rules:
        print_rules(used)
    else:
        print_summary(summary)


@connected
def history(
    *,
    kind: Annotated[str, typer.Option(help="Only steps of this kind.")] = "",
    status: Annotated[Status | None, typer.Option(help="Only steps that ended so.")] = None,
    since: SinceOption = "7d",
    until: UntilOption = "",
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=10_000)] = 50,
    gateway: Connection,
    output: OutputOption = Output.TEXT,
) -> None:
    """List steps that have ended, the newest first."""
    clock = SystemClock()
    try:
        begin, end = moment_of(since, "since", clock), moment_of(until, "until", clock)
    except EngineError as error:
        fail(error, output)
    with calling(gateway, output) as client:
        steps = client.statistics.executions(
            since=begin, until=end, kind=kind, status=status.value if status else "", page_size=min(limit, PAGE_SIZE)
        )
        found = [step.document() for step in islice(steps, limit)]
    if output is Output.JSON:
        print_json({"executions": found})
    else:
        print_executions(found)

"""audit show: events of the log, filtered, and followed while it grows."""

from enum import StrEnum
from typing import Annotated, Final

import orjson
import typer

from gateway.auditing.facts import facts_of
from gateway.cli.audit_source import (
    AllChoice,
    DecisionChoice,
    DecisionIdChoice,
    LogOption,
    MissionChoice,
    PrincipalChoice,
    SinceChoice,
    TypeChoice,
    UntilChoice,
    Where,
    limited,
    query_of,
    reading,
)
from gateway.cli.audit_view import EventLines
from gateway.cli.options import Connection, HomeOption, connected, default_home
from gateway.cli.output import ERR, Output, said
from gateway.client import LoggedEvent

_OUTPUT_HELP: Final = "text for people, json for programs, lines for the log's own bytes."


class EventOutput(StrEnum):
    """The forms of events."""

    TEXT = "text"
    JSON = "json"
    LINES = "lines"


@connected
def show(
    *,
    home: HomeOption = default_home(),  # noqa: B008 - typer calls it, and --help shows the answer
    log: LogOption = None,
    gateway: Connection | None,
    mission: MissionChoice = "",
    principal: PrincipalChoice = "",
    event_type: TypeChoice = None,
    since: SinceChoice = "",
    until: UntilChoice = "",
    decision: DecisionChoice = "",
    decision_id: DecisionIdChoice = "",
    all_tenants: AllChoice = False,
    after: Annotated[int | None, typer.Option(help="Only events after this seq.", metavar="SEQ", min=-1)] = None,
    limit: Annotated[int, typer.Option(help="At most so many events; 0 is all.", min=0, max=100_000)] = 0,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is recorded from now on.")] = False,
    output: Annotated[EventOutput, typer.Option("--output", "-o", help=_OUTPUT_HELP)] = EventOutput.TEXT,
) -> None:
    """Show events of the audit log, one a line. It does not verify them: audit verify does."""
    form = Output.TEXT if output is EventOutput.TEXT else Output.JSON  # of errors
    with reading(Where(log=log, gateway=gateway, home=home), form) as source:
        query = query_of(
            mission=mission,
            principal=principal,
            types=event_type,
            since=since,
            until=until,
            decision=decision,
            decision_id=decision_id,
            whole_log=all_tenants,
        )
        printer = _Printer(output)
        for event in source.events(limited(query, limit=limit, follow=follow, after=after), _told):
            printer.print(event)


class _Printer:
    """Prints events in one form. A reader of a pipe has each at once where the log is followed."""

    def __init__(self, output: EventOutput) -> None:
        self._output = output
        self._lines = EventLines()

    def print(self, event: LoggedEvent) -> None:
        """Print one event."""
        if self._output is EventOutput.TEXT:
            self._lines.show(event.line)
            return
        write_out((event.line if self._output is EventOutput.LINES else _document(event.line)) + b"\n")


def _document(line: bytes) -> bytes:
    """Return an event for programs: what it is about, and its details."""
    facts = facts_of(line)
    decision = {True: "allow", False: "deny", None: None}[facts.allow]
    document = {
        "seq": facts.seq,
        "event_id": facts.event_id,
        "timestamp": facts.timestamp,
        "event_type": facts.event_type,
        "actor": facts.actor,
        "target": facts.target,
        "missions": facts.missions,
        "decision": decision,
        "decision_id": facts.decision_id,
        "code": facts.code,
        "details": orjson.loads(line)["details"],
    }
    return orjson.dumps(document)


def _told(text: str) -> None:
    ERR.print(said(text, "yellow"))


def write_out(content: bytes) -> None:
    """Write bytes to standard output, as they are."""
    stream = typer.get_binary_stream("stdout")
    stream.write(content)
    stream.flush()

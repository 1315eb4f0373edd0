"""Following a mission: as a live table, as lines, or as JSON; and going on where a stream breaks."""

import sys
from collections.abc import Callable, Iterator

import typer

from engine.clock import SystemClock
from gateway.cli.live import LiveTable
from gateway.cli.output import ERR, OUT, Exit, Output, exit_of_call, print_json, said
from gateway.cli.progress import Progress
from gateway.cli.views import print_event, print_view
from gateway.client import CallError, Client, MissionEvent, Retrying, UnavailableCallError

_Told = Callable[[str], None]


def follow(client: Client, mission_id: str, from_index: int, output: Output) -> None:
    """Show events until the mission has ended, then its result; leave with 1 where it did not succeed.

    A terminal gets the live table, which needs all events; from a later index on there are lines.
    """
    if output is Output.TEXT and from_index == 0 and is_live():
        last = _table(client, mission_id)
    else:
        last = _lines(client, mission_id, from_index, output)
    try:
        view = client.get(mission_id).document()
    except CallError as error:
        _stopped(last, error)
        return
    if output is Output.JSON:
        print_json(view)
    else:
        OUT.print()
        print_view(view)
    if (view["result"] or {}).get("overall_status") != "Success":
        raise typer.Exit(Exit.FAILED)


def is_live() -> bool:
    """Return whether standard output is a terminal whose cursor can be moved."""
    return sys.stdout.isatty() and not OUT.is_dumb_terminal


def _table(client: Client, mission_id: str) -> MissionEvent | None:
    table = LiveTable(Progress(client.get(mission_id, document=True).document()), OUT, SystemClock())
    last = None
    with table.shown():
        for last in events(client, mission_id, 0, told=table.trouble):
            table.event(last.document())
    return last


def _lines(client: Client, mission_id: str, from_index: int, output: Output) -> MissionEvent | None:
    last = None
    for last in events(client, mission_id, from_index, told=lambda text: ERR.print(said(text, "yellow"))):
        if output is Output.JSON:
            print_json(last.document())
        else:
            print_event(last.document(), mission_id)
    return last


def events(client: Client, mission_id: str, from_index: int, *, told: _Told) -> Iterator[MissionEvent]:
    """Yield the events of a mission from an index on, each once, until it has ended; `told` hears of each wait.

    Raises:
        CallError: the first call failed; or a later one, for another reason than that nobody answers, or often in a
            row.
    """
    index, torn = from_index, False

    def gone(retrying: Retrying) -> None:
        nonlocal torn
        torn = True
        told(f"the gateway has gone; trying again ({retrying.failures} of {retrying.failures_max})")

    try:
        for event in client.having(on_retry=gone).watch(mission_id, from_index):
            index = event.index + 1
            yield event
    except UnavailableCallError as error:
        if not torn:
            raise
        message = f"the gateway has gone; once it is back: missiongate watch {mission_id} --from-index {index}"
        raise UnavailableCallError(error.status, "watch.torn", message) from error


def _stopped(last: MissionEvent | None, error: CallError) -> None:
    """Take the end event for the result where the gateway stopped right after telling it.

    Raises:
        CallError: it is not that: the call failed for another reason, or the mission's end was not told.
    """
    if exit_of_call(error) is not Exit.UNAVAILABLE or last is None or not last.ends:
        raise error
    if last.details.get("status") != "Success":
        raise typer.Exit(Exit.FAILED)

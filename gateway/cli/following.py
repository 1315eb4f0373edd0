"""Following a mission: as a live table, as lines, or as JSON; and going on where a stream breaks."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import grpc
import typer

from engine.clock import SystemClock
from gateway.calling import CallError
from gateway.cli.live import LiveTable
from gateway.cli.output import ERR, OUT, Exit, Output, exit_of_call, print_json, said
from gateway.cli.progress import Progress, is_end
from gateway.cli.views import print_event, print_view
from gateway.client import Client

RECONNECTS_MAX: Final = 8  # in a row, without an event in between: half a minute with the delays below
DELAY_SECONDS: Final = 0.5
DELAY_SECONDS_MAX: Final = 5.0
_TORN: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})

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
        view = client.get(mission_id)
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


def _table(client: Client, mission_id: str) -> Mapping[str, Any]:
    table = LiveTable(Progress(client.get(mission_id, document=True)), OUT, SystemClock())
    last: Mapping[str, Any] = {}
    with table.shown():
        for last in events(client, mission_id, 0, told=table.trouble):
            table.event(last)
    return last


def _lines(client: Client, mission_id: str, from_index: int, output: Output) -> Mapping[str, Any]:
    last: Mapping[str, Any] = {}
    for last in events(client, mission_id, from_index, told=lambda text: ERR.print(said(text, "yellow"))):
        if output is Output.JSON:
            print_json(last)
        else:
            print_event(last, mission_id)
    return last


def events(client: Client, mission_id: str, from_index: int, *, told: _Told) -> Iterator[Mapping[str, Any]]:
    """Yield the events of a mission from an index on, each once, until it has ended.

    A stream that breaks, or ends before the mission has, is opened again after the last event seen.

    Raises:
        CallError: the first call failed; a later one, for another reason than that nobody answers; or nobody
            answered `RECONNECTS_MAX` times in a row.
    """
    index, failures, last = from_index, 0, None
    while True:
        try:
            for event in client.watch(mission_id, index):
                if event["index"] >= index:
                    index, failures, last = event["index"] + 1, 0, event
                    yield event
            if (last is not None and is_end(last)) or client.get(mission_id)["ended_at"] is not None:
                return
        except CallError as error:
            if error.status not in _TORN or (last is None and not failures):
                raise
        failures += 1
        if failures > RECONNECTS_MAX:
            raise _given_up(mission_id, index)
        told(f"the gateway has gone; trying again ({failures} of {RECONNECTS_MAX})")
        time.sleep(min(DELAY_SECONDS * 2 ** (failures - 1), DELAY_SECONDS_MAX))


def _given_up(mission_id: str, index: int) -> CallError:
    message = f"the gateway has gone; once it is back: missiongate watch {mission_id} --from-index {index}"
    error = {"code": "watch.torn", "message": message, "field": "", "line": None}
    return CallError(grpc.StatusCode.UNAVAILABLE, [error])


def _stopped(last: Mapping[str, Any], error: CallError) -> None:
    """Take the end event for the result where the gateway stopped right after telling it.

    Raises:
        CallError: it is not that: the call failed for another reason, or the mission's end was not told.
    """
    if exit_of_call(error) is not Exit.UNAVAILABLE or not last or not is_end(last):
        raise error
    if last["details"].get("status") != "Success":
        raise typer.Exit(Exit.FAILED)

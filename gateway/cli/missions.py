"""submit, get, list, watch, cancel: missions of a running gateway."""

import uuid
from typing import Annotated, Any

import typer

from engine.result import MissionState
from gateway.cli.options import (
    DEFAULT_SERVER,
    DocumentArgument,
    OutputOption,
    ServerOption,
    TokenOption,
    calling,
    read_document,
)
from gateway.cli.output import OUT, Exit, Output, exit_of_call, print_json
from gateway.cli.views import print_event, print_missions, print_view
from gateway.client import CallError, Client

MissionArgument = Annotated[str, typer.Argument(help="The mission's id.", metavar="MISSION", show_default=False)]


def submit(
    document: DocumentArgument,
    *,
    follow: Annotated[bool, typer.Option("--watch", help="Follow the mission to its end.")] = False,
    request_id: Annotated[
        str | None, typer.Option(help="Makes a repetition safe: the same id and mission submit once.")
    ] = None,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Submit a mission; with --watch, exit 1 where it did not succeed."""
    raw = read_document(document, output)
    with calling(server, token_file, output, source=document) as client:
        answer = client.submit(raw, request_id or str(uuid.uuid4()))
        if output is Output.JSON:
            print_json(answer)
        else:
            OUT.print(f"mission {answer['mission_id']}{'' if answer['created'] else '  (submitted before)'}")
        if follow:
            _follow(client, answer["mission_id"], 0, output)


def get(
    mission_id: MissionArgument,
    *,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Show a mission and, once it has ended, its results."""
    with calling(server, token_file, output) as client:
        view = client.get(mission_id)
    if output is Output.JSON:
        print_json(view)
    else:
        print_view(view)


def list_missions(
    *,
    state: Annotated[MissionState | None, typer.Option(help="Only missions in this state.")] = None,
    page_size: Annotated[int, typer.Option(min=1, max=200)] = 50,
    page_token: Annotated[str, typer.Option(help="Where the last page ended.")] = "",
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """List missions, newest first."""
    with calling(server, token_file, output) as client:
        page = client.list_missions(state.value if state else None, page_size, page_token)
    if output is Output.JSON:
        print_json(page)
        return
    print_missions(page["missions"])
    if page["next_page_token"]:
        OUT.print(f"more: --page-token {page['next_page_token']}", style="dim")


def watch(
    mission_id: MissionArgument,
    *,
    from_index: Annotated[int, typer.Option(min=0, help="The first event wanted.")] = 0,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Follow a mission to its end; exit 1 where it did not succeed."""
    with calling(server, token_file, output) as client:
        _follow(client, mission_id, from_index, output)


def cancel(
    mission_id: MissionArgument,
    *,
    reason: Annotated[str, typer.Option(help="Is recorded.")] = "",
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Cancel a mission."""
    with calling(server, token_file, output) as client:
        view = client.cancel(mission_id, reason)
    if output is Output.JSON:
        print_json(view)
    else:
        print_view(view)


def _stopped(last: dict[str, Any], error: CallError) -> None:
    """Take the end event for the result where the gateway stopped right after telling it.

    Raises:
        CallError: it is not that: the call failed for another reason, or the mission's end was not told.
    """
    if exit_of_call(error) is not Exit.UNAVAILABLE or not str(last.get("kind", "")).startswith("mission."):
        raise error
    if last["details"].get("status") != "Success":
        raise typer.Exit(Exit.FAILED)


def _follow(client: Client, mission_id: str, from_index: int, output: Output) -> None:
    """Print events until the mission has ended, then its result; leave with 1 where it did not succeed."""
    last: dict[str, Any] = {}
    for last in client.watch(mission_id, from_index):
        if output is Output.JSON:
            print_json(last)
        else:
            print_event(last)
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

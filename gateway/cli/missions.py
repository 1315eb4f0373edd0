"""submit, get, list, watch, cancel: missions of a running gateway."""

import uuid
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from engine.result import MissionState
from gateway.cli.options import (
    DEFAULT_SERVER,
    DocumentArgument,
    OutputOption,
    ServerOption,
    TokenOption,
    read_document,
)
from gateway.cli.output import OUT, Exit, Output, fail_call, print_json, steps_table, styled
from gateway.client import CallError, Client, Server

MissionArgument = Annotated[str, typer.Argument(help="The mission's id.", metavar="MISSION")]


def submit(
    document: DocumentArgument,
    *,
    watch_it: Annotated[bool, typer.Option("--watch", help="Follow the mission to its end.")] = False,
    request_id: Annotated[
        str | None, typer.Option(help="Makes a repetition safe: the same id and mission submit once.")
    ] = None,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Submit a mission."""
    raw = read_document(document)
    try:
        with Client(Server.of(server, token_file)) as client:
            answer = client.submit(raw, request_id or str(uuid.uuid4()))
            if output is Output.JSON:
                print_json(answer)
            else:
                known = "" if answer["created"] else "  (submitted before)"
                OUT.print(f"mission {answer['mission_id']}{known}")
            if watch_it:
                _follow(client, answer["mission_id"], 0, output)
    except CallError as error:
        fail_call(error, output, source=document)


def get(
    mission_id: MissionArgument,
    *,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Show a mission and, once it has ended, its results."""
    try:
        with Client(Server.of(server, token_file)) as client:
            view = client.get(mission_id)
    except CallError as error:
        fail_call(error, output)
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
    try:
        with Client(Server.of(server, token_file)) as client:
            page = client.list_missions(state.value if state else None, page_size, page_token)
    except CallError as error:
        fail_call(error, output)
    if output is Output.JSON:
        print_json(page)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("mission", "state", "steps", "submitter", "created", "name"):
        table.add_column(title)
    for view in page["missions"]:
        table.add_row(
            view["mission_id"],
            styled(view["state"]),
            str(view["steps_total"]),
            Text(view["submitter"]),
            view["created_at"][:19].replace("T", " "),
            Text(view["name"]),
        )
    OUT.print(table if page["missions"] else "no missions")
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
    try:
        with Client(Server.of(server, token_file)) as client:
            _follow(client, mission_id, from_index, output)
    except CallError as error:
        fail_call(error, output)


def cancel(
    mission_id: MissionArgument,
    *,
    reason: Annotated[str, typer.Option(help="Is recorded.")] = "",
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Cancel a mission."""
    try:
        with Client(Server.of(server, token_file)) as client:
            view = client.cancel(mission_id, reason)
    except CallError as error:
        fail_call(error, output)
    if output is Output.JSON:
        print_json(view)
    else:
        print_view(view)


def _follow(client: Client, mission_id: str, from_index: int, output: Output) -> None:
    """Print events until the mission has ended, then its result; leave with 1 where it did not succeed."""
    for event in client.watch(mission_id, from_index):
        if output is Output.JSON:
            print_json(event)
        else:
            _print_event(event)
    view = client.get(mission_id)
    if output is Output.JSON:
        print_json(view)
    else:
        OUT.print()
        print_view(view)
    if (view["result"] or {}).get("overall_status") != "Success":
        raise typer.Exit(Exit.FAILED)


def _print_event(event: dict[str, Any]) -> None:
    clock = event["timestamp"][11:23]
    subject, _, state = event["kind"].partition(".")
    line = Text(f"{clock}  ", style="dim")
    line.append_text(styled(state.capitalize()))
    line.append(f"  {event['step_id'] or subject}")
    if error := event["details"].get("error"):
        line.append(f"  {error['message']}", style="red")
    OUT.print(line)


def print_view(view: dict[str, Any]) -> None:
    """Print a mission for people."""
    result = view["result"]
    head = Text(f"{view['name']}  ", style="bold")
    head.append_text(styled(view["state"]))
    OUT.print(head)
    OUT.print(f"{view['mission_id']}  {view['digest'][:19]}…  submitted by {view['submitter']}", style="dim")
    if result is None:
        OUT.print(f"{view['steps_total']} steps, not ended")
        return
    OUT.print(steps_table(result["step_results"]))
    counts = ", ".join(f"{result[f'steps_{word}']} {word}" for word in ("completed", "failed", "skipped"))
    summary = Text(f"{counts} in {result['total_duration_ms']:.0f} ms: ")
    summary.append_text(styled(result["overall_status"]))
    OUT.print(summary)
    if error := result.get("error"):
        OUT.print(f"{error['message']}  [{error['code']}]", style="red")

"""submit, get, list, watch: missions of a running gateway."""

from pathlib import Path
from typing import Annotated

import typer

from engine.formats import ResultFormat
from engine.result import MissionState
from gateway.cli.following import follow as follow_mission
from gateway.cli.options import (
    Connection,
    DocumentArgument,
    MissionArgument,
    OutputOption,
    calling,
    connected,
    read_document,
)
from gateway.cli.output import OUT, Output, print_json
from gateway.cli.results import give_out, value_of
from gateway.cli.views import print_missions, print_view


@connected
def submit(
    document: DocumentArgument,
    *,
    follow: Annotated[bool, typer.Option("--watch", help="Follow the mission to its end.")] = False,
    request_id: Annotated[
        str | None, typer.Option(help="Makes a repetition safe: the same id and mission submit once.")
    ] = None,
    gateway: Connection,
    output: OutputOption = Output.TEXT,
) -> None:
    """Submit a mission; with --watch, exit 1 where it did not succeed."""
    raw = read_document(document, output)
    with calling(gateway, output, source=document) as client:
        answer = client.submit(raw, request_id or "")
        if output is Output.JSON:
            print_json({"mission_id": answer.mission_id, "digest": answer.digest, "created": answer.created})
        else:
            OUT.print(f"mission {answer.mission_id}{'' if answer.created else '  (submitted before)'}")
        if follow:
            follow_mission(client, answer.mission_id, 0, output)


@connected
def get(
    mission_id: MissionArgument,
    *,
    format: Annotated[  # noqa: A002 - the option's name
        ResultFormat | None, typer.Option("--format", "-f", help="Give out the result, whole, in this format.")
    ] = None,
    step: Annotated[
        str | None, typer.Option(help="Give out this step's output, and nothing else.", metavar="ID")
    ] = None,
    output_file: Annotated[Path | None, typer.Option(help="Write what is given out to this file.")] = None,
    gateway: Connection,
    output: OutputOption = Output.TEXT,
) -> None:
    """Show a mission and, once it has ended, its results; or give out its result, or one step's output."""
    with calling(gateway, output, mission=mission_id) as client:
        if format is not None or step is not None or output_file is not None:
            give_out(value_of(client, mission_id, step), format or ResultFormat.JSON, output_file)
            return
        view = client.get(mission_id).document()
    if output is Output.JSON:
        print_json(view)
    else:
        print_view(view)


@connected
def list_missions(
    *,
    state: Annotated[MissionState | None, typer.Option(help="Only missions in this state.")] = None,
    page_size: Annotated[int, typer.Option(min=1, max=200)] = 50,
    page_token: Annotated[str, typer.Option(help="Where the last page ended.")] = "",
    gateway: Connection,
    output: OutputOption = Output.TEXT,
) -> None:
    """List missions, newest first."""
    with calling(gateway, output) as client:
        page = client.list_missions(state, page_size, page_token).document()
    if output is Output.JSON:
        print_json(page)
        return
    print_missions(page["missions"])
    if page["next_page_token"]:
        OUT.print(f"more: --page-token {page['next_page_token']}", style="dim")


@connected
def watch(
    mission_id: MissionArgument,
    *,
    from_index: Annotated[int, typer.Option(min=0, help="The first event wanted.")] = 0,
    gateway: Connection,
    output: OutputOption = Output.TEXT,
) -> None:
    """Follow a mission to its end; exit 1 where it did not succeed."""
    with calling(gateway, output, mission=mission_id) as client:
        follow_mission(client, mission_id, from_index, output)

"""cancel, pause, resume, retry: what people do to a mission from outside."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from gateway.cli.following import follow as follow_mission
from gateway.cli.options import DEFAULT_SERVER, MissionArgument, OutputOption, ServerOption, TokenOption, calling
from gateway.cli.output import Output, print_json
from gateway.cli.views import print_view

ReasonOption = Annotated[str, typer.Option("--reason", help="Is recorded.")]


def cancel(
    mission_id: MissionArgument,
    *,
    reason: ReasonOption = "",
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Cancel a mission."""
    with calling(server, token_file, output, mission=mission_id) as client:
        _show(client.cancel(mission_id, reason), output)


def pause(
    mission_id: MissionArgument,
    *,
    reason: ReasonOption = "",
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Pause a mission: what runs goes on, nothing else starts."""
    with calling(server, token_file, output, mission=mission_id) as client:
        _show(client.pause(mission_id, reason), output)


def resume(
    mission_id: MissionArgument,
    *,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Let a paused mission go on."""
    with calling(server, token_file, output, mission=mission_id) as client:
        _show(client.resume(mission_id), output)


def retry(
    mission_id: MissionArgument,
    *,
    repeat_in_doubt: Annotated[
        bool,
        typer.Option("--repeat-in-doubt", help="Repeat effects of which nobody knows whether they took place."),
    ] = False,
    follow: Annotated[bool, typer.Option("--watch", help="Follow the mission to its end.")] = False,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Begin an ended mission anew, keeping what it has completed; with --watch, exit 1 where it did not succeed."""
    with calling(server, token_file, output, mission=mission_id) as client:
        _show(client.retry(mission_id, repeat_in_doubt=repeat_in_doubt), output)
        if follow:
            follow_mission(client, mission_id, 0, output)


def _show(view: Mapping[str, Any], output: Output) -> None:
    if output is Output.JSON:
        print_json(view)
    else:
        print_view(view)

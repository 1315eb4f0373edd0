"""cancel, pause, resume, retry: what people do to a mission from outside."""

from typing import Annotated

import typer

from gateway.cli.following import follow as follow_mission
from gateway.cli.options import Connection, MissionArgument, OutputOption, calling, connected
from gateway.cli.output import Output, print_json
from gateway.cli.views import print_view
from gateway.client import Mission

ReasonOption = Annotated[str, typer.Option("--reason", help="Is recorded.")]


@connected
def cancel(
    mission_id: MissionArgument,
    *,
    reason: ReasonOption = "",
    gateway: Connection,
    output: OutputOption = Output.TEXT,
) -> None:
    """Cancel a mission."""
    with calling(gateway, output, mission=mission_id) as client:
        _show(client.cancel(mission_id, reason), output)


@connected
def pause(
    mission_id: MissionArgument,
    *,
    reason: ReasonOption = "",
    gateway: Connection,
    output: OutputOption = Output.TEXT,
) -> None:
    """Pause a mission: what runs goes on, nothing else starts."""
    with calling(gateway, output, mission=mission_id) as client:
        _show(client.pause(mission_id, reason), output)


@connected
def resume(
    mission_id: MissionArgument,
    *,
    gateway: Connection,
    output: OutputOption = Output.TEXT,
) -> None:
    """Let a paused mission go on."""
    with calling(gateway, output, mission=mission_id) as client:
        _show(client.resume(mission_id), output)


@connected
def retry(
    mission_id: MissionArgument,
    *,
    repeat_in_doubt: Annotated[
        bool,
        typer.Option("--repeat-in-doubt", help="Repeat effects of which nobody knows whether they took place."),
    ] = False,
    follow: Annotated[bool, typer.Option("--watch", help="Follow the mission to its end.")] = False,
    gateway: Connection,
    output: OutputOption = Output.TEXT,
) -> None:
    """Begin an ended mission anew, keeping what it has completed; with --watch, exit 1 where it did not succeed."""
    with calling(gateway, output, mission=mission_id) as client:
        _show(client.retry(mission_id, repeat_in_doubt=repeat_in_doubt), output)
        if follow:
            follow_mission(client, mission_id, 0, output)


def _show(mission: Mission, output: Output) -> None:
    if output is Output.JSON:
        print_json(mission.document())
    else:
        print_view(mission.document())

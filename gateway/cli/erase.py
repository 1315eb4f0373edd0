"""erase mission: what the gateway keeps of a mission is erased, once somebody has said that it is meant."""

import sys
from typing import Annotated

import typer
from rich.text import Text

from gateway.cli.control import ReasonOption
from gateway.cli.options import Connection, MissionArgument, OutputOption, calling, connected
from gateway.cli.output import OUT, Output, counted, fail, print_json, said
from gateway.errors import ConfigurationError

YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask whether it is meant.")]


@connected
def mission(
    mission_id: MissionArgument,
    *,
    reason: ReasonOption = "",
    yes: YesOption = False,
    gateway: Connection,
    output: OutputOption = Output.TEXT,
) -> None:
    """Erase what is kept of an ended mission and of its parts: all but ids, times and counts."""
    require_meant(f"everything that mission {mission_id} held", output, yes=yes)
    with calling(gateway, output, mission=mission_id) as client:
        erased = client.people.erase_mission(mission_id, reason).document()
    if output is Output.JSON:
        print_json(erased)
        return
    OUT.print(Text.assemble(("✓ ", "green"), said(f"{mission_id} is erased, since {erased['erased_at']}")))
    missions, decisions = counted(erased["missions"], "mission"), counted(erased["decisions"], "recorded decision")
    OUT.print(said(f"  {missions}, {decisions}; the audit log still verifies", "dim"))


def require_meant(what: str, output: Output, *, yes: bool) -> None:
    """Return if somebody says that `what` is to be erased; leave the command otherwise."""
    if yes:
        return
    if not sys.stdin.isatty():
        fail(
            ConfigurationError("nobody can be asked here whether this is meant: say --yes", code="erase.not_confirmed"),
            output,
        )
    OUT.print(said(f"{what} is erased, and nobody can bring it back."))
    if not typer.confirm("Erase it?", default=False):
        fail(ConfigurationError("nothing was erased", code="erase.not_confirmed"), output)

"""The `missiongate` command: one typer application; its commands are in the table, gateway/cli/commands.py."""

from importlib import metadata
from typing import Annotated

import typer

from gateway.cli.tree import CommandTree

app = typer.Typer(
    name="missiongate",
    cls=CommandTree,
    help="A security gateway for automated work.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"missiongate {metadata.version('missiongate')}")
        raise typer.Exit


@app.callback()
def main(
    *,
    _version_wanted: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=_version),
    ] = False,
) -> None:
    """A security gateway for automated work."""

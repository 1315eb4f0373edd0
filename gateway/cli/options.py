"""Options that several commands share."""

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from gateway.cli.output import Output
from gateway.config import CONFIG_NAME

DEFAULT_SERVER: Final = "127.0.0.1:7443"
DOCUMENT_READ_MAX: Final = 16 * 1024 * 1024  # of a mission file; the gateway's own limit is lower, and says so better

ServerOption = Annotated[
    str, typer.Option("--server", envvar="MISSIONGATE_SERVER", help="host:port of the gateway.", metavar="ADDRESS")
]
TokenOption = Annotated[
    Path | None,
    typer.Option("--token-file", help="File with the bearer token; MISSIONGATE_TOKEN holds one otherwise."),
]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="text for people, json for programs.")]
HomeOption = Annotated[
    Path,
    typer.Option("--home", envvar="MISSIONGATE_HOME", help=f"The gateway's directory; holds {CONFIG_NAME}."),
]
DocumentArgument = Annotated[str, typer.Argument(help="A YAML or JSON mission; - reads standard input.")]


def default_home() -> Path:
    """Return where a gateway lives unless told otherwise."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "missiongate"


def read_document(name: str) -> bytes:
    """Return a mission file's bytes, up to a bound.

    Raises:
        typer.BadParameter: it cannot be read.
    """
    if name == "-":
        return typer.get_binary_stream("stdin").read(DOCUMENT_READ_MAX)
    try:
        with Path(name).open("rb") as file:
            return file.read(DOCUMENT_READ_MAX)
    except OSError as error:
        raise typer.BadParameter(f"{name}: {error.strerror}") from error

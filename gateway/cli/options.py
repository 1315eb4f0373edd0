"""Options that several commands share, and how their files are read."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from engine.errors import EngineError
from gateway.calling import CallError
from gateway.cli.output import Output, fail, fail_call
from gateway.client import TOKEN_VARIABLE, Client, Server
from gateway.config import CONFIG_NAME
from gateway.errors import ConfigurationError
from gateway.signing.passphrase import PassphraseSource

DEFAULT_SERVER: Final = "127.0.0.1:7443"
DOCUMENT_READ_MAX: Final = 5 * 1024 * 1024  # over every gateway's limit, so what is cut off here is refused there

ServerOption = Annotated[
    str, typer.Option("--server", envvar="MISSIONGATE_SERVER", help="host:port of the gateway.", metavar="ADDRESS")
]
TokenOption = Annotated[
    Path | None,
    typer.Option("--token-file", help=f"File with the bearer token; {TOKEN_VARIABLE} holds one otherwise."),
]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="text for people, json for programs.")]
HomeOption = Annotated[
    Path,
    typer.Option("--home", envvar="MISSIONGATE_HOME", help=f"The gateway's directory; holds {CONFIG_NAME}."),
]
PassphraseFileOption = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help="File with the passphrase of the key, mode 0600. Else it is asked for."),
]
MissionArgument = Annotated[str, typer.Argument(help="The mission's id.", metavar="MISSION", show_default=False)]
DocumentArgument = Annotated[
    str, typer.Argument(help="A YAML or JSON mission; - reads standard input.", metavar="FILE", show_default=False)
]


def default_home() -> Path:
    """Return where a gateway lives unless told otherwise."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "missiongate"


def asked_for(passphrase_file: Path | None) -> PassphraseSource:
    """Return where a passphrase comes from: the file, or whoever sits at the terminal."""
    return PassphraseSource(file=passphrase_file, advice="--passphrase-file names a file that holds the passphrase")


def read_document(name: str, output: Output) -> bytes:
    """Return a mission file's bytes, up to a bound; leave with code 2 where it cannot be read."""
    if name == "-":
        return typer.get_binary_stream("stdin").read(DOCUMENT_READ_MAX)
    try:
        with Path(name).open("rb") as file:
            return file.read(DOCUMENT_READ_MAX)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = error.strerror if isinstance(error, OSError) else str(error)
        fail(ConfigurationError(f"{name}: {why}", code="document.unreadable"), output)


@contextmanager
def calling(
    address: str, token_file: Path | None, output: Output, *, source: str = "", mission: str = ""
) -> Iterator[Client]:
    """Open a client; whatever goes wrong in the block is printed, and the command left with its exit code.

    `source` is the document that it may be about, `mission` the mission.
    """
    try:
        with Client(Server.of(address, token_file)) as client:
            yield client
    except CallError as error:
        fail_call(error, output, source=source, mission=mission)
    except EngineError as error:
        fail(error, output, source=source, mission=mission)

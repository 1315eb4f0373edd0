"""Options that several commands share, and how their files are read."""

import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from engine.errors import EngineError
from gateway.cli.output import Output, fail, fail_call
from gateway.client import TOKEN_VARIABLE, CallError, CallOptions, Client, Retry, Server, Tls
from gateway.config import CONFIG_NAME
from gateway.errors import ConfigurationError
from gateway.signing.passphrase import PassphraseSource

DEFAULT_SERVER: Final = "127.0.0.1:7443"
DOCUMENT_READ_MAX: Final = 5 * 1024 * 1024  # over every gateway's limit, so what is cut off here is refused there

# A person sees at once that nobody answers; what had begun is gone on with. docs/cli.md
RETRY: Final = Retry(attempts_max=1, reconnects_max=8, first_seconds=0.5, seconds_max=5.0)

_ServerOption = Annotated[
    str,
    typer.Option(
        "--server", envvar="MISSIONGATE_SERVER", help="host:port of the gateway, or unix:PATH.", metavar="ADDRESS"
    ),
]
_ServerChoice = Annotated[
    str | None,
    typer.Option("--server", help="Ask the gateway at host:port or unix:PATH, instead of here.", metavar="ADDRESS"),
]
_TokenOption = Annotated[
    Path | None,
    typer.Option("--token-file", help=f"File with the bearer token; {TOKEN_VARIABLE} holds one otherwise."),
]
_CaOption = Annotated[
    Path | None,
    typer.Option("--ca", envvar="MISSIONGATE_CA", help="Speak TLS, and believe these authorities (PEM)."),
]
_CertOption = Annotated[
    Path | None,
    typer.Option("--cert", envvar="MISSIONGATE_CERT", help="Speak TLS, and show this certificate (PEM)."),
]
_CertKeyOption = Annotated[
    Path | None,
    typer.Option("--cert-key", envvar="MISSIONGATE_CERT_KEY", help="The private key of --cert (PEM)."),
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Which gateway a command calls, over what, and as whom."""

    address: str
    token_file: Path | None = None
    ca: Path | None = None
    cert: Path | None = None
    cert_key: Path | None = None

    def server(self) -> Server:
        """Return it with what the files hold.

        Raises:
            ConfigurationError: it cannot be used.
        """
        return Server.of(self.address, self.token_file, tls=Tls.of(self.ca, self.cert, self.cert_key))


def connected(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that make its `gateway: Connection`; it may do without a `Connection | None`.

    typer makes options of parameters, and has no way to make several of one: the five stand in the signature here.
    """
    signature = inspect.signature(command)
    needed = signature.parameters["gateway"].annotation is Connection
    options = {
        "server": (_ServerOption, DEFAULT_SERVER) if needed else (_ServerChoice, None),
        "token_file": (_TokenOption, None),
        "ca": (_CaOption, None),
        "cert": (_CertOption, None),
        "cert_key": (_CertKeyOption, None),
    }

    @wraps(command)
    def called(**given: Any) -> None:
        address, *files = (given.pop(name) for name in options)
        token_file, ca, cert, cert_key = files
        made = Connection(address=address, token_file=token_file, ca=ca, cert=cert, cert_key=cert_key)
        command(**given, gateway=None if address is None else made)

    parameters = []
    for parameter in signature.parameters.values():
        if parameter.name != "gateway":
            parameters.append(parameter)
            continue
        for name, (annotation, default) in options.items():
            parameters.append(parameter.replace(name=name, annotation=annotation, default=default))
    called.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # inspect's own way
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return called


@contextmanager
def calling(gateway: Connection, output: Output, *, source: str = "", mission: str = "") -> Iterator[Client]:
    """Open a client; whatever goes wrong in the block is printed, and the command left with its exit code.

    `source` is the document that it may be about, `mission` the mission.
    """
    try:
        with Client(gateway.server(), CallOptions(retry=RETRY)) as client:
            yield client
    except CallError as error:
        fail_call(error, output, source=source, mission=mission)
    except EngineError as error:
        fail(error, output, source=source, mission=mission)

"""config check and show: what is wrong in a configuration, all of it; and what is in force, with who has said so."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from gateway.cli.options import HomeOption, OutputOption, default_home
from gateway.cli.output import OUT, Exit, Output, fail, fail_with, print_json, said
from gateway.config import Config, config_layers
from gateway.config_sources import validated
from gateway.config_view import settings_of
from gateway.errors import ConfigurationError

ListenOption = Annotated[str | None, typer.Option(help="As serve would be told.", metavar="HOST:PORT")]
AnonymousOption = Annotated[bool | None, typer.Option("--anonymous/--no-anonymous", help="As serve would be told.")]


def check(
    *,
    home: HomeOption = default_home(),  # noqa: B008 - typer calls it, and --help shows the answer
    listen: ListenOption = None,
    anonymous: AnonymousOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Check every rule, and say all that is broken: key, rule, and the place where it was said."""
    with telling_all(output):
        layers = config_layers(home, listen=listen, anonymous=anonymous)
        validated(Config, layers).check_listen()
    if output is Output.JSON:
        print_json({"ok": True, "file": str(layers.file_path)})
        return
    OUT.print(Text.assemble(("✓ ", "green"), said(f"{layers.file_path} is in order, with environment and flags")))


def show(
    *,
    home: HomeOption = default_home(),  # noqa: B008 - as above
    listen: ListenOption = None,
    anonymous: AnonymousOption = None,
    changed: Annotated[bool, typer.Option("--changed", help="Leave out what has its default.")] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Show what is in force, and who has said so: flag, env, file or default. Secrets are not shown."""
    with telling_all(output):
        layers = config_layers(home, listen=listen, anonymous=anonymous)
        settings = settings_of(validated(Config, layers), layers)
    chosen = [each for each in settings if not changed or each.origin != "default"]
    if output is Output.JSON:
        rows = [{"key": s.key, "value": s.value, "origin": s.origin, "place": s.place} for s in chosen]
        print_json({"settings": rows})
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("key", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("from", no_wrap=True)
    for setting in chosen:
        place = setting.place if setting.origin in {"env", "flag"} else setting.origin
        table.add_row(said(setting.key), said(_spelled(setting.value)), said(place))
    OUT.print(table)


def _spelled(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@contextmanager
def telling_all(output: Output) -> Iterator[None]:
    """Leave with code 2 where something is broken, and print each problem."""
    try:
        yield
    except ConfigurationError as error:
        if not error.problems:
            fail(error, output)
        fail_with(problems_document(error), Exit.USAGE, output)


def problems_document(error: ConfigurationError) -> list[dict[str, object]]:
    """Return each broken rule as an entry of `errors`."""
    return [
        {
            "code": error.code,
            "message": f"{problem.rule} ({problem.place})",
            "field": problem.field,
            "line": None,
            "rule": problem.rule,
            "place": problem.place,
        }
        for problem in error.problems
    ]

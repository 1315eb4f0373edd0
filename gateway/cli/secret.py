"""secret set, list, remove, rotate-key: the vault of a home, changed beside a running gateway. No value is printed."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from getpass import getpass
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from engine.clock import SystemClock
from engine.errors import EngineError
from gateway.cli.options import HomeOption, OutputOption, default_home
from gateway.cli.output import OUT, Output, counted, fail, print_json, said
from gateway.config import load_config
from gateway.errors import ConfigurationError, SecretRefusedError
from gateway.vault.keeper import Keeper
from gateway.vault.names import DEFAULT_TENANT, VALUE_BYTES_MAX
from gateway.vault.sealing import wipe
from gateway.workers.limits import hide_memory

NameArgument = Annotated[str, typer.Argument(help="The secret's name.", metavar="NAME", show_default=False)]
TenantOption = Annotated[str, typer.Option(help="Whose missions may refer to it.")]

_STDIN: Final = "-"


def set_secret(
    name: NameArgument,
    *,
    from_file: Annotated[
        Path | None, typer.Option(help="File with the value; - or a pipe is standard input. Else it is asked for.")
    ] = None,
    tenant: TenantOption = DEFAULT_TENANT,
    home: HomeOption = default_home(),  # noqa: B008 - typer calls it, and --help shows the answer
    output: OutputOption = Output.TEXT,
) -> None:
    """Keep a value, or replace what is there. One line feed at the end of a file or a pipe is not part of it."""
    with _keeping(home, output) as keeper:
        value = _value(name, from_file)
        try:
            new = keeper.set(tenant, name, value)
        finally:
            wipe(value)
    if output is Output.JSON:
        print_json({"name": name, "tenant": tenant, "new": new})
        return
    OUT.print(Text.assemble(("✓ ", "green"), said(f"{name} is {'set' if new else 'replaced'} for tenant {tenant}")))


def list_secrets(
    *,
    home: HomeOption = default_home(),  # noqa: B008 - as above
    output: OutputOption = Output.TEXT,
) -> None:
    """Show which secrets there are, and when each was last set."""
    with _keeping(home, output) as keeper:
        found = keeper.names()
    if output is Output.JSON:
        print_json({"secrets": [{"tenant": t, "name": n, "changed_at": at} for t, n, at in found]})
        return
    if not found:
        OUT.print("no secrets; missiongate secret set NAME keeps one")
        return
    table = Table(box=None, header_style="dim", pad_edge=False)
    for title in ("tenant", "name", "changed"):
        table.add_column(title)
    for row in found:
        table.add_row(*(said(cell) for cell in row))
    OUT.print(table)


def remove_secret(
    name: NameArgument,
    *,
    tenant: TenantOption = DEFAULT_TENANT,
    home: HomeOption = default_home(),  # noqa: B008 - as above
    output: OutputOption = Output.TEXT,
) -> None:
    """Forget a secret: steps that refer to it fail from now on."""
    with _keeping(home, output) as keeper:
        keeper.remove(tenant, name)
    if output is Output.JSON:
        print_json({"name": name, "tenant": tenant, "removed": True})
        return
    OUT.print(Text.assemble(("✓ ", "green"), said(f"{name} of tenant {tenant} is removed")))


def rotate_key(
    *,
    new_passphrase_file: Annotated[
        Path | None, typer.Option(help="The new passphrase, where secrets.passphrase_file is configured.")
    ] = None,
    home: HomeOption = default_home(),  # noqa: B008 - as above
    output: OutputOption = Output.TEXT,
) -> None:
    """Seal every secret anew under a new master key and a new data key."""
    with _keeping(home, output) as keeper:
        count = keeper.rotate(new_passphrase_file)
    if output is Output.JSON:
        print_json({"rotated": count})
        return
    OUT.print(Text.assemble(("✓ ", "green"), said(f"{counted(count, 'secret')} sealed under new keys")))


@contextmanager
def _keeping(home: Path, output: Output) -> Iterator[Keeper]:
    """Yield the vault; whatever goes wrong is printed, and the command left with its exit code."""
    try:
        hide_memory()
        yield Keeper(load_config(home).secrets.source(home), SystemClock())
    except EngineError as error:
        fail(error, output)
    except OSError as error:
        fail(ConfigurationError(f"{home}: {error.strerror}", code="config.home"), output)


def _value(name: str, from_file: Path | None) -> bytearray:
    """Return the value from a file, from standard input where it is no terminal, or as it is typed without echo."""
    if from_file is not None and str(from_file) != _STDIN:
        try:
            return _read(os.open(from_file, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            raise ConfigurationError(f"{from_file}: {error.strerror}", code="secret.unreadable") from error
    if from_file is not None or not sys.stdin.isatty():
        return _read(os.dup(sys.stdin.fileno()))
    typed = getpass(f"{name}: ")
    if typed != getpass("again: "):
        raise SecretRefusedError("the two are not the same; nothing was changed", code="secret.mistyped")
    return bytearray(typed.encode("utf-8"))


def _read(descriptor: int) -> bytearray:
    """Return what a file or a pipe holds, up to one byte over the limit, without one line feed at its end."""
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        value = bytearray(VALUE_BYTES_MAX + 2)
        size = 0
        while size < len(value) and (count := file.readinto(memoryview(value)[size:])):
            size += count
    wanted = size - 1 if size and value[size - 1] == ord("\n") else size
    out = value[:wanted]
    wipe(value)
    return out

"""The tree of commands, grown from the table: what a command needs is imported when it is called, and not before."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, cast

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from gateway.cli.commands import COMMANDS, Group, Row

_PACKAGE = "gateway.cli"


class LazyCommand(TyperCommand):
    """Stands in a group's listing for a command whose module is not imported yet."""

    def __init__(self, name: str, row: Row) -> None:
        super().__init__(name, help=row.help)
        self._where = row.where

    def load(self) -> TyperCommand:
        """Import the command, and return it with its parameters."""
        module, _, function = self._where.partition(":")
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        alone.command(self.name)(getattr(import_module(f"{_PACKAGE}.{module}"), function))
        return cast("TyperCommand", typer.main.get_command(alone))

    def make_context(self, *args: Any, **kwargs: Any) -> Any:  # typer keeps the types that this has to itself
        """Parse the arguments as the command does, and let it be what is run."""
        return self.load().make_context(*args, **kwargs)


class CommandTree(TyperGroup):
    """The root of all commands; typer makes it, as the class of the application."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        grow(self, COMMANDS)


def grow(root: TyperGroup, table: Mapping[str, Group | Row]) -> None:
    """Add to `root` what `table` says, each under the group that its words name."""
    groups = {"": root}
    for path, entry in table.items():
        above, _, name = path.rpartition(" ")
        if isinstance(entry, Group):
            groups[path] = TyperGroup(name=name, help=entry.help, no_args_is_help=True)
            groups[above].add_command(groups[path])
        else:
            groups[above].add_command(LazyCommand(name, entry))

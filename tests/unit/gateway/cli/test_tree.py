"""The table of commands against the modules that it names, and what a command line costs before its command."""

import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import typer.main
from typer.core import TyperGroup

from gateway.cli.app import app
from gateway.cli.commands import COMMANDS, Group, Row
from gateway.cli.tree import LazyCommand
from tests.cli_runner import run

ROOT = Path(__file__).resolve().parents[4]
ROWS = {path: row for path, row in COMMANDS.items() if isinstance(row, Row)}
GROUPS = [path for path, group in COMMANDS.items() if isinstance(group, Group)]
CHEAP = {"gateway", "gateway.__main__", "gateway.cli", "gateway.cli.app", "gateway.cli.commands", "gateway.cli.tree"}
HEAVY = (
    "engine",
    "grpc",
    "google",
    "aiohttp",
    "wasmtime",
    "regorus",
    "cryptography",
    "asyncio",
)  # pydantic: typer has it
LIST_MODULES = "import sys, runpy, atexit; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); "


@pytest.mark.parametrize("path", ROWS)
def test_a_row_says_what_its_command_says(path: str) -> None:
    """The function is there, and its docstring's first paragraph is the line of the listing."""
    module, _, function = ROWS[path].where.partition(":")
    document = inspect.getdoc(getattr(import_module(f"gateway.cli.{module}"), function))
    assert document is not None
    assert ROWS[path].help == " ".join(document.split("\n\n")[0].split())


def test_every_row_is_reached_by_its_words() -> None:
    """The tree holds the table, all of it: no row hides another one, and no group is empty."""
    found: dict[str, bool] = {}

    def walk(above: str, group: TyperGroup) -> None:
        for name, command in group.commands.items():
            found[f"{above} {name}".strip()] = isinstance(command, LazyCommand)
            if isinstance(command, TyperGroup):
                assert command.commands
                walk(f"{above} {name}".strip(), command)

    root = typer.main.get_command(app)
    assert isinstance(root, TyperGroup)
    walk("", root)
    assert found == {path: isinstance(row, Row) for path, row in COMMANDS.items()}


@pytest.mark.parametrize("group", ["", *GROUPS])
def test_a_listing_names_what_is_in_the_group(group: str) -> None:
    """Without a command, each group prints its commands and what they do."""
    shown = run(*group.split(), "--help", width=200).out
    inside = [path for path in COMMANDS if path.rpartition(" ")[0] == group]
    assert inside
    for path in inside:
        assert path.rpartition(" ")[2] in shown


def test_a_command_that_is_not_there_is_a_usage_error_with_advice() -> None:
    """What is close to the word is named, though nothing of it was imported."""
    ran = run("audit", "verfy")
    assert ran.code == 2
    assert "'verify'" in ran.err


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["policy", "--help"], ["audit", "verfy"]], ids=" ".join)
def test_a_command_line_without_a_command_imports_nothing_of_the_gateway(words: list[str]) -> None:
    """Neither the gateway's modules nor the large libraries under them."""
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            LIST_MODULES + f"sys.argv = ['missiongate', *{words}]; runpy.run_module('gateway', run_name='__main__')",
        ],
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
    )
    modules = set(ran.stderr.splitlines()[-1].split())
    assert "typer" in modules
    assert {name for name in modules if name.partition(".")[0] == "gateway"} <= CHEAP
    assert not modules.intersection(HEAVY)

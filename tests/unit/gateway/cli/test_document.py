"""docs/cli.md against the commands that there are."""

import re
from pathlib import Path

import typer.main

from gateway.cli.app import app
from gateway.cli.output import Exit
from gateway.cli.sanitize import ArgumentType

DOCUMENT = (Path(__file__).resolve().parents[4] / "docs" / "cli.md").read_text()

CONNECTING = {"--server", "--token-file", "--ca", "--cert", "--cert-key"}  # told once, for all that have --server


def commands() -> dict[str, set[str]]:
    """Return every command's options."""
    found = {}
    waiting = dict(typer.main.get_command(app).commands)
    while waiting:
        name, command = waiting.popitem()
        if group := getattr(command, "commands", None):
            waiting |= {f"{name} {n}": each for n, each in group.items()}
        else:
            found[name] = {o for p in command.load().params for o in p.opts if o.startswith("--") and o != "--help"}
    return found


def test_every_command_and_each_of_its_options_is_documented() -> None:
    """Each has a section of its own, which names every option; no section is about a command that is not there."""
    sections = dict(
        re.findall(r"^### `missiongate ([a-z -]+)`\n(.*?)(?=^##)", DOCUMENT + "\n##", re.MULTILINE | re.DOTALL)
    )
    assert sections.keys() == commands().keys()
    for name, options in commands().items():
        for option in options - {"--output"} - (CONNECTING if "--server" in options else set()):
            assert f"`{option}" in sections[name], f"{name} {option}"
    for option in CONNECTING | {"--output"}:
        assert f"`{option}" in DOCUMENT


def test_every_exit_code_is_documented() -> None:
    """The table has exactly the codes that there are."""
    assert re.findall(r"^\| (\d) \|", DOCUMENT, re.MULTILINE) == [str(int(code)) for code in Exit]


def test_every_argument_type_is_documented() -> None:
    """What `sanitize` takes."""
    for kind in ArgumentType:
        assert f"`{kind.value}`" in DOCUMENT

"""`commands` of the policy data: an entry is understood in full, or the gateway does not start."""

from typing import Any

import pytest

from gateway.effects.commands.data import COMMANDS_MAX, commands_from
from gateway.errors import PolicyInvalidError

ENTRY = {"executable": "/usr/bin/sort"}


def test_nothing_is_open_without_data() -> None:
    """No key, no command."""
    assert commands_from({}) == {}


def test_an_entry_alone_gives_least() -> None:
    """No option, no positional, no input, one process: what is left out is not allowed."""
    rule = commands_from({"commands": {"sort": ENTRY}})["sort"]
    assert (dict(rule.options), rule.positionals, rule.rest, rule.stdin, rule.end_of_options) == (
        {},
        (),
        None,
        False,
        False,
    )
    assert (rule.limits.processes_max, rule.sha256, rule.executes) == (1, None, ())


def test_limits_are_taken_as_written() -> None:
    """Each name of the data is one bound."""
    limits = {
        "wall_ms": 1, "cpu_seconds": 2, "memory_bytes": 3, "file_bytes": 4, "processes_max": 5, "output_bytes": 6,
    }  # fmt: skip
    rule = commands_from({"commands": {"sort": {**ENTRY, "limits": limits}}})["sort"]
    found = rule.limits
    assert (found.wall_ms_max, found.cpu_seconds_max, found.memory_bytes_max) == (1, 2, 3)
    assert (found.file_bytes_max, found.processes_max, found.output_bytes_max) == (4, 5, 6)


@pytest.mark.parametrize(
    ("entry", "where"),
    [
        ([], "commands.sort"),
        ({}, "commands.sort.executable"),
        ({"executable": "sort"}, "commands.sort.executable"),
        ({"executable": "/usr/../bin/sort"}, "commands.sort.executable"),
        ({"executable": "/usr//bin/sort"}, "commands.sort.executable"),
        ({"executable": "/"}, "commands.sort.executable"),
        ({**ENTRY, "shell": True}, "commands.sort"),
        ({**ENTRY, "sha256": "AB"}, "commands.sort.sha256"),
        ({**ENTRY, "positionals": "a"}, "commands.sort.positionals"),
        ({**ENTRY, "positionals": ["("]}, "commands.sort.positionals[0]"),
        ({**ENTRY, "positionals": ["a)|(?:b"]}, "commands.sort.positionals[0]"),
        ({**ENTRY, "positionals": ["(?=a)a"]}, "commands.sort.positionals[0]"),
        ({**ENTRY, "positionals": ["(?x)a #"]}, "commands.sort.positionals[0]"),
        ({**ENTRY, "positionals": ["(a)\\1"]}, "commands.sort.positionals[0]"),
        ({**ENTRY, "positionals": [""]}, "commands.sort.positionals[0]"),
        ({**ENTRY, "required": 1}, "commands.sort.required"),
        ({**ENTRY, "rest": 1}, "commands.sort.rest"),
        ({**ENTRY, "stdin": 1}, "commands.sort.stdin"),
        ({**ENTRY, "fixed": [1]}, "commands.sort.fixed[0]"),
        ({**ENTRY, "fixed": ["a\0b"]}, "commands.sort.fixed[0]"),
        ({**ENTRY, "reads": ["usr"]}, "commands.sort.reads[0]"),
        ({**ENTRY, "executes": ["/"]}, "commands.sort.executes[0]"),
        ({**ENTRY, "limits": {"wall_ms": 0}}, "commands.sort.limits.wall_ms"),
        ({**ENTRY, "limits": {"wall_ms": 55_001}}, "commands.sort.limits.wall_ms"),
        ({**ENTRY, "limits": {"wall_ms": True}}, "commands.sort.limits.wall_ms"),
        ({**ENTRY, "limits": {"files": 1}}, "commands.sort.limits"),
        ({**ENTRY, "options": []}, "commands.sort.options"),
        ({**ENTRY, "options": {"n": {}}}, "commands.sort.options.n"),
        ({**ENTRY, "options": {"--": {}}}, "commands.sort.options.--"),
        ({**ENTRY, "options": {"--a=b": {}}}, "commands.sort.options.--a=b"),
        ({**ENTRY, "options": {"-n": {"value": "a", "form": "any"}}}, "commands.sort.options.-n.form"),
        ({**ENTRY, "options": {"-n": {"form": "separate"}}}, "commands.sort.options.-n.form"),
        ({**ENTRY, "options": {"-name": {"value": "a", "form": "attached"}}}, "commands.sort.options.-name.form"),
        ({**ENTRY, "options": {"-o": {"value": "a", "form": "attached"}, "-ov": {}}}, "commands.sort.options.-ov"),
        ({**ENTRY, "options": {"-o": {"value": "a"}, "-other": {"value": "a"}}}, "commands.sort.options.-other"),
    ],
)  # fmt: skip
def test_what_is_not_understood_stops_the_gateway(entry: Any, where: str) -> None:
    """The refusal names entry and field."""
    with pytest.raises(PolicyInvalidError) as refused:
        commands_from({"commands": {"sort": entry}})
    assert refused.value.code == "policy.command_invalid"
    assert refused.value.message.startswith(f"{where}: ")


@pytest.mark.parametrize("name", ["", "Sort", "a/b", "-a", "a" * 65, "a b"])
def test_names_are_plain(name: str) -> None:
    """What a mission calls a command is no path, and no option."""
    with pytest.raises(PolicyInvalidError):
        commands_from({"commands": {name: ENTRY}})


def test_there_are_not_too_many() -> None:
    """The number of entries is bounded."""
    with pytest.raises(PolicyInvalidError):
        commands_from({"commands": {f"c{n}": ENTRY for n in range(COMMANDS_MAX + 1)}})

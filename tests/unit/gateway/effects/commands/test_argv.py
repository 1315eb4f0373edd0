"""A command line against its entry: what is not declared is refused, by position and by the rule that it breaks."""

from typing import Any

import pytest

from gateway.effects.commands.argv import judged
from gateway.effects.commands.data import commands_from
from gateway.errors import EffectError

ENTRIES: dict[str, Any] = {
    "git-log": {
        "executable": "/usr/bin/git",
        "fixed": ["log"],
        "options": {
            "-n": {"value": "[0-9]{1,4}", "form": "either"},
            "--format": {"value": "[a-z]+"},
            "--since": {"value": "[0-9-]+", "form": "separate"},
            "--oneline": {},
            "-xzf": {},
            "-path": {"value": "[a-z.]+"},
        },
        "positionals": ["[a-z][a-z0-9/]{0,63}"],
        "required": 0,
        "rest": "[a-z./]+",
        "end_of_options": True,
    },
    "plain": {"executable": "/usr/bin/sort", "positionals": ["[a-z]+", "-|[a-z]+"]},
}
RULES = commands_from({"commands": ENTRIES})


@pytest.mark.parametrize(
    "argv",
    [
        ["git-log"],
        ["git-log", "main"],
        ["git-log", "-n", "5", "main", "src/a.py"],
        ["git-log", "-n5"],
        ["git-log", "main", "--oneline"],
        ["git-log", "--format=short", "--since", "2026-01-01"],
        ["git-log", "-xzf"],
        ["git-log", "-path", "a.py"],
        ["git-log", "main", "--", "a"],
        ["plain", "a", "b"],
        ["plain", "a", "-"],
    ],
    ids=" ".join,
)
def test_what_is_declared_passes(argv: list[str]) -> None:
    """Options by exact name, values attached or separate as declared, positionals by place."""
    assert judged(argv, RULES).name == argv[0]


@pytest.mark.parametrize(
    ("argv", "position", "rule"),
    [
        (["git"], 0, "name"),
        (["/usr/bin/git"], 0, "name"),
        ([], 0, "count"),
        (["git-log", *["a"] * 64], 0, "count"),
        (["git-log", "a b"], 1, "characters"),
        (["git-log", ""], 1, "characters"),
        (["git-log", "a\n"], 1, "characters"),
        (["git-log", "a\0"], 1, "characters"),
        (["git-log", "é"], 1, "characters"),
        (["git-log", "$(id)"], 1, "characters"),
        (["git-log", 1], 1, "characters"),
        (["git-log", "--upload-pack=/tmp/x"], 1, "option_undeclared"),
        (["git-log", "-oProxyCommand=x"], 1, "option_undeclared"),
        (["git-log", "main", "--output=/etc/x"], 2, "option_undeclared"),
        (["git-log", "--form=short"], 1, "option_undeclared"),
        (["git-log", "--oneline=1"], 1, "option_undeclared"),
        (["git-log", "--onelines"], 1, "option_undeclared"),
        (["git-log", "-xz"], 1, "option_undeclared"),
        (["git-log", "-xzfv"], 1, "option_undeclared"),
        (["git-log", "-nx"], 1, "option_value"),
        (["git-log", "-n", "x"], 2, "option_value"),
        (["git-log", "-n", "-5"], 2, "option_value"),
        (["git-log", "-n", "--"], 2, "option_value"),
        (["git-log", "--since", "-1"], 2, "option_value"),
        (["git-log", "-n"], 1, "option_value"),
        (["git-log", "--format", "short"], 1, "option_value"),
        (["git-log", "--format="], 1, "option_value"),
        (["git-log", "--format=a=b"], 1, "option_value"),
        (["git-log", "--since=2026-01-01"], 1, "option_undeclared"),
        (["git-log", "-path=a"], 1, "option_undeclared"),
        (["git-log", "---oneline"], 1, "option_undeclared"),
        (["git-log", "MAIN"], 1, "positional"),
        (["git-log", "main", "--", "--oneline"], 3, "positional"),
        (["git-log", "main", "--", "--"], 3, "positional"),
        (["plain", "--", "a", "b"], 1, "end_of_options"),
        (["plain", "a"], 2, "positional_missing"),
        (["plain", "a", "b", "c"], 3, "positional_excess"),
        (["plain", "-", "b"], 1, "positional"),
        (["plain", "a", "-n"], 2, "option_undeclared"),
    ],
)
def test_anything_else_is_refused_by_name(argv: list[Any], position: int, rule: str) -> None:
    """The error has the position and the rule, is a violation, and does not repeat the token."""
    with pytest.raises(EffectError) as refused:
        judged(argv, RULES)
    assert refused.value.code == "effect.command_refused"
    assert refused.value.violation
    assert refused.value.message.startswith(f"argv[{position}]: {rule}: ")
    if argv and isinstance(argv[-1], str) and len(argv[-1]) > 2:
        assert argv[-1] not in refused.value.message

"""Command lines of attackers against entries as sites write them."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.effects.commands.argv import judged
from gateway.effects.commands.data import commands_from
from gateway.errors import EffectError

CORPORA = Path(__file__).parent / "corpora"
ENTRIES: dict[str, Any] = {
    "git": {
        "executable": "/usr/bin/git",
        "options": {"--oneline": {}, "-n": {"value": "[0-9]{1,3}", "form": "either"}, "-m": {"value": "[a-z]{1,40}"}},
        "positionals": ["log|show|fetch"],
        "rest": "[A-Za-z0-9][A-Za-z0-9_./]{0,127}",
        "end_of_options": True,
    }
}
RULES = commands_from({"commands": ENTRIES})
# Options that make well-known programs run another one, or write where they should not.
OPTIONS = (
    *("--upload-pack=touch", "--upload-pack", "-u", "--exec=sh", "-oProxyCommand=sh", "-o", "--output=/etc/x"),
    *("--config=core.sshCommand=sh", "-c", "--git-dir=/tmp", "-C", "--work-tree=/", "--ext-diff", "--no-index"),
    *("--checkpoint-action=exec=sh", "--use-compress-program=sh", "-I", "--to-command=sh", "-exec", "-delete"),
    *("--compress-program=sh", "-e", "--rsh=sh", "-nx", "-n1x", "-n=1", "--n", "--one", "--oneline=1", "-mn", "-m-x"),
    *("---", "-", "--=", "-=", "-/", "-@", "--oneline,", "-n1,2"),
)


def lines(name: str) -> list[str]:
    return [json.loads(line)["value"] for line in (CORPORA / f"{name}.jsonl").read_text("utf-8").splitlines()]


@pytest.mark.parametrize("place", range(4))
def test_no_payload_passes_as_an_argument(place: int) -> None:
    """Whole or cut at white space, wherever it stands: a line with a payload is refused, and names the rule."""
    payloads = lines("attack_command_injection")
    assert len(payloads) > 100
    for payload in payloads:
        base = ["git", "log", "--oneline", "main"]
        base.insert(place, payload)
        with pytest.raises(EffectError) as refused:
            judged(base, RULES)
        assert refused.value.code == "effect.command_refused"


def test_a_plain_word_is_no_command() -> None:
    """Payloads without a metacharacter name programs: none of them is open."""
    for payload in lines("attack_command_plain"):
        with pytest.raises(EffectError) as refused:
            judged(payload.split() or [""], RULES)
        assert refused.value.message.startswith("argv[0]: ")


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("place", range(1, 5))
def test_no_option_passes_that_is_not_declared(option: str, place: int) -> None:
    """Before and behind the positionals, behind `--`, as the value of another option."""
    base = ["git", "log", "--oneline", "main"]
    for line in (
        [*base[:place], option, *base[place:]],
        [*base, "-n", option],
        [*base, "--", option],
        [option, *base],
    ):
        with pytest.raises(EffectError) as refused:
            judged(line, RULES)
        assert refused.value.violation

"""A plugin author's way, command by command: from a new folder to a signed hook that decides in a running gateway."""

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from gateway.cli.hook.folder import Language
from gateway.config import CONFIG_NAME
from tests.cli_runner import run
from tests.depth import some
from tests.gateways import Program, new_home, verified
from tests.toolchains import LANGUAGES, environment, need

MISSION = {
    "version": "1.0",
    "name": "try",
    "steps": [{"id": "a", "name": "A", "step_type": "http", "parameters": {"url": "http://example.com/"}}],
}


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Program]:
    """Run a gateway that trusts the key which the author is about to use."""
    monkeypatch.chdir(tmp_path)
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    made = new_home(tmp_path)
    key = run("keys", "new", "acme.example/hooks", "--out", "acme.key", "-o", "json").json["verifier_key"]  # (1)
    with (made.home / CONFIG_NAME).open("a") as config:
        config.write(f'\n[[publishers]]\nkey = "{key}"\n')
    program = Program.start(made)
    yield program
    program.terminate()
    verified(made)


@pytest.mark.parametrize("language", some([Language.ZIG], LANGUAGES))
def test_six_commands_from_a_new_hook_to_a_decision(gateway: Program, language: Language) -> None:
    """In each language a new screen, tested, signed and published, denies the step of the next mission."""
    need(language)
    there = ("--server", gateway.address, "--token-file", gateway.made.token_file, "-o", "json")
    assert run("hook", "new", "only_https", "-l", language.value, "-k", "screen").code == 0  # (2)
    assert run("hook", "test", "only_https").code == 0  # (3); in AssemblyScript, after npm ci
    assert run("hook", "sign", "only_https", "--key", "acme.key").code == 0  # (4)
    pushed = run("hook", "push", "only_https", "--enable", *there)  # (5)
    assert pushed.code == 0, pushed.out
    assert pushed.json["hook"]["enabled"] is True
    Path("m.json").write_bytes(orjson.dumps(MISSION))
    ended = run("submit", "m.json", "--watch", *there)  # (6)
    assert ended.code == 1
    [error] = [step["error"] for step in ended.lines[-1]["result"]["step_results"].values()]
    assert error["code"] == "screen.only_https.url"

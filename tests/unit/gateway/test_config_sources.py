"""File, environment and flags: who has the last word, what is refused, and where each mistake is told to be mended."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.config import CONFIG_NAME, Config, config_layers, load_config
from gateway.config_sources import validated
from gateway.config_view import REDACTED, settings_of
from gateway.errors import ConfigurationError

SHA = "a" * 64


def home(folder: Path, text: str = "") -> Path:
    (folder / CONFIG_NAME).write_text(text)
    return folder


def problems(folder: Path, environ: Mapping[str, str], **flags: Any) -> dict[str, str]:
    """Return the place of each problem, by field."""
    with pytest.raises(ConfigurationError) as caught:
        load_config(folder, environ=environ, **flags)
    assert caught.value.code == "config.invalid"
    return {problem.field: problem.place for problem in caught.value.problems}


def shown(folder: Path, environ: Mapping[str, str], **flags: Any) -> dict[str, tuple[Any, str, str]]:
    layers = config_layers(folder, environ=environ, **flags)
    return {s.key: (s.value, s.origin, s.place) for s in settings_of(validated(Config, layers), layers)}


def test_flags_go_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    """One key, four places; each is heard where none above it says anything."""
    variables = {"MISSIONGATE__LISTEN": "127.0.0.1:2"}
    empty, written = home(tmp_path), "listen = '127.0.0.1:1'"
    assert load_config(empty, environ={}).listen == "127.0.0.1:7443"
    assert load_config(home(tmp_path, written), environ={}).listen == "127.0.0.1:1"
    assert load_config(tmp_path, environ=variables).listen == "127.0.0.1:2"
    assert load_config(tmp_path, environ=variables, listen="127.0.0.1:3").listen == "127.0.0.1:3"


def test_variables_have_the_types_of_their_keys(tmp_path: Path) -> None:
    """Integers, numbers, booleans, optional ones, lists and arrays of tables; a table is merged key by key."""
    config = load_config(
        home(tmp_path, "[limits]\nsteps_max = 5\nparallel_limit_max = 6\n[workers]\naccept_without = ['seccomp']"),
        environ={
            "MISSIONGATE__LIMITS__STEPS_MAX": "7",
            "MISSIONGATE__BREAKERS__WINDOW_SECONDS": "1.5",
            "MISSIONGATE__ANONYMOUS": "true",
            "MISSIONGATE__POLICY__BUNDLES__POLL_SECONDS": "12",
            "MISSIONGATE__WORKERS__ACCEPT_WITHOUT": '["landlock"]',
            "MISSIONGATE__TOKENS": json.dumps([{"sha256": SHA, "subject": "ann"}]),
            "MISSIONGATE_HOME": "not a key of the configuration",
        },
    )
    assert (config.limits.steps_max, config.limits.parallel_limit_max) == (7, 6)
    assert config.breakers.window_seconds == 1.5
    assert config.anonymous is True
    assert config.policy.bundles.poll_seconds == 12
    assert config.workers.accept_without == ["landlock"]
    assert config.tokens[0].subject == "ann"


def test_every_mistake_is_told_at_once_with_its_place(tmp_path: Path) -> None:
    """Of the file, of three variables, and of a flag: five problems, five places."""
    folder = home(tmp_path, "colour = 'red'\n[workers]\nsandbox = 0")
    environ = {
        "MISSIONGATE__LIMITS__STEPS_MAX": "many",
        "MISSIONGATE__LIMIT__STEPS_MAX": "7",
        "MISSIONGATE__TOKENS": "[{",
    }
    assert problems(folder, environ, listen="nonsense") == {
        "colour": str(folder / CONFIG_NAME),
        "workers.sandbox": str(folder / CONFIG_NAME),
        "limits.steps_max": "MISSIONGATE__LIMITS__STEPS_MAX",
        "limit.steps_max": "MISSIONGATE__LIMIT__STEPS_MAX",
        "tokens": "MISSIONGATE__TOKENS",
        "listen": "--listen",
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MISSIONGATE__AUDIT__SIGNER_SETTINGS", '"hunter2-hunter2"'),
        ("MISSIONGATE__AUDIT__SIGNER_SETTINGS__PIN", '"hunter2-hunter2"'),
        ("MISSIONGATE__AUDIT__NEXT_SIGNER_SETTINGS", '"hunter2-hunter2"'),
        ("MISSIONGATE__AUDIT", '{"signer": "hsm", "signer_settings": {"pin": "hunter2-hunter2"}}'),
    ],
)
def test_what_may_be_secret_is_not_taken_from_the_environment(tmp_path: Path, name: str, value: str) -> None:
    """An environment is inherited and can be read, a table as well as a key; and the value stands in no message."""
    with pytest.raises(ConfigurationError) as caught:
        load_config(home(tmp_path), environ={name: value, "MISSIONGATE__AUDIT__SIGNER": "hsm"})
    [problem] = caught.value.problems
    assert problem.place == name
    assert "hunter2" not in caught.value.message + problem.rule


@pytest.mark.parametrize("name", ["MISSIONGATE__", "MISSIONGATE____LISTEN", "MISSIONGATE__LIMITS__", "MISSIONGATE__X"])
def test_a_variable_that_names_no_key_is_refused(tmp_path: Path, name: str) -> None:
    """A limit that is mistyped is one that is not there."""
    assert list(problems(home(tmp_path), {name: "1"}).values()) == [name]


def test_show_names_who_has_said_each_value(tmp_path: Path) -> None:
    """Flag, variable, file or default; a table of which the file has one key is the file's in that alone."""
    folder = home(tmp_path, "anonymous = true\n[limits]\nsteps_max = 5")
    found = shown(folder, {"MISSIONGATE__LIMITS__PARALLEL_LIMIT_MAX": "9"}, listen="[::1]:0")
    assert found["listen"] == ("[::1]:0", "flag", "--listen")
    assert found["anonymous"] == (True, "file", str(folder / CONFIG_NAME))
    assert found["limits.steps_max"][:2] == (5, "file")
    assert found["limits.parallel_limit_max"] == (9, "env", "MISSIONGATE__LIMITS__PARALLEL_LIMIT_MAX")
    assert found["limits.steps_running_max"] == (2_048, "default", "")


def test_show_shows_no_secret(tmp_path: Path) -> None:
    """Digests of tokens, settings of signers and hooks, users and queries of URLs; what is none of these is whole."""
    text = (
        f"[[tokens]]\nsubject = 'ann'\nsha256 = '{SHA}'\n"
        "[[hooks]]\nbuiltin = 'x'\nsettings = {where = 'settings-secret'}\n"
        "[policy]\nsource = 'https://user:url-secret@bundles.example/b.tar.gz?sig=query-secret'\n"
        "[audit]\nsigner = 'hsm'\nsigner_settings = {pin = 'pin-secret'}\n"
    )
    found = shown(home(tmp_path, text), {})
    told = json.dumps({key: value for key, (value, _, _) in found.items()})
    assert "-secret" not in told
    assert SHA not in told
    assert found["audit.signer_settings"][0] == REDACTED
    assert found["tokens"][0][0]["subject"] == "ann"
    assert "bundles.example/b.tar.gz" in found["policy.source"][0]


def test_a_rule_of_a_whole_section_is_told_where_the_section_was_touched(tmp_path: Path) -> None:
    """Of several keys that do not fit each other none is to blame alone."""
    assert problems(home(tmp_path), {"MISSIONGATE__AUDIT__ACKNOWLEDGE": "witnessed"}) == {
        "audit": "MISSIONGATE__AUDIT__ACKNOWLEDGE"
    }

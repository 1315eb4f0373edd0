"""docs/policy-authoring.md: its files are written, its commands are run one after another, and print what it says."""

import json
import os
import re
import select
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli_runner import run

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "policy-authoring.md"
START_SECONDS_MAX = 60
_FILE = r"`([a-z_./]+\.(?:rego|json|yaml))`:\n\n```[a-z]+\n(.*?)^```$"
_PARTS = re.compile(rf"{_FILE}|^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_EXIT = re.compile(r"\(exit (\d+)\)\n?$")
_SERVE = "missiongate serve --home gateway &"


class Reader:
    """Somebody who does what the page says, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._server: Any = None  # of subprocess
        self._environment: dict[str, str] = {}
        programs = folder / "bin"
        programs.mkdir()
        (programs / "missiongate").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gateway "$@"\n')
        (programs / "missiongate").chmod(0o755)
        self._shell = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "COLUMNS": "200"}

    def run(self, command: str) -> tuple[str, int]:
        """Run a command, in this process where no shell is needed; return what it prints, and its exit code."""
        if command == _SERVE:
            self._serve()
            return "", 0
        words = shlex.split(command)
        if words[0] == "missiongate" and not {"|", ">"} & set(words):
            done = run(*words[1:], width=200, env=self._environment)
            return done.out + done.err, done.code
        ran = subprocess.run(
            ["/bin/sh", "-c", command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            env={**os.environ, **self._shell},
        )
        return ran.stdout.decode(), ran.returncode

    def close(self) -> None:
        """End the gateway."""
        if self._server is not None:
            self._server.terminate()
            self._server.communicate(timeout=30)

    def _serve(self) -> None:
        """Start the gateway of the page, on a free port."""
        command = [
            sys.executable,
            "-m",
            "gateway",
            "serve",
            "--home",
            "gateway",
            "--listen",
            "127.0.0.1:0",
            "-o",
            "json",
        ]
        self._server = subprocess.Popen(  # noqa: TID251 - it runs beside the page's commands
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, **self._shell}
        )
        assert select.select([self._server.stdout], [], [], START_SECONDS_MAX)[0]
        self._environment["MISSIONGATE_SERVER"] = json.loads(self._server.stdout.readline())["address"]


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    monkeypatch.chdir(tmp_path)
    someone = Reader(tmp_path)
    yield someone
    someone.close()


def commands(block: str) -> Iterator[tuple[str, str, int]]:
    """Yield each command of a block, what it is to print, and its exit code."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, printed = part.partition("\n")
        found = _EXIT.search(printed)
        yield command, _EXIT.sub("", printed), int(found[1]) if found else 0


def matches(expected: str, printed: str) -> bool:
    """Whether output is as the page says: … is anything in a line, and on a line of its own any lines."""
    lines = [
        "(?:.*\n)*?" if line == "…" else f"{re.escape(line).replace('…', '.*')}\n" for line in expected.splitlines()
    ]
    return re.fullmatch("".join(lines), printed) is not None


@pytest.mark.timeout(300)
def test_the_guide_does_what_it_says(reader: Reader) -> None:
    """From a new gateway to a rule in force, and back."""
    done = 0
    for name, text, block in _PARTS.findall(PAGE.read_text()):
        if name:
            Path(name).write_text(text)
            continue
        for command, expected, code in commands(block):
            printed, exited = reader.run(command)
            assert matches(expected, printed), f"{command}\n--- the page\n{expected}\n--- printed\n{printed}"
            assert exited == code, command
            done += 1
    assert done >= 20

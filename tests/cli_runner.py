"""Runs the command line in this process, without the environment of whoever runs the tests."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from typer.testing import CliRunner

from gateway.cli.app import app
from gateway.cli.output import ERR, OUT

FOREIGN = (
    *(f"MISSIONGATE_{name}" for name in ("HOME", "SERVER", "TOKEN", "CA", "CERT", "CERT_KEY", "DEBUG")),
    "FORCE_COLOR",
)
CLEAN: dict[str, str | None] = dict.fromkeys(FOREIGN)


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON value on standard output."""
        assert self.out.count("\n") == 1, self.out
        return orjson.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """The JSON values on standard output, one a line."""
        return [orjson.loads(line) for line in self.out.splitlines()]


def run(*args: object, stdin: bytes = b"", width: int = 80, env: Mapping[str, str] | None = None) -> Ran:
    """Run `missiongate` with `args`; an exception that gets out of it fails the test."""
    for console in (OUT, ERR):  # rich reads COLUMNS when a console is made, which was at import
        console.width = width
    result = CliRunner().invoke(
        app,
        [str(arg) for arg in args],
        input=stdin,
        env={**CLEAN, **(env or {})},
    )
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ran(result.exit_code, result.stdout_bytes.decode(), result.stderr_bytes.decode())

"""The real `opa`, where an author has it: found on the PATH, and its errors as findings."""

import shutil
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from gateway.errors import ConfigurationError
from gateway.policy.authoring.findings import Finding


class PolicyEngineName(StrEnum):
    """What evaluates the rules of a command."""

    REGORUS = "regorus"
    OPA = "opa"


EngineOption = Annotated[
    PolicyEngineName, typer.Option(help="regorus, as the gateway has it; opa: the program of that name on the PATH.")
]


def opa_program() -> str:
    """Return the path of `opa`.

    Raises:
        ConfigurationError: `policy.no_opa`, there is none on the PATH.
    """
    found = shutil.which("opa")
    if found is None:
        raise ConfigurationError(
            "there is no `opa` on the PATH; https://www.openpolicyagent.org/docs has it", code="policy.no_opa"
        )
    return found


def opa_findings(answer: bytes, code: int, bundle: Path) -> list[Finding]:
    """Return the errors that `opa check --format json` prints; none where it exits with 0."""
    if code == 0:
        return []
    try:
        errors: list[Any] = orjson.loads(answer)["errors"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return [Finding("", None, "opa.failed", answer.decode("utf-8", "replace").strip()[:2_000])]
    return [_finding(error, bundle) for error in errors]


def _finding(error: Any, bundle: Path) -> Finding:
    place = error.get("location") or {}
    file, row = str(place.get("file", "")), place.get("row")
    source = ""
    if file and row:
        try:
            source = Path(file).read_text().split("\n")[row - 1]
        except (OSError, ValueError, IndexError):
            source = ""
        file = file.removeprefix(f"{bundle.as_posix().removeprefix('./').rstrip('/')}/")
    return Finding(file, row, f"opa.{error.get('code', 'error')}", str(error.get("message", "")), source=source)

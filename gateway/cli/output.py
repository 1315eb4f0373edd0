"""How results and errors look: a short human form, and one JSON form for programs; and the exit codes."""

from collections.abc import Iterable, Mapping
from enum import IntEnum, StrEnum
from typing import Any, NoReturn

import grpc
import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.errors import EngineError, FaultError, MissionInvalidError, Violation
from gateway.client import CallError
from gateway.errors import ConfigurationError, PolicyDeniedError, SanitizationError


class Exit(IntEnum):
    """What the command line returns; stable."""

    OK = 0
    FAILED = 1  # the mission, or the verification, failed
    USAGE = 2  # usage, configuration, or a document that is no mission
    REFUSED = 3  # by sanitizer, limit or policy
    UNAVAILABLE = 4  # no gateway, or one that cannot answer


class Output(StrEnum):
    """The forms of output."""

    TEXT = "text"
    JSON = "json"


OUT = Console(highlight=False, soft_wrap=True)
ERR = Console(stderr=True, highlight=False, soft_wrap=True)

_CALL_EXITS: Mapping[grpc.StatusCode, Exit] = {
    grpc.StatusCode.PERMISSION_DENIED: Exit.REFUSED,
    grpc.StatusCode.UNAUTHENTICATED: Exit.USAGE,
    grpc.StatusCode.NOT_FOUND: Exit.USAGE,
    grpc.StatusCode.FAILED_PRECONDITION: Exit.USAGE,
}
_STATE_STYLE: Mapping[str, str] = {
    "Completed": "green",
    "Success": "green",
    "Failed": "red",
    "Partial": "yellow",
    "Cancelled": "yellow",
    "Skipped": "dim",
    "Executing": "cyan",
}


def print_json(value: object) -> None:
    """Print one JSON value on one line."""
    typer.echo(orjson.dumps(value).decode())


def styled(state: str) -> Text:
    """Return a state in its colour."""
    return Text(state, style=_STATE_STYLE.get(state, ""))


def exit_of(error: EngineError) -> Exit:
    """Return the exit code of an error."""
    if isinstance(error, MissionInvalidError):
        return Exit.USAGE if error.malformed else Exit.REFUSED
    if isinstance(error, SanitizationError | PolicyDeniedError):
        return Exit.REFUSED
    if isinstance(error, ConfigurationError):
        return Exit.USAGE
    return Exit.UNAVAILABLE if isinstance(error, FaultError) else Exit.USAGE


def exit_of_call(error: CallError) -> Exit:
    """Return the exit code of a failed call."""
    if error.status is grpc.StatusCode.INVALID_ARGUMENT:
        return Exit.USAGE if error.malformed else Exit.REFUSED
    return _CALL_EXITS.get(error.status, Exit.UNAVAILABLE)


def errors_document(error: EngineError) -> list[dict[str, object]]:
    """Return an error as `[{"code","message","field","line"}]`: one entry a violation or reason."""
    if isinstance(error, MissionInvalidError | SanitizationError):
        return [violation_document(v) for v in error.violations]
    if isinstance(error, PolicyDeniedError) and error.reasons:
        return [{"code": r.code, "message": r.message, "field": "", "line": None} for r in error.reasons]
    return [{"code": error.code, "message": error.message, "field": "", "line": None}]


def violation_document(violation: Violation) -> dict[str, object]:
    """Return a violation as JSON."""
    return {
        "code": violation.code,
        "message": violation.message,
        "field": violation.field,
        "line": violation.line,
    }


def fail(error: EngineError, output: Output, *, source: str = "") -> NoReturn:
    """Print an error and leave with its exit code."""
    fail_with(errors_document(error), exit_of(error), output, source=source)


def fail_call(error: CallError, output: Output, *, source: str = "") -> NoReturn:
    """Print a failed call and leave with its exit code."""
    fail_with(error.errors, exit_of_call(error), output, source=source)


def fail_with(errors: Iterable[Mapping[str, Any]], code: Exit, output: Output, *, source: str = "") -> NoReturn:
    """Print errors and leave."""
    if output is Output.JSON:
        print_json({"errors": list(errors)})
    else:
        print_errors(errors, source)
    raise typer.Exit(code)


def print_errors(errors: Iterable[Mapping[str, Any]], source: str = "", *, console: Console = ERR) -> None:
    """Print errors as `file:line  field  message  (code)`, most telling part first."""
    for error in errors:
        line = Text("✗ ", style="red")
        place = ":".join(str(part) for part in (source, error.get("line")) if part)
        if place:
            line.append(f"{place} ", style="bold")
        if error.get("field"):
            line.append(f"{error['field']} ", style="cyan")
        line.append(str(error["message"]))
        line.append(f"  [{error['code']}]", style="dim")
        console.print(line)


def steps_table(results: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return a table of step results."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, justify in (("step", "left"), ("status", "left"), ("ms", "right"), ("what happened", "left")):
        table.add_column(title, justify="right" if justify == "right" else "left", overflow="fold")
    for step_id, result in results.items():
        error = result.get("error")
        told = f"{error['message']}  [{error['code']}]" if error else _short(result.get("output"))
        table.add_row(step_id, styled(result["status"]), f"{result['duration_ms']:.1f}", Text(told))
    return table


def _short(output: object, limit: int = 96) -> str:
    """Return an output as one line of JSON, cut for the eye."""
    text = orjson.dumps(output).decode()
    return text if len(text) <= limit else text[: limit - 1] + "…"

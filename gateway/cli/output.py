"""How results and errors look: a short human form, and one JSON form for programs; and the exit codes."""

import json
import re
from collections.abc import Iterable, Mapping
from enum import IntEnum, StrEnum
from typing import Any, Final, NoReturn

import grpc
import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.audit.errors import KeyFileError
from engine.errors import EngineError, FaultError, MissionInvalidError, Violation
from gateway.client import CallError
from gateway.errors import BackupError, ConfigurationError, PolicyDeniedError, SanitizationError


class Exit(IntEnum):
    """What the command line returns; stable: docs/cli.md."""

    OK = 0
    FAILED = 1  # the mission, or the verification, failed
    USAGE = 2  # usage, configuration, or a document that is no mission
    REFUSED = 3  # by sanitizer, limit or policy
    UNAVAILABLE = 4  # no gateway, or one that cannot answer


class Output(StrEnum):
    """The forms of output."""

    TEXT = "text"
    JSON = "json"


# Nothing printed is markup: a mission named "[red]" is named so. Long lines are the terminal's to wrap, so that what
# is copied has no breaks in it.
OUT: Final = Console(markup=False, emoji=False, highlight=False, soft_wrap=True)
ERR: Final = Console(stderr=True, markup=False, emoji=False, highlight=False, soft_wrap=True)

_OUTPUT_CHARS_MAX: Final = 400  # of a step's output that a line can show
_MINUTE: Final = 60
_HOUR: Final = 3_600
_CALL_EXITS: Final[Mapping[grpc.StatusCode, Exit]] = {
    grpc.StatusCode.PERMISSION_DENIED: Exit.REFUSED,
    grpc.StatusCode.UNAUTHENTICATED: Exit.USAGE,
    grpc.StatusCode.NOT_FOUND: Exit.USAGE,
    grpc.StatusCode.FAILED_PRECONDITION: Exit.USAGE,
}
_NOT_WHOLE: Final = frozenset({"backup.changed", "backup.database", "backup.log_damaged", "backup.rollback"})
_STATE_STYLE: Final[Mapping[str, str]] = {
    "Completed": "green",
    "Success": "green",
    "Failed": "red",
    "Partial": "yellow",
    "Cancelled": "yellow",
    "Skipped": "dim",
    "Executing": "cyan",
    "Retrying": "yellow",
    "Waiting": "yellow",
    "approved": "green",
    "denied": "red",
    "pending": "yellow",
    "enabled": "green",
    "published": "dim",
}
_MISSION: Final = re.compile(r"\bMISSION\b")  # stands for the id, where it is known
_NEXT: Final[Mapping[str, str]] = {  # the commands that help where a code is all that the gateway can know
    "rpc.unavailable": "missiongate serve runs one; --server or MISSIONGATE_SERVER says where it is",
    "audit.locked": "a gateway runs on this home already; a home has one at a time",
    "auth.unauthenticated": "--token-file or MISSIONGATE_TOKEN says who asks; the first is in keys/admin.token",
    "mission.ended": "missiongate get MISSION shows how; missiongate retry MISSION begins it anew",
    "mission.not_ended": "missiongate cancel MISSION ends it; missiongate watch MISSION waits for its end",
    "mission.succeeded": "missiongate get MISSION shows its result; missiongate submit runs another",
    "mission.paused": "missiongate resume MISSION lets it go on",
    "mission.not_paused": "missiongate get MISSION shows its state",
    "mission.not_found": "missiongate list shows the missions there are",
    "mission.too_many_running": "missiongate list --state Executing shows them",
    "mission.request_id_reused": "leave --request-id out, or take another one",
    "approval.not_found": "missiongate approvals MISSION shows those that wait",
    "approval.decided": "missiongate approvals MISSION --all shows who decided",
    "approval.raced": "you have said yes to something else of this mission just now; ask again",
    "approval.digest_mismatch": "missiongate approvals MISSION shows what is to be approved now",
    "approval.expired": "missiongate retry MISSION asks anew, once the mission has ended",
    "approval.own_mission": "somebody else with the role has to decide",
    "approval.not_yours": "somebody with the role has to decide: --token-file names the token",
    "hook.unsigned": "missiongate hook sign FOLDER --key FILE signs it",
    "hook.publisher_untrusted": "publishers in the gateway's missiongate.toml says whose keys it accepts",
    "hook.version_exists": "a version never changes: count it up in hook.toml, and sign again",
    "hook.not_found": "missiongate hook list shows those there are",
    "hook.not_enabled": "missiongate hook list shows what is in force",
    "hook.changed": "missiongate hook list shows what is in force now",
    "hook.nothing_before": "missiongate hook disable takes it out of force",
    "audit.replay_running": "missiongate audit replay MISSION --home HOME needs no gateway",
    "mission.not_recorded": "missiongate audit verify checks the log",
    "format.not_binary": "--format json gives out any result; --step ID picks the output of one step",
}


def print_json(value: object) -> None:
    """Print one JSON value on one line, as UTF-8 whatever the locale says."""
    try:
        raw = orjson.dumps(value)
    except TypeError:  # a lone surrogate, of a file name that is no UTF-8: escaped, it is still JSON
        raw = json.dumps(value, ensure_ascii=True).encode()
    out = typer.get_binary_stream("stdout")
    out.write(raw + b"\n")
    out.flush()


def said(text: object, style: str = "") -> Text:
    """Return foreign text for a terminal: what would move the cursor, hide or reorder is shown escaped instead."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
    return Text(shown, style=style)


def terminal_safe(raw: bytes) -> bytes:
    """Return UTF-8 text for a terminal: what would move the cursor, hide or reorder is an escape of JSON's instead."""
    text = raw.decode("utf-8", "backslashreplace")
    if all(c.isprintable() or c in "\n\t" for c in text):
        return raw
    return "".join(c if c.isprintable() or c in "\n\t" else json.dumps(c)[1:-1] for c in text).encode()


def styled(state: str) -> Text:
    """Return a state in its colour."""
    return said(state, _STATE_STYLE.get(state, ""))


def span(seconds: float) -> str:
    """Return a duration in a few characters: `20 ms`, `9.5 s`, `1m15s`, `2h05m`."""
    if seconds < 1:
        return f"{seconds * 1e3:.0f} ms"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    if seconds < _HOUR:
        return f"{int(seconds // _MINUTE)}m{int(seconds % _MINUTE):02}s"
    return f"{int(seconds // _HOUR)}h{int(seconds % _HOUR // _MINUTE):02}m"


def counted(count: int, noun: str) -> str:
    """Return `1 step`, `2 steps`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def print_facts(facts: Mapping[str, object]) -> None:
    """Print names and values, one pair a line; a value has no break in it, so that it can be copied."""
    width = max(map(len, facts))
    for name, value in facts.items():
        OUT.print(Text.assemble((f"{name:<{width}}  ", "dim"), said(value)))


def exit_of(error: EngineError) -> Exit:
    """Return the exit code of an error."""
    if isinstance(error, MissionInvalidError):
        return Exit.USAGE if error.malformed else Exit.REFUSED
    if isinstance(error, SanitizationError | PolicyDeniedError):
        return Exit.REFUSED
    if isinstance(error, BackupError):
        return Exit.FAILED if error.code in _NOT_WHOLE else Exit.USAGE
    if isinstance(error, ConfigurationError | KeyFileError):
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
        return [error_document(r.code, r.message) for r in error.reasons]
    field = getattr(error, "file", "") or getattr(error, "field", "")  # of a bundle, or of a hook
    return [{**error_document(error.code, error.message), "field": field, "line": getattr(error, "line", None)}]


def violation_document(violation: Violation) -> dict[str, object]:
    """Return a violation as JSON."""
    return {**error_document(violation.code, violation.message), "field": violation.field, "line": violation.line}


def error_document(code: str, message: str) -> dict[str, object]:
    """Return an error of no field as JSON."""
    return {"code": code, "message": message, "field": "", "line": None}


def fail(error: EngineError, output: Output, *, source: str = "", mission: str = "") -> NoReturn:
    """Print an error and leave with its exit code."""
    fail_with(errors_document(error), exit_of(error), output, source=source, mission=mission)


def fail_call(error: CallError, output: Output, *, source: str = "", mission: str = "") -> NoReturn:
    """Print a failed call and leave with its exit code."""
    fail_with(error.errors, exit_of_call(error), output, source=source, mission=mission)


def fail_with(
    errors: Iterable[Mapping[str, Any]], code: Exit, output: Output, *, source: str = "", mission: str = ""
) -> NoReturn:
    """Print errors and leave."""
    if output is Output.JSON:
        print_json({"errors": list(errors)})
    else:
        print_errors(errors, source, mission)
    raise typer.Exit(code)


def print_errors(
    errors: Iterable[Mapping[str, Any]], source: str = "", mission: str = "", *, console: Console = ERR
) -> None:
    """Print errors as `file:line: field: message [code]`, and the command that helps with `mission` in its place.

    The file is named only where an error has a place in it.
    """
    for error in errors:
        line = Text.assemble(("✗ ", "red"))
        if error.get("line"):
            line.append_text(said(f"{source}:{error['line']}: ".lstrip(":"), "bold"))
        if error.get("field"):
            line.append_text(said(f"{error['field']}: ", "cyan"))
        line.append_text(said(error["message"])).append_text(said(f"  [{error['code']}]", "dim"))
        console.print(line)
        for help_ in _NEXT.get(error["code"], "").split("; "):
            if help_:
                console.print(said(f"  → {_MISSION.sub(lambda _: mission or 'MISSION', help_)}", "dim"))


def steps_table(results: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return a table of step results: failures whole, outputs as far as the line goes."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("step", overflow="fold")
    table.add_column("status", no_wrap=True)
    table.add_column("ms", justify="right", no_wrap=True)
    table.add_column("what happened", overflow="fold", ratio=1)
    for step_id, result in results.items():
        if error := result.get("error"):
            told = Text.assemble(said(error["message"]), said(f"  [{error['code']}]", "dim"))
        else:
            told = said(orjson.dumps(result.get("output")).decode()[:_OUTPUT_CHARS_MAX])
            told.no_wrap, told.overflow = True, "ellipsis"
        table.add_row(said(step_id), styled(result["status"]), f"{result['duration_ms']:.1f}", told)
    return table

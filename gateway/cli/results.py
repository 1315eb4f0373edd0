"""Results given out whole: a mission's, or one step's output, in a format of the engine, to a file or to the output."""

import sys
from heapq import nlargest
from pathlib import Path
from typing import Any, Final

import typer

from engine.formats import SLOWEST_MAX, ResultFormat, render
from engine.values import JsonObject, JsonValue
from gateway.cli.output import terminal_safe
from gateway.client import Client
from gateway.errors import ConfigurationError, NotFoundError

_LINE_END: Final = b"\n"


def value_of(client: Client, mission_id: str, step_id: str | None) -> JsonValue:
    """Return a mission's result, or the output of one of its steps, which may be there before the mission's end.

    Raises:
        CallError: the gateway says no.
        NotFoundError: the mission has no result yet, or the step has none, or there is no such step.
    """
    view = client.get(mission_id, document=step_id is None).document()
    if step_id is None:
        if view["result"] is None:
            message = f"the mission has not ended; missiongate watch {mission_id} waits for it"
            raise NotFoundError(message, code="mission.no_result")
        return with_metadata(view)
    results: dict[str, Any] = (view["result"] or {}).get("step_results", {})
    if view["result"] is None:
        results = {each.step_id: each.document() for each in client.results(mission_id) if each.step_id == step_id}
    if step_id not in results:
        message = f"there is no result of a step {step_id!r}; missiongate get {mission_id} shows the mission"
        raise NotFoundError(message, code="step.no_result")
    output: JsonValue = results[step_id]["output"]
    return output


def with_metadata(view: dict[str, Any]) -> JsonObject:
    """Return the documented result of a mission, and beside it `metadata`: what the mission was, what it cost.

    The members are those of `engine.formats.enriched`, as far as a client can know them, and the gateway's own.
    """
    mission, results = view["mission"], view["result"]["step_results"]
    slowest = nlargest(
        SLOWEST_MAX, (id_ for id_ in results if results[id_]["attempts"]), key=lambda id_: results[id_]["duration_ms"]
    )
    metadata: JsonObject = {
        "mission_name": view["name"],
        "mission_version": mission["version"],
        "mission_digest": view["digest"],
        "labels": mission["labels"],
        "strategy": mission["config"]["strategy"],
        "steps_total": view["steps_total"],
        "attempts_total": sum(result["attempts"] for result in results.values()),
        "slowest_steps": [
            {"step_id": id_, "duration_ms": results[id_]["duration_ms"], "attempts": results[id_]["attempts"]}
            for id_ in slowest
        ],
        **{key: view[key] for key in ("submitter", "tenant", "run", "parent_id", "created_at")},
    }
    return {**view["result"], "metadata": metadata}


def give_out(value: JsonValue, format: ResultFormat, file: Path | None) -> None:  # noqa: A002 - the option's name
    """Write a value in a format.

    Raises:
        RefusalError: `format.not_binary`, `format.not_json`.
        ConfigurationError: bytes for a terminal, or a file that cannot be written.
    """
    raw = render(value, format)
    if file is not None:
        _write(file, raw)
        return
    if sys.stdout.isatty():
        if format is ResultFormat.BINARY:
            message = "these bytes are no text; --output-file FILE keeps them, or | passes them on"
            raise ConfigurationError(message, code="format.terminal")
        raw = terminal_safe(raw)
    if format is not ResultFormat.BINARY and not raw.endswith(_LINE_END):
        raw += _LINE_END
    out = typer.get_binary_stream("stdout")
    out.write(raw)
    out.flush()


def _write(file: Path, raw: bytes) -> None:
    try:
        file.write_bytes(raw)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigurationError(f"{file}: {why}", code="output.unwritable") from error

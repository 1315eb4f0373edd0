"""audit ocsf: a local log, a part of one, or an exported bundle, as OCSF on standard output."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final

import orjson
import typer

from engine.errors import EngineError
from gateway.cli.output import Output, fail
from gateway.errors import ConfigurationError
from gateway.exporting.ocsf import Projector
from gateway.exporting.type_filter import TypeFilter

_LINE_BYTES_MAX: Final = 65_536  # docs/audit-format.md, section 2
_NAME_BYTES_MAX: Final = 1_024
_FIELDS: Final = {
    "seq": int,
    "event_id": str,
    "timestamp": str,
    "event_type": str,
    "actor": str,
    "target": str,
    "details": dict,
    "previous_hash": str,
    "hash": str,
}


def ocsf(
    path: Annotated[
        Path,
        typer.Argument(help="A log, an archive of segments, a bundle, or a file of lines.", show_default=False),
    ],
    *,
    include: Annotated[
        list[str] | None,
        typer.Option("--type", help="Only events of this type, or of a beginning and *; repeatable.", metavar="TYPE"),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", help="No events of this type, likewise.", metavar="TYPE")
    ] = None,
    first: Annotated[int, typer.Option("--from", help="The first seq.", min=0)] = 0,
    last: Annotated[int | None, typer.Option("--to", help="The last seq.", min=0)] = None,
    log_name: Annotated[str, typer.Option(help="The log's origin; else as its checkpoint says.")] = "",
    raw: Annotated[bool, typer.Option("--raw", help="With the line itself, and its SHA-256.")] = False,
) -> None:
    """Print events as OCSF, one JSON object a line. Nothing is verified: that is for audit verify."""
    wanted = TypeFilter(include=tuple(include or ()), exclude=tuple(exclude or ()))
    out = typer.get_binary_stream("stdout")
    try:
        projector = Projector(log_name=log_name or _origin(path), raw=raw)
        for event, line in _events(path, first):
            if last is not None and event["seq"] > last:
                break
            if event["seq"] >= first and wanted.takes(event["event_type"]):
                out.write(orjson.dumps(projector.project(event, line)) + b"\n")
    except EngineError as error:
        out.flush()
        fail(error, Output.TEXT)
    out.flush()


def _origin(path: Path) -> str:
    """Return what a folder's checkpoint calls the log; files of lines alone do not say it."""
    try:
        with (path / "checkpoint").open("rb") as file:
            return file.readline(_NAME_BYTES_MAX).decode("utf-8", "replace").strip()
    except OSError:
        return "unknown"


def _files(path: Path, first: int) -> list[Path]:
    """Return the files with lines, in order: of a log, an archive, a bundle, or the one that is named.

    Segments that end before seq `first`, as their names tell, are left out.

    Raises:
        ConfigurationError: `audit.unreadable`, there are none.
    """
    if not path.is_dir():
        return [path]
    if (path / "events.jsonl").exists():
        return [path / "events.jsonl"]
    found = sorted((path / "segments" if (path / "segments").is_dir() else path).glob("*.jsonl"))
    if not found:
        raise ConfigurationError(f"{path}: has neither segments nor events.jsonl", code="audit.unreadable")
    begun = [number for number, each in enumerate(found) if each.stem.isdecimal() and int(each.stem) <= first]
    return found[begun[-1] if begun else 0 :]


def _events(path: Path, first: int) -> Iterator[tuple[dict[str, Any], bytes]]:
    for each in _files(path, first):
        try:
            with each.open("rb") as file:
                yield from _lines(file, each)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise ConfigurationError(f"{each}: {why}", code="audit.unreadable") from error


def _lines(file: BinaryIO, path: Path) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Yield each event and its line, without LF; a torn last line, which a writer may be at, is no event yet."""
    number = 0
    while raw := file.readline(_LINE_BYTES_MAX + 2):
        number += 1
        if not raw.endswith(b"\n") and len(raw) <= _LINE_BYTES_MAX:
            return
        try:
            event = orjson.loads(raw)
        except orjson.JSONDecodeError:
            event = None
        if not isinstance(event, dict) or any(type(event.get(name)) is not kind for name, kind in _FIELDS.items()):
            raise ConfigurationError(f"{path}:{number}: is no event", code="audit.unreadable")
        yield event, raw[:-1]

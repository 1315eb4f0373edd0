"""audit prove and checkpoint: what an auditor takes along, so that nobody needs to be believed later."""

import base64
from pathlib import Path
from typing import Annotated, Final

import orjson
import typer
from rich.text import Text

from gateway.cli.audit_show import write_out
from gateway.cli.audit_source import LogOption, Where, is_seq, reading
from gateway.cli.audit_view import event_text
from gateway.cli.options import Connection, HomeOption, OutputOption, connected, default_home
from gateway.cli.output import OUT, Output, counted, print_json, said
from gateway.client import Consistency, Inclusion
from gateway.errors import ConfigurationError

PROOF_SUFFIX: Final = ".tlog-proof"
EVENT_SUFFIX: Final = ".event"  # of the line that a proof is about, beside it

WitnessedOption = Annotated[bool, typer.Option("--witnessed", help="Under the newest checkpoint of the witnesses.")]


@connected
def prove(
    event: Annotated[
        str | None,
        typer.Argument(help="An event, by seq or event id; with --consistency, the later size.", metavar="EVENT"),
    ] = None,
    *,
    consistency: Annotated[
        int | None,
        typer.Option(
            help="Prove that the log of SIZE events is the beginning of the later one.", metavar="SIZE", min=0
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help=f"Write the proof to FILE{PROOF_SUFFIX}, and the event's line beside it.")
    ] = None,
    witnessed: WitnessedOption = False,
    home: HomeOption = default_home(),  # noqa: B008 - typer calls it, and --help shows the answer
    log: LogOption = None,
    gateway: Connection | None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Prove that an event is in the signed log, or that the log only grew."""
    with reading(Where(log=log, gateway=gateway, home=home), output) as source:
        if consistency is not None:
            later = _size(event)
            proof = source.prove_consistency(consistency, later)
            if out is not None:
                _write(out, orjson.dumps(_consistency_document(proof)) + b"\n")
            _show_consistency(proof, out, output)
            return
        if event is None:
            raise ConfigurationError("name an event, by seq or event id; or --consistency SIZE", code="usage.event")
        found = source.prove_inclusion(event, witnessed=witnessed)
        if out is not None:
            _write(out, found.tlog_proof)
            _write(out.with_suffix(EVENT_SUFFIX), found.event.line)
        _show_inclusion(found, out, output)


@connected
def checkpoint(
    *,
    out: Annotated[Path | None, typer.Option(help="Write it to FILE, which must not be there.", metavar="FILE")] = None,
    witnessed: WitnessedOption = False,
    home: HomeOption = default_home(),  # noqa: B008 - as above
    log: LogOption = None,
    gateway: Connection | None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Print the newest signed checkpoint, to be kept elsewhere: it shows later what was rolled back or rewritten."""
    with reading(Where(log=log, gateway=gateway, home=home), output) as source:
        note = source.checkpoint(witnessed=witnessed)
        if out is not None:
            _write(out, note)
    if output is Output.JSON:
        print_json({"checkpoint": note.decode(), "file": None if out is None else str(out)})
    elif out is None:
        write_out(note)
    else:
        OUT.print(Text.assemble(("✓ ", "green"), said(f"{out} has the checkpoint")))


def _size(text: str | None) -> int:
    if text is None:
        return 0
    if not is_seq(text):
        raise ConfigurationError(f"{text!r} is no size of a log", code="usage.size")
    return int(text)


def _write(path: Path, content: bytes) -> None:
    """Write a file that is not there yet.

    Raises:
        ConfigurationError: `output.unwritable`.
    """
    try:
        with path.open("xb") as file:
            file.write(content)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigurationError(f"{path}: {why}", code="output.unwritable") from error


def _show_inclusion(found: Inclusion, out: Path | None, output: Output) -> None:
    if output is Output.JSON:
        print_json(
            {
                "seq": found.event.seq,
                "size": found.size,
                "hashes": _encoded(found.hashes),
                "checkpoint": found.checkpoint.decode(),
                "event": found.event.line.decode(),
                "tlog_proof": found.tlog_proof.decode(),
                "file": None if out is None else str(out),
            }
        )
        return
    if out is None:
        write_out(found.tlog_proof)
        return
    event = orjson.loads(found.event.line)
    OUT.print(event_text(event, str(event["timestamp"])[11:23]))
    OUT.print(
        Text.assemble(("✓ ", "green"), said(f"{out} proves it: it is one of {counted(found.size, 'signed event')}"))
    )
    OUT.print(said(f"→ missiongate audit verify {out} --event {out.with_suffix(EVENT_SUFFIX)} --key KEY", "dim"))


def _show_consistency(proof: Consistency, out: Path | None, output: Output) -> None:
    if output is Output.JSON:
        print_json({**_consistency_document(proof), "file": None if out is None else str(out)})
        return
    text = f"the first {counted(proof.old_size, 'event')} are the beginning of the {proof.new_size}, by these hashes:"
    OUT.print(said(text))
    for text in _encoded(proof.hashes):
        OUT.print(said(text))


def _consistency_document(proof: Consistency) -> dict[str, object]:
    return {
        "old_size": proof.old_size,
        "new_size": proof.new_size,
        "hashes": _encoded(proof.hashes),
        "checkpoint": proof.checkpoint.decode(),
    }


def _encoded(hashes: tuple[bytes, ...]) -> list[str]:
    return [base64.b64encode(each).decode() for each in hashes]

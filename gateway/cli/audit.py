"""audit verify: check a log offline, with code that shares nothing with its writer."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.text import Text

from engine.audit.verify import VerificationReport, verify_log
from engine.errors import EngineError
from gateway.cli.options import OutputOption
from gateway.cli.output import OUT, Exit, Output, fail, print_facts, print_json, said
from gateway.errors import ConfigurationError

_VERIFIER_KEY: Final = re.compile(r"[^+\s]+\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+")  # C2SP: name+id+key
_FILE_BYTES_MAX: Final = 64 * 1024

app = typer.Typer(help="The audit log.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """The audit log."""


@app.command("verify")
def verify(
    directory: Annotated[Path, typer.Argument(help="The log: holds checkpoint and segments/.")],
    *,
    key: Annotated[str, typer.Option(help="The log's verifier key (name+id+key), or a file that holds it.")],
    checkpoint: Annotated[
        Path | None, typer.Option(help="A checkpoint kept elsewhere: shows rollback and rewriting too.")
    ] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Verify every event, the chain, the tree and the signature; exit 1 naming the first bad event."""
    try:
        outside = _read(checkpoint) if checkpoint else None
        report = verify_log(directory, verifier_key(key), checkpoint=outside)
    except EngineError as error:
        fail(error, output)
    if output is Output.JSON:
        print_json(report_document(report))
    else:
        print_report(report)
    if not report.ok:
        raise typer.Exit(Exit.FAILED)


def verifier_key(key: str) -> str:
    """Return a verifier key given as such, or by the file that holds it.

    Raises:
        ConfigurationError: `audit.unreadable`.
    """
    if _VERIFIER_KEY.fullmatch(key):
        return key
    return _read(Path(key)).decode("ascii", "replace").strip()


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_FILE_BYTES_MAX)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigurationError(f"{path}: {why}", code="audit.unreadable") from error


def report_document(report: VerificationReport) -> dict[str, object]:
    """Return a verification as JSON."""
    return asdict(report)


def print_report(report: VerificationReport) -> None:
    """Print a verification for people."""
    if report.ok:
        OUT.print(Text.assemble(("✓ ", "green"), said(report.message)))
    else:
        OUT.print(Text.assemble(("✗ ", "red"), said(report.message), (f"  [{report.code}]", "dim")))
    rows = {"log": report.origin, "events": str(report.events), "checkpoint": str(report.checkpoint_size)}
    if report.root_hash:
        rows["root"] = report.root_hash
    if report.outside_size is not None:
        rows["extends"] = f"the outside checkpoint of size {report.outside_size}"
    if report.uncovered_lines:
        rows["not signed yet"] = f"{report.uncovered_lines} lines after the checkpoint, not judged"
    if bad := report.first_bad:
        rows["first bad"] = f"event {bad.seq}, {bad.file}:{bad.line}: {bad.reason}"
    print_facts(rows)

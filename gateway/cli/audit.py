"""audit verify: check a log offline, with code that shares nothing with its writer."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from engine.audit.verify import VerificationReport, VerifierKeyError, verify_log
from gateway.cli.options import OutputOption
from gateway.cli.output import OUT, Exit, Output, print_json

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
        vkey = Path(key).read_text().strip() if "+" not in key else key
        outside = checkpoint.read_bytes() if checkpoint else None
    except OSError as error:
        raise typer.BadParameter(f"{error.filename}: {error.strerror}") from error
    try:
        report = verify_log(directory, vkey, checkpoint=outside)
    except VerifierKeyError as error:
        raise typer.BadParameter(str(error)) from error
    if output is Output.JSON:
        print_json(report_document(report))
    else:
        print_report(report)
    if not report.ok:
        raise typer.Exit(Exit.FAILED)


def report_document(report: VerificationReport) -> dict[str, object]:
    """Return a verification as JSON."""
    return asdict(report)


def print_report(report: VerificationReport) -> None:
    """Print a verification for people."""
    if report.ok:
        OUT.print(Text("✓ ", style="green").append(report.message))
    else:
        OUT.print(Text("✗ ", style="red").append(f"{report.message}  ").append(f"[{report.code}]", style="dim"))
    rows = {"log": report.origin, "events": str(report.events), "checkpoint": str(report.checkpoint_size)}
    if report.root_hash:
        rows["root"] = report.root_hash
    if report.outside_size is not None:
        rows["extends"] = f"the outside checkpoint of size {report.outside_size}"
    if report.uncovered_lines:
        rows["not signed yet"] = f"{report.uncovered_lines} lines after the checkpoint, not judged"
    if bad := report.first_bad:
        rows["first bad"] = f"event {bad.seq}, {bad.file}:{bad.line}: {bad.reason}"
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in rows.items():
        table.add_row(Text(name, style="dim"), Text(value))
    OUT.print(table)

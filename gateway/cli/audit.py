"""audit verify: check a log, or what was taken from one, offline, with code that shares nothing with its writer."""

import re
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, TypedDict

import typer
from rich.text import Text

from engine.audit.verify import VerificationReport, verify_bundle, verify_log, verify_proof
from engine.audit.verify.bundle import MANIFEST
from engine.audit.verify.line import LINE_BYTES_MAX
from engine.audit.verify.proof import PROOF_BYTES_MAX, PROOF_SUFFIX
from engine.clock import SystemClock
from engine.errors import EngineError
from gateway.cli.options import OutputOption
from gateway.cli.output import OUT, Exit, Output, fail, print_facts, print_json, said
from gateway.errors import ConfigurationError

_VERIFIER_KEY: Final = re.compile(r"[^+\s]+\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+")  # C2SP: name+id+key
_FILE_BYTES_MAX: Final = 64 * 1024


def verify(
    target: Annotated[
        Path,
        typer.Argument(help="A log's folder, a bundle's folder, or a .tlog-proof.", metavar="TARGET"),
    ],
    *,
    key: Annotated[str, typer.Option(help="The log's verifier key (name+id+key), or a file that holds it.")],
    checkpoint: Annotated[
        list[Path] | None, typer.Option(help="A checkpoint kept elsewhere: shows rollback and rewriting too.")
    ] = None,
    archive: Annotated[Path | None, typer.Option(help="A folder with the segments that the log has pruned.")] = None,
    witness: Annotated[
        list[str] | None, typer.Option(help="A witness's verifier key, or a file that holds it; any number of them.")
    ] = None,
    witnesses_required: Annotated[
        int | None, typer.Option(min=1, help="How many of the witnesses have to have cosigned; else all.")
    ] = None,
    fresh_within: Annotated[
        int | None, typer.Option(min=1, help="Seconds: how old the log's newest signed event may be.")
    ] = None,
    event: Annotated[Path | None, typer.Option(help="Of a .tlog-proof: a file with the event's line.")] = None,
    rotations: Annotated[
        Path | None, typer.Option(help="Of a .tlog-proof: the log's rotations/, where its key has changed.")
    ] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Verify a log, a bundle or one event's proof offline; exit 1 names the first bad event."""
    try:
        options = _Options(
            key=verifier_key(key),
            checkpoints=[_read(path) for path in checkpoint or ()],
            witnesses=[verifier_key(one) for one in witness or ()],
            witnesses_required=witnesses_required,
        )
        if event is not None or target.suffix == PROOF_SUFFIX:
            _refuse(target, archive=archive, fresh_within=fresh_within)
            report = _verify_proof(target, options, event, rotations)
        elif (target / MANIFEST).is_file():
            _refuse(target, archive=archive, fresh_within=fresh_within, rotations=rotations)
            report = verify_bundle(target, options.key, **options.shared())
        else:
            _refuse(target, rotations=rotations)
            report = verify_log(
                target,
                options.key,
                archive=archive,
                fresh_within=timedelta(seconds=fresh_within) if fresh_within is not None else None,
                now=SystemClock().now(),
                **options.shared(),
            )
    except EngineError as error:
        fail(error, output)
    if output is Output.JSON:
        print_json(report_document(report))
    else:
        print_report(report, fresh_within=fresh_within)
    if not report.ok:
        raise typer.Exit(Exit.FAILED)


class _Shared(TypedDict):
    """What a log, a bundle and a proof are all held against."""

    checkpoint: list[bytes]
    witnesses: list[str]
    witnesses_required: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """The options of every kind of target, read."""

    key: str
    checkpoints: list[bytes]
    witnesses: list[str]
    witnesses_required: int | None

    def shared(self) -> _Shared:
        """Return what the three verifications take alike."""
        return {
            "checkpoint": self.checkpoints,
            "witnesses": self.witnesses,
            "witnesses_required": self.witnesses_required,
        }


def _refuse(target: Path, **given: object) -> None:
    """Refuse options that say nothing about such a target: they would seem to have been checked."""
    for name, value in given.items():
        if value is not None:
            option = "--" + name.replace("_", "-")
            raise ConfigurationError(f"{option} says nothing about {target}", code="audit.option_unfit")


def _verify_proof(path: Path, options: _Options, event: Path | None, rotations: Path | None) -> VerificationReport:
    if event is None:
        raise ConfigurationError("a .tlog-proof is of a line: --event FILE has it", code="audit.event_needed")
    notes = [_read(note) for note in sorted(rotations.glob("*.note"))] if rotations is not None else []
    proof, line = _read(path, PROOF_BYTES_MAX), _read(event, LINE_BYTES_MAX + 1)
    return verify_proof(proof, line, options.key, rotations=notes, **options.shared())


def verifier_key(key: str) -> str:
    """Return a verifier key given as such, or by the file that holds it.

    Raises:
        ConfigurationError: `audit.unreadable`.
    """
    if _VERIFIER_KEY.fullmatch(key):
        return key
    return _read(Path(key)).decode("ascii", "replace").strip()


def _read(path: Path, bytes_max: int = _FILE_BYTES_MAX) -> bytes:
    """Return a file, and one byte more where it is longer than it may be, so that nobody takes a part for the whole."""
    try:
        with path.open("rb") as file:
            return file.read(bytes_max + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigurationError(f"{path}: {why}", code="audit.unreadable") from error


def report_document(report: VerificationReport) -> dict[str, object]:
    """Return a verification as JSON."""
    return asdict(report)


def print_report(report: VerificationReport, *, fresh_within: int | None = None) -> None:
    """Print a verification for people, with what nobody should think was checked."""
    if report.ok:
        OUT.print(Text.assemble(("✓ ", "green"), said(report.message)))
    else:
        OUT.print(Text.assemble(("✗ ", "red"), said(report.message), (f"  [{report.code}]", "dim")))
    rows = {"log": report.origin, "signed by": ", ".join(report.signed_by) or "nobody"}
    if report.rotations:
        rows["key changes"] = ", ".join(f"{r.old} to {r.new} at event {r.seq}" for r in report.rotations)
    rows |= {"events": _events(report), "checkpoint": str(report.checkpoint_size)}
    if report.root_hash:
        rows["root"] = report.root_hash
    if report.newest_event is not None:
        rows["newest event"] = report.newest_event
    if report.outside_size is not None:
        rows["extends"] = f"the outside checkpoint of size {report.outside_size}"
    if report.witnessed_size is not None:
        by = ", ".join(report.witnesses)
        rows["witnessed"] = f"the first {report.witnessed_size} events, at {report.witnessed_at}, by {by}"
    if report.uncovered_lines:
        rows["not signed yet"] = f"{report.uncovered_lines} lines after the checkpoint, not judged"
    if bad := report.first_bad:
        rows["first bad"] = f"event {bad.seq}, {bad.file}:{bad.line}: {bad.reason}"
    if report.ok and (unseen := _unseen(report, fresh_within)):
        rows["would not show"] = unseen
    print_facts(rows)


def _events(report: VerificationReport) -> str:
    """Say how many there are, and of how many the lines are elsewhere or gone."""
    text = str(report.events)
    if report.archived_events:
        text += f", {report.archived_events} of them in the archive"
    if report.pruned_events:
        text += f", {report.pruned_events} of them pruned: only their hashes are here"
    return text


def _unseen(report: VerificationReport, fresh_within: int | None) -> str:
    """Say what this verification could not have found: docs/audit-format.md, section 12, is the whole of it."""
    unseen = []
    if report.target == "log" and fresh_within is None and report.outside_size is None:
        unseen.append("a log put back to an earlier state (--fresh-within, --checkpoint)")
    if report.witnessed_size is None and report.outside_size is None:
        unseen.append("a history written anew by a thief of the key (--witness, --checkpoint)")
    elif report.target == "log" and max(report.witnessed_size or 0, report.outside_size or 0) < report.events:
        seen = max(report.witnessed_size or 0, report.outside_size or 0)
        unseen.append(f"events from {seen} on written anew by a thief of the key")
    return "; ".join(unseen)

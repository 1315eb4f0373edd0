"""audit export: a folder of events that an auditor checks without the log, and without this software."""

from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.text import Text

from engine.audit.export import ExportedEvent, Selection, write_bundle
from engine.clock import SystemClock
from gateway.auditing.facts import facts_of
from gateway.auditing.folder import checkpoint_size
from gateway.cli.audit import verifier_key
from gateway.cli.audit_prove import WitnessedOption
from gateway.cli.audit_source import (
    AllChoice,
    AuditSource,
    DecisionChoice,
    DecisionIdChoice,
    LogOption,
    MissionChoice,
    PrincipalChoice,
    SinceChoice,
    TypeChoice,
    UntilChoice,
    Where,
    filter_of,
    query_of,
    reading,
)
from gateway.cli.options import Connection, HomeOption, OutputOption, connected, default_home
from gateway.cli.output import OUT, Output, counted, print_json, said
from gateway.client import EventQuery
from gateway.errors import ConfigurationError

_NOBODY: Final = "nobody"  # as a filter: the actor of no event


@connected
def export(
    *,
    out: Annotated[Path, typer.Option(help="The folder to make; it must not be there.", metavar="DIR")],
    home: HomeOption = default_home(),  # noqa: B008 - typer calls it, and --help shows the answer
    log: LogOption = None,
    gateway: Connection | None,
    key: Annotated[
        str, typer.Option(help="The log's verifier key, or a file that holds it; else what home or gateway has.")
    ] = "",
    mission: MissionChoice = "",
    principal: PrincipalChoice = "",
    event_type: TypeChoice = None,
    since: SinceChoice = "",
    until: UntilChoice = "",
    decision: DecisionChoice = "",
    decision_id: DecisionIdChoice = "",
    all_tenants: AllChoice = False,
    witnessed: WitnessedOption = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Write events, a proof for each, and the signed checkpoint to a new folder, to be checked offline by anybody."""
    with reading(Where(log=log, gateway=gateway, home=home), output) as source:
        query = query_of(
            mission=mission,
            principal=principal,
            types=event_type,
            since=since,
            until=until,
            decision=decision,
            decision_id=decision_id,
            whole_log=all_tenants,
        )
        note = source.checkpoint(witnessed=witnessed)
        keys = (verifier_key(key),) if key else source.keys()
        if not keys:
            raise ConfigurationError("--key: which key has signed this log?", code="usage.key")
        written = write_bundle(out, _selection(source, query, note, keys[0], complete=_is_all(query, gateway, log)))
    if output is Output.JSON:
        print_json({"directory": str(written.directory), "events": written.events, "size": written.size})
        return
    OUT.print(
        Text.assemble(("✓ ", "green"), said(f"{out} has {counted(written.events, 'event')}, each with its proof"))
    )
    OUT.print(said(f"→ missiongate audit verify {out} --key KEY", "dim"))
    OUT.print(said("  KEY from elsewhere: whoever could forge the folder could forge the key in it, too", "dim"))


def _selection(source: AuditSource, query: EventQuery, note: bytes, key: str, *, complete: bool) -> Selection:
    size = checkpoint_size(note)

    def told(_: str) -> None:
        """Say nothing: a stream that breaks is opened again."""

    events = source.events(replace(query, proof_size=size), told)
    begin = next(events, None)
    found = chain(() if begin is None else (begin,), events)
    wanted = dict(filter_of(query).document())
    if "/" in query.principal:  # a name, and the folder is for others: its events have a pseudonym
        wanted["actor"] = _NOBODY if begin is None else facts_of(begin.line).actor
    return Selection(
        events=(ExportedEvent(seq=each.seq, line=each.line, path=each.hashes) for each in found),
        checkpoint=note,
        vkey=key,
        filter_text=" ".join(f"{name}={value}" for name, value in wanted.items()),
        first=begin.seq if complete and begin is not None else 0,
        end=size,
        complete=complete,
        created=SystemClock().now(),
        rotations=source.rotations(),
    )


def _is_all(query: EventQuery, gateway: Connection | None, log: Path | None) -> bool:
    """Return whether nothing of the log is left out: no filter, and not one tenant's events only."""
    return not filter_of(query).document() and (query.whole_log or gateway is None or log is not None)

"""plan: what would happen to a mission, without running it."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.errors import EngineError
from gateway.admission import Admission
from gateway.cli.options import Connection, DocumentArgument, OutputOption, calling, connected, read_document
from gateway.cli.output import Exit, Output, error_document, fail, print_errors, print_json
from gateway.cli.plan_view import print_draft, print_plan
from gateway.config import Config, load_config
from gateway.identity import Principal
from gateway.missions.views import PlanPreview
from gateway.rules import local_admission


@connected
def plan(
    document: DocumentArgument,
    *,
    gateway: Connection | None,
    home: Annotated[
        Path | None, typer.Option(envvar="MISSIONGATE_HOME", help="Take limits and policy from this gateway's home.")
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="The mission may lack things: say which, apart from what is wrong.")
    ] = False,
    role: Annotated[list[str] | None, typer.Option(help="Role to plan as, without a gateway.")] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Check a mission, order its steps and ask policy about it; nothing runs."""
    raw = read_document(document, output)
    if partial:
        _check_draft(raw, gateway, home, output, source=document)
        return
    if gateway is not None:
        with calling(gateway, output, source=document) as client:
            preview = client.plan(raw).document()
    else:
        try:
            preview = _plan_here(raw, home, tuple(role or ("submitter",)))
        except EngineError as error:
            fail(error, output, source=document)
    errors = _refusals(preview["decisions"])
    if output is Output.JSON:
        print_json({**preview, "errors": errors} if errors else preview)
    else:
        print_plan(preview)
        print_errors(errors)
    if errors:
        raise typer.Exit(Exit.REFUSED)


def _check_draft(raw: bytes, gateway: Connection | None, home: Path | None, output: Output, *, source: str) -> None:
    """Print what is wrong in a draft and what is not there yet; only the former is a failure."""
    if gateway is not None:
        with calling(gateway, output, source=source) as client:
            draft = client.check_draft(raw).document()
    else:
        try:
            draft = _admission(home).draft(raw).document()
        except EngineError as error:
            fail(error, output, source=source)
    if output is Output.JSON:
        print_json(draft)
    else:
        print_draft(draft, source)
    if draft["wrong"]:
        raise typer.Exit(Exit.REFUSED)


def _admission(home: Path | None) -> Admission:
    return local_admission(home, load_config(home) if home is not None else Config())


def _plan_here(raw: bytes, home: Path | None, roles: tuple[str, ...]) -> dict[str, Any]:
    admission = _admission(home)
    sanitized = admission.sanitize(raw)
    caller = Principal(subject="local", tenant="default", roles=roles)
    decision = asyncio.run(admission.ask(sanitized, caller))
    preview = PlanPreview.of(sanitized, decision).document()
    return {**preview, "screens_not_asked": list(admission.unasked)} if admission.unasked else preview


def _refusals(decisions: list[dict[str, Any]]) -> list[dict[str, object]]:
    """Return why the decisions are no, as errors; at least one for each that is."""
    errors = []
    for decision in decisions:
        if not decision["allow"]:
            why = decision["reasons"] or [{"code": "policy.denied", "message": "policy gave no reason"}]
            errors += [error_document(reason["code"], reason["message"]) for reason in why]
    return errors

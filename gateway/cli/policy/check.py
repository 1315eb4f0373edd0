"""policy check: everything for which a gateway would refuse a bundle, with what to write instead."""

import subprocess
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import typer
from rich.console import Console
from rich.text import Text

from engine.errors import EngineError
from gateway.cli.options import OutputOption
from gateway.cli.output import OUT, Exit, Output, counted, print_json, said
from gateway.cli.policy.bundles import BundleArgument, made, read_sources, vetted
from gateway.cli.policy.opa import EngineOption, PolicyEngineName, opa_findings, opa_program
from gateway.config import Config
from gateway.errors import PolicyInvalidError
from gateway.policy.authoring.advice import advice
from gateway.policy.authoring.findings import Finding, finding_of
from gateway.policy.authoring.findings import check as check_sources
from gateway.policy.authoring.sources import Sources
from gateway.policy.bundle import Bundle
from gateway.policy.rego_ast import parse_module
from gateway.rules import Site, bundled_policies, refusals_of

_OPA_SECONDS: Final = 60


def check(
    bundle: BundleArgument = Path(),
    *,
    engine: EngineOption = PolicyEngineName.REGORUS,
    output: OutputOption = Output.TEXT,
) -> None:
    """Tell everything for which a gateway would refuse the bundle; exit 1 where it would."""
    checked, findings = _checked(bundle)
    found = [*findings, *(_of_data(checked) if checked is not None else ())]
    if engine is PolicyEngineName.OPA:
        found += made(output, lambda: _of_opa(bundle))
    errors = sum(finding.severity == "error" for finding in found)
    if output is Output.JSON:
        digest = {} if checked is None else {"bundle": checked.digest, "revision": checked.revision}
        print_json({"ok": not errors, **digest, "findings": [finding.document() for finding in found]})
    else:
        print_findings(found)
        _print_summary(checked, found, errors)
    if errors:
        raise typer.Exit(Exit.FAILED)


def _checked(path: Path) -> tuple[Bundle | None, Sequence[Finding]]:
    """Return a bundle, if it is accepted, and what there is to say of its files."""
    try:
        sources = read_sources(path)
    except PolicyInvalidError as error:
        return None, [finding_of(error, Sources({}))]
    parse = cache(parse_module)  # the same file is vetted, and searched for what nothing reaches
    return check_sources(sources, lambda: vetted(sources, parse), parse)


def print_findings(findings: Sequence[Finding], console: Console = OUT) -> None:
    """Print findings as `file:line: message [code]`, each with its line and what to write instead."""
    for finding in findings:
        mark = ("✗ ", "red") if finding.severity == "error" else ("! ", "yellow")
        line = Text.assemble(mark)
        if finding.file:
            where = finding.file if finding.line is None else f"{finding.file}:{finding.line}"
            line.append_text(said(f"{where}: ", "bold"))
        console.print(line.append_text(said(finding.message)).append_text(said(f"  [{finding.code}]", "dim")))
        if finding.source.strip():
            console.print(Text.assemble((f"  {finding.line:>4} │ ", "dim"), said(finding.source.strip())))
        if finding.instead:
            console.print(said(f"  → write: {finding.instead}", "dim"))


def _print_summary(bundle: Bundle | None, findings: Sequence[Finding], errors: int) -> None:
    warnings = len(findings) - errors
    told = f", {counted(warnings, 'warning')}" if warnings else ""
    if errors:
        OUT.print(Text.assemble((counted(errors, "error"), "red"), told, ": a gateway would not load this bundle"))
    elif bundle is not None:
        revision = f" {bundle.revision}" if bundle.revision else ""
        rules = counted(len(bundle.modules), "file")
        OUT.print(
            Text.assemble(("✓ ", "green"), said(f"a gateway would load this bundle{revision}: {rules} of rules{told}"))
        )
        OUT.print(said(f"  {bundle.digest}", "dim"))


def _of_data(bundle: Bundle) -> Iterator[Finding]:
    """Yield what the gateway's own readers refuse of the bundle's data, and entrypoints that nothing decides."""
    for entrypoint in bundle.missing_entrypoints():
        rule = f"data.gateway.{entrypoint}.decision"
        message = f"nothing decides {rule}: every such request would be denied"
        code = "policy.entrypoint_missing"
        yield Finding("", None, code, message, instead=advice(code).replace("<entrypoint>", entrypoint))
    site = Site.of(None, Config())
    yield from (_finding(error) for error in refusals_of(bundle, site) if error.code != "policy.entrypoint_missing")


def _finding(error: EngineError) -> Finding:
    return Finding("data.json", None, error.code, error.message.removeprefix("data.json: "))


def _of_opa(bundle: Path) -> Iterator[Finding]:
    """Yield what `opa check --strict` says, with the schemas of the gateway's documents.

    Raises:
        ConfigurationError: there is no `opa`.
    """
    schemas = bundled_policies() / "schemas"
    command = [
        opa_program(),
        "check",
        "--strict",
        "--bundle",
        "--schema",
        str(schemas),
        "--format",
        "json",
        str(bundle),
    ]
    ran = subprocess.run(command, capture_output=True, check=False, timeout=_OPA_SECONDS)  # noqa: S603 - the author's own
    return iter(opa_findings(ran.stdout + ran.stderr, ran.returncode, bundle))

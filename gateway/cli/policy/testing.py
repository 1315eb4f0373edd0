"""policy test: the tests of a bundle, run here as `opa test` runs them, with its output and its exit codes."""

import asyncio
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Final

import typer

from engine.clock import SystemClock
from engine.errors import EngineError
from gateway.cli.output import ERR, print_errors
from gateway.cli.policy.bundles import BundleArgument, quiet_workers, read_sources, vetted
from gateway.cli.policy.check import print_findings
from gateway.cli.policy.opa import EngineOption, PolicyEngineName, opa_program
from gateway.cli.policy.testing_view import (
    Format,
    print_coverage,
    print_coverage_json,
    print_results,
    print_results_json,
    threshold_error,
)
from gateway.errors import ConfigurationError
from gateway.policy.authoring.coverage import Coverage, coverage_of
from gateway.policy.authoring.findings import check as check_sources
from gateway.policy.authoring.findings import finding_of
from gateway.policy.authoring.laboratory import laboratory
from gateway.policy.authoring.sources import Sources
from gateway.policy.authoring.suite import Suite, TestCase, matching, read_suite
from gateway.policy.authoring.trials import TestResult, run_tests
from gateway.policy.bundle import Bundle
from gateway.policy.rego_ast import parse_module

_PERCENT_MAX: Final = 100.0


class TestExit(IntEnum):
    """The exit codes of `opa test`, which are this command's."""

    __test__ = False  # of pytest

    PASSED = 0
    ERROR = 1  # the bundle or its tests are not accepted; with --coverage, a test that does not pass as well
    NOT_PASSED = 2  # a test failed, ended in an error or was skipped; coverage is under the threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What was asked for."""

    pattern: str
    seconds: float
    format: Format
    verbose: bool
    coverage: bool
    threshold: float
    zero_on_skipped: bool


def run_suite(
    bundle: BundleArgument = Path(),
    *,
    run: Annotated[str, typer.Option("--run", "-r", help="Only tests whose full name matches.", metavar="REGEX")] = "",
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tell of each test, and why it failed.")] = False,
    format_: Annotated[Format, typer.Option("--format", "-f", help="As `opa test` prints it.")] = Format.PRETTY,
    coverage: Annotated[bool, typer.Option("--coverage", "-c", help="Report what of the rules is tested.")] = False,
    threshold: Annotated[
        float, typer.Option(help="Exit 2 where coverage is less.", min=0, max=_PERCENT_MAX, metavar="PERCENT")
    ] = 0.0,
    timeout: Annotated[float, typer.Option(help="Seconds that one test may take.", min=0.01, max=3_600)] = 5.0,
    exit_zero_on_skipped: Annotated[
        bool, typer.Option("--exit-zero-on-skipped", "-z", help="Skipped tests are no failure.")
    ] = False,
    engine: EngineOption = PolicyEngineName.REGORUS,
) -> None:
    """Run the tests of a bundle: exit 0 if all pass, 2 if one does not, 1 if they cannot be run."""
    wanted = _Wanted(
        pattern=run,
        seconds=timeout,
        format=format_,
        verbose=verbose,
        coverage=coverage or threshold > 0,
        threshold=threshold,
        zero_on_skipped=exit_zero_on_skipped,
    )
    if engine is PolicyEngineName.OPA:
        raise typer.Exit(_run_opa(bundle, wanted))
    try:
        sources, policy, suite = _suite(bundle)
        cases = matching(suite.cases, run)
        results = asyncio.run(_run(policy, suite, cases, wanted))
    except re.error as error:
        print_errors([{"code": "policy.pattern", "message": f"--run: {error}"}])
        raise typer.Exit(TestExit.ERROR) from error
    except EngineError as error:
        print_errors([{"code": error.code, "message": error.message}])
        raise typer.Exit(TestExit.ERROR) from error
    root = root_of(bundle)
    if wanted.coverage:
        raise typer.Exit(_report_coverage(results, sources, suite, wanted, root))
    if format_ is Format.JSON:
        print_results_json(results, root)
    else:
        print_results(results, sources, root, verbose=verbose)
    raise typer.Exit(_exit_of(results, wanted))


def root_of(bundle: Path) -> str:
    """Return what OPA writes before the names of the files of a bundle."""
    path = bundle.as_posix()
    return "" if path == "." else f"{path.removeprefix('./').rstrip('/')}/"


def _suite(path: Path) -> tuple[Sources, Bundle, Suite]:
    """Return a bundle and its tests; print what is wrong with either, and leave with code 1.

    Raises:
        PolicyInvalidError: there is no bundle.
    """
    sources = read_sources(path)
    parse = cache(parse_module)  # until this returns: of each file the tree is asked for three times
    bundle, findings = check_sources(sources, lambda: vetted(sources, parse), parse)
    if bundle is None:
        print_findings([each for each in findings if each.severity == "error"], ERR)
        raise typer.Exit(TestExit.ERROR)
    suite, wrong = read_suite(sources, bundle, parse)
    if wrong:
        print_findings(sorted({finding_of(error, sources) for error in wrong}), ERR)
        ERR.print("  → missiongate policy test --engine opa runs them in OPA itself", style="dim")
        raise typer.Exit(TestExit.ERROR)
    return sources, bundle, suite


async def _run(bundle: Bundle, suite: Suite, cases: Sequence[TestCase], wanted: _Wanted) -> list[TestResult]:
    quiet_workers()  # a test that is ended is told as its result
    async with laboratory(suite.modules, bundle.document, coverage=True) as running:
        return await run_tests(
            running, suite, cases, deadline_ms=max(round(wanted.seconds * 1_000), 1), clock=SystemClock().monotonic
        )


def _exit_of(results: Sequence[TestResult], wanted: _Wanted) -> TestExit:
    fine = {"PASS", "SKIPPED"} if wanted.zero_on_skipped else {"PASS"}
    return TestExit.PASSED if all(result.outcome in fine for result in results) else TestExit.NOT_PASSED


def _report_coverage(
    results: Sequence[TestResult], sources: Sources, suite: Suite, wanted: _Wanted, root: str
) -> TestExit:
    """Print coverage, or what keeps it from being told; return the exit code."""
    failed = [result for result in results if result.outcome in {"FAIL", "ERROR"}]
    if failed:
        print_results(failed, sources, root, verbose=wanted.verbose)
        return TestExit.ERROR
    coverage: Coverage = coverage_of(suite.layouts, [result.lines for result in results])
    if wanted.format is Format.JSON:
        if coverage.percent >= wanted.threshold:
            print_coverage_json(coverage, root)
    else:
        print_results(results, sources, root, verbose=wanted.verbose)
        print_coverage(coverage, root)
    if coverage.percent < wanted.threshold:
        threshold_error(coverage.percent, wanted.threshold)
        return TestExit.NOT_PASSED
    return _exit_of(results, wanted)


def _run_opa(bundle: Path, wanted: _Wanted) -> int:
    """Let the real OPA run the tests; its output and its exit code are the command's."""
    try:
        command = [opa_program(), "test", "--bundle", f"--format={wanted.format.value}"]
    except ConfigurationError as error:
        print_errors([{"code": error.code, "message": error.message}])
        return TestExit.ERROR
    command += [f"--run={wanted.pattern}"] if wanted.pattern else []
    command += ["--verbose"] if wanted.verbose else []
    command += ["--coverage"] if wanted.coverage else []
    command += [f"--threshold={wanted.threshold:g}"] if wanted.threshold else []
    command += ["--exit-zero-on-skipped"] if wanted.zero_on_skipped else []
    command += [f"--timeout={wanted.seconds:g}s", str(bundle)]
    return subprocess.run(command, check=False, env=dict(os.environ)).returncode  # noqa: S603 - the author's own

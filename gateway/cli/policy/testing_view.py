"""How tests and their coverage look: as `opa test` prints them, so that what reads its output reads ours.

Source: v1/tester/reporter.go and v1/cover of OPA 1.22.0.
"""

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import orjson
import typer
from rich.table import Table
from rich.text import Text

from gateway.cli.output import ERR, OUT, said
from gateway.policy.authoring.coverage import Coverage
from gateway.policy.authoring.sources import Sources
from gateway.policy.authoring.trials import TestResult

_LINE: Final = "-" * 80
_ORDER: Final = (("PASS", "PASS"), ("FAIL", "FAIL"), ("SKIPPED", "SKIPPED"), ("ERROR", "ERROR"))
_STYLES: Final = {"PASS": "green", "FAIL": "red", "SKIPPED": "yellow", "ERROR": "red"}
_UNITS: Final = ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs"))
_FULL: Final = 100.0


class Format(StrEnum):
    """The forms of output."""

    PRETTY = "pretty"
    JSON = "json"


def print_results(results: Sequence[TestResult], sources: Sources, root: str, *, verbose: bool) -> None:
    """Print the tests that did not pass (all of them if `verbose`), and how many ended how."""
    last_file, dirty = "", False
    for result in results:
        if not verbose and result.outcome == "PASS":
            continue
        case = result.case
        if last_file and last_file != case.file:
            OUT.print()
        OUT.print(said(f"{root}{case.file}:{case.row}:"))
        last_file, dirty = case.file, True
        OUT.print(_named(result))
        if result.error_code:
            for number, line in enumerate(f"{result.error_code}: {result.error}".splitlines()):
                OUT.print(said(f"{'  ' if number == 0 else '    '}{line}"))
    failed = [result for result in results if result.outcome == "FAIL"]
    if verbose and failed:
        _print_failures(failed, sources, root)
    if dirty:
        OUT.print(_LINE)
    counts = Counter(result.outcome for result in results)
    for outcome, title in _ORDER:
        if counts[outcome]:
            OUT.print(Text(f"{title}: {counts[outcome]}/{len(results)}", _STYLES[outcome]))


def print_results_json(results: Sequence[TestResult], root: str) -> None:
    """Print what `opa test --format json` prints."""
    _print_json([result.document(root) for result in results])


def print_coverage(coverage: Coverage, root: str) -> None:
    """Print a table: how much of each file is tested, and the rows that are not."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("covered", justify="right", no_wrap=True)
    table.add_column("file", overflow="fold")
    table.add_column("rows that no test reaches", overflow="fold")
    for path, file in sorted(coverage.files.items()):
        style = "green" if file.percent == _FULL else "yellow"
        rows = ", ".join(_spans(file.not_covered_rows))
        table.add_row(Text(f"{file.percent:.1f} %", style), said(f"{root}{path}"), said(rows))
    OUT.print(table)
    OUT.print(f"coverage: {coverage.percent:.2f} %")


def print_coverage_json(coverage: Coverage, root: str) -> None:
    """Print what `opa test --coverage` prints."""
    document = coverage.document()
    files = {f"{root}{path}": file.document() for path, file in sorted(coverage.files.items())}
    _print_json({**document, "files": files})


def threshold_error(percent: float, threshold: float) -> None:
    """Say that too little is tested."""
    ERR.print(f"Code coverage threshold not met: got {percent:.2f} instead of {threshold:.2f}")


def duration(nanoseconds: int) -> str:
    """Return a duration as Go prints it: `916.535µs`, `6.471753ms`, `1.5s`."""
    for size, unit in _UNITS:
        if nanoseconds >= size:
            return f"{nanoseconds / size:.9f}".rstrip("0").rstrip(".") + unit
    return f"{nanoseconds}ns" if nanoseconds else "0s"


def _print_failures(failed: Sequence[TestResult], sources: Sources, root: str) -> None:
    OUT.print(_LINE)
    OUT.print("FAILURES")
    OUT.print(_LINE)
    for result in failed:
        OUT.print(_named(result))
        OUT.print()
        if result.failed_at is not None:
            OUT.print(said(f"  {root}{result.case.file}:{result.failed_at}:"))
            OUT.print(said(f"    {sources.line(result.case.file, result.failed_at).strip()}"))
        else:
            OUT.print(said("  its value is not true"))
        OUT.print()


def _named(result: TestResult) -> Text:
    outcome = result.outcome
    text = Text.assemble(said(f"{result.case.full_name}: "), (outcome, _STYLES[outcome]))
    return text if outcome == "SKIPPED" else text.append(f" ({duration(result.duration_ns)})")


def _spans(rows: Sequence[int]) -> list[str]:
    """Return rows as people write them: 3-5, 9."""
    out: list[list[int]] = []
    for row in rows:
        if out and out[-1][1] == row - 1:
            out[-1][1] = row
        else:
            out.append([row, row])
    return [f"{first}-{last}" if last > first else f"{first}" for first, last in out]


def _print_json(value: object) -> None:
    out = typer.get_binary_stream("stdout")
    out.write(orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n")
    out.flush()

"""The counts of a run: as a table by folder and by rule, or as JSON."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tools.conformance.verdicts import Kind, Verdict

_COLUMNS = ((Kind.AGREES, "green"), (Kind.SUPPLIED, "green"), (Kind.REFUSED, "yellow"), (Kind.ENDED, "yellow"))


def document(verdicts: Sequence[Verdict], *, opa: dict[str, str]) -> dict[str, Any]:
    """Return the counts as JSON; `opa` maps the note of each case to how OPA's binary departs from it, if at all."""
    kinds = Counter(verdict.kind.value for verdict in verdicts)
    return {
        "cases": len(verdicts),
        **{kind.value.lower(): kinds.get(kind.value, 0) for kind in Kind},
        "agree": kinds[Kind.AGREES.value] + kinds[Kind.SUPPLIED.value],
        "refused_by_rule": dict(_rules(verdicts).most_common()),
        "folders": {name: dict(sorted(counts.items())) for name, counts in sorted(_folders(verdicts).items())},
        "differences": [{"case": v.case.note, "why": v.why} for v in verdicts if v.kind is Kind.DIFFERENT],
        "opa_departs": [{"case": note, "why": why} for note, why in opa.items()],
    }


def show(console: Console, verdicts: Sequence[Verdict], *, opa: dict[str, str], version: str) -> None:
    """Print the tables, and below them what is wrong, if anything is."""
    console.print(_folder_table(verdicts))
    console.print(_rule_table(verdicts))
    counts = document(verdicts, opa=opa)
    console.print(
        f"{counts['cases']} cases: {counts['agree']} agree ({counts['supplied']} of them by supplied builtins), "
        f"{counts['refused']} refused at load, {counts['ended']} end in an error, {counts['different']} differ"
    )
    console.print(f"OPA {version} says what the cases say" if version and not opa else _opa_line(opa, version))
    for verdict in verdicts:
        if verdict.kind is Kind.DIFFERENT:
            console.print(Text(f"DIFFERENT {verdict.case.note}: {verdict.why}", style="bold red"))


def _opa_line(opa: dict[str, str], version: str) -> str:
    if not version:
        return "No pinned OPA here (tools/install_opa.sh): compared with the recorded answers only"
    return f"OPA {version} departs from {len(opa)} recorded answers: {'; '.join(opa)}"


def _folders(verdicts: Sequence[Verdict]) -> dict[str, Counter[str]]:
    folders: dict[str, Counter[str]] = defaultdict(Counter)
    for verdict in verdicts:
        folders[verdict.case.folder][verdict.kind.value] += 1
    return folders


def _rules(verdicts: Sequence[Verdict]) -> Counter[str]:
    return Counter(verdict.rule for verdict in verdicts if verdict.kind is Kind.REFUSED)


def _folder_table(verdicts: Sequence[Verdict]) -> Table:
    table = Table(title="OPA's cases by folder", header_style="bold", row_styles=["", "dim"])
    table.add_column("folder")
    for kind, style in _COLUMNS:
        table.add_column(kind.value, justify="right", style=style)
    table.add_column(Kind.DIFFERENT.value, justify="right", style="bold red")
    for name, counts in sorted(_folders(verdicts).items()):
        table.add_row(name, *(str(counts[kind.value] or "") for kind in (*[k for k, _ in _COLUMNS], Kind.DIFFERENT)))
    return table


def _rule_table(verdicts: Sequence[Verdict]) -> Table:
    table = Table(title="Refused, by rule", header_style="bold", row_styles=["", "dim"])
    table.add_column("rule")
    table.add_column("cases", justify="right")
    table.add_column("for example")
    first = {verdict.rule: verdict.why for verdict in reversed(verdicts) if verdict.kind is Kind.REFUSED}
    for rule, count in _rules(verdicts).most_common():
        table.add_row(rule, str(count), Text(first[rule], overflow="fold"))
    return table

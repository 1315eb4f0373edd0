"""Coverage of rules by tests, as OPA reports it: ranges of heads that answered and of statements that were looked at.

Source: v1/cover/cover.go of OPA 1.22.0. Its report has ranges of parts of statements as well, which its compiler takes
out of them; the rows are the same. It may count less: OPA's index leaves out definitions whose first statement cannot
hold, and it stops at the first definition that answers, where regorus looks at all of them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.policy.authoring.layout import Layout, Range


@dataclass(frozen=True, slots=True)
class FileCoverage:
    """What of one file tests have covered."""

    covered: tuple[Range, ...]
    not_covered: tuple[Range, ...]

    @property
    def covered_rows(self) -> int:
        """Rows with something that is covered."""
        return len({row for each in self.covered for row in each.rows()})

    @property
    def not_covered_rows(self) -> list[int]:
        """Rows with something that is not."""
        return sorted({row for each in self.not_covered for row in each.rows()})

    @property
    def percent(self) -> float:
        """Covered rows of all that count; 0 where none does."""
        return _percent(self.covered_rows, len(self.not_covered_rows))

    def document(self) -> dict[str, object]:
        """Return the file's part of OPA's report, which leaves out what is empty."""
        fields = {
            "covered": [each.document() for each in self.covered],
            "not_covered": [each.document() for each in self.not_covered],
            "covered_lines": self.covered_rows,
            "not_covered_lines": len(self.not_covered_rows),
            "coverage": _number(self.percent),
        }
        return {name: value for name, value in fields.items() if value}


@dataclass(frozen=True, slots=True)
class Coverage:
    """What tests have covered, by file."""

    files: Mapping[str, FileCoverage]

    @property
    def percent(self) -> float:
        """Covered rows of all files of all that count."""
        files = self.files.values()
        return _percent(sum(each.covered_rows for each in files), sum(len(each.not_covered_rows) for each in files))

    def document(self) -> dict[str, object]:
        """Return OPA's report."""
        files = self.files.values()
        return {
            "files": {path: each.document() for path, each in sorted(self.files.items())},
            "covered_lines": sum(each.covered_rows for each in files),
            "not_covered_lines": sum(len(each.not_covered_rows) for each in files),
            "coverage": _number(self.percent),
        }


def coverage_of(layouts: Mapping[str, Layout], runs: Iterable[Mapping[str, Iterable[int]]]) -> Coverage:
    """Return the coverage of files by what regorus has looked at in each run: lines of their layouts.

    regorus looks at every default. One counts here if its rule was asked for in a run in which no definition answered.
    """
    covered: dict[str, set[Range]] = {path: set() for path in layouts}
    for lines in runs:
        seen = {path: set(found) for path, found in lines.items() if path in layouts}
        answered = {rule for path, rows in seen.items() for row, rule in layouts[path].exits.items() if row in rows}
        for path, rows in seen.items():
            layout = layouts[path]
            covered[path].update(each for row in rows for each in layout.owners.get(row, ()))
            defaults = (found for row, found in layout.defaults.items() if row in rows)
            covered[path].update(each for rule, ranges in defaults if rule not in answered for each in ranges)
    files = {}
    for path, layout in layouts.items():
        rest = {each for each in layout.countable if not any(other.contains(each) for other in covered[path])}
        files[path] = FileCoverage(tuple(sorted(covered[path])), tuple(sorted(rest)))
    return Coverage(files)


def _percent(covered: int, rest: int) -> float:
    return 100.0 * covered / (covered + rest) if covered + rest else 0.0


def _number(value: float) -> float | int:
    """Return a number as Go writes it: 100, not 100.0."""
    return int(value) if value == int(value) else value

"""A type checker sees what a node reads: the good sample passes, and each wrong line of the bad one is an error."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]

GOOD = """
from engine.dsl import Dag, Node

with Dag("etl") as etl:
    count = etl.variable("count", int, default=3)

    @etl.node
    async def extract(count: int = count) -> list[int]:
        return [count]

    @etl.node(timeout_seconds=2)
    def total(rows: list[int] = extract.output) -> int:
        return sum(rows)

    @etl.node(foreach=extract.output)
    async def square(row: int, total: int = total.output) -> float:
        return row * total / 2

    @etl.node(when=lambda rows=extract.output: len(rows) > 3)
    def maybe(rows: list[int] = extract.output) -> str:
        return str(rows)

    @etl.node(foreach=["a"], continue_on_error=True)
    def letters(letter: str) -> str:
        return letter

    later = etl.output_of("report", str)

    @etl.node
    def report(
        squares: list[float] = square.output,
        maybe: str | None = maybe.output,
        letters: list[str | None] | None = letters.output,
    ) -> str:
        return f"{squares} {maybe} {letters}"

node: Node[list[int]] = extract
number: int = etl.run_sync(variables={"count": 1}).output(total)
text: str = etl.run_sync().output(report)

with Dag("outer") as outer:
    taken = outer.include(etl, prefix="x_", variables={"count": 1})
    copied: Node[int] = taken.node(total)
    taken_total = taken.output(total)

    @outer.node
    def last(total: int = taken_total) -> int:
        return total
"""

BAD = """
from engine.dsl import Dag

with Dag("etl") as etl:
    count = etl.variable("count", int, default=3)

    @etl.node
    async def extract(count: str = count) -> list[int]:  # wrong
        return []

    @etl.node
    def total(rows: list[str] = extract.output) -> int:  # wrong
        return len(rows)

    @etl.node(when=lambda rows=extract.output: len(rows) > 3)
    def maybe() -> str:
        return ""

    @etl.node
    def reads_what_may_be_missing(text: str = maybe.output) -> str:  # wrong
        return text

    @etl.node(foreach=extract.output)  # wrong
    def each(row: str) -> str:
        return row

    @etl.node(timeout_secs=3)  # wrong
    def option() -> int:
        return 1

number: str = etl.run_sync().output(total)  # wrong
etl.run_sync(limit=3)  # wrong
"""


def errors_of(tmp_path: Path, text: str) -> list[int]:
    """Return the lines that mypy refuses in strict mode."""
    sample = tmp_path / "sample.py"
    sample.write_text(text)
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--config-file=", str(sample)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.stderr == ""
    return sorted({int(line) for line in re.findall(r"sample\.py:(\d+): error", checked.stdout)})


@pytest.mark.long
def test_a_sound_definition_has_no_type_error(tmp_path: Path) -> None:
    """Sync and async nodes, variables, fan-outs, conditions, results and inclusions are typed as they are written."""
    assert errors_of(tmp_path, GOOD) == []


@pytest.mark.long
def test_each_wrong_access_is_a_type_error(tmp_path: Path) -> None:
    """On its line, and nowhere else."""
    wrong = [number for number, line in enumerate(BAD.splitlines(), 1) if line.endswith("# wrong")]
    assert errors_of(tmp_path, BAD) == wrong

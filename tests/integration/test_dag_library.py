"""The DSL as a program uses it: the example runs, under every strategy and as a stream."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLE = ROOT / "examples" / "dag_library.py"


def test_the_example_runs() -> None:
    """Levels, retries, composition, conditions, strategies with one result, and a stream in which one batch fails."""
    printed = subprocess.run([sys.executable, str(EXAMPLE)], capture_output=True, check=True, text=True, cwd=ROOT)
    both = "{'places': ['Oslo', 'Rome'], 'mean': 4.25, 'frost': 2}"
    assert printed.stdout.splitlines() == [
        "weather: 5 nodes in 4 levels, parallel, at most 8 at a time",
        "variables: places: list[str] = ['Oslo', 'Rome']",
        "  1  measure    [for each item, up to 3 attempts, within 2 s]",
        "  2  together   ← measure",
        "  3  all_mean   ← together",
        "     all_frost  ← together  [conditional]",
        "  4  report     ← all_mean, all_frost",
        f"sequential  Success  {both}",
        f"parallel    Success  {both}",
        f"levels      Success  {both}",
        "Rome was asked 4 times",
        "batch 0: {'places': ['Oslo'], 'mean': -5.0, 'frost': 2}",
        "batch 1: {'places': ['Rome'], 'mean': 13.5, 'frost': 0}",
        "batch 2: foreach.item_failed",
    ]
    assert printed.stderr == ""

"""`python -m tools.conformance [--json] [--no-opa]`: run OPA's cases; exit 1 if one is answered otherwise."""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from tools.conformance import live, report
from tools.conformance.cases import load
from tools.conformance.verdicts import Kind, judge


def main() -> int:
    """Run the cases; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.conformance", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    parser.add_argument("--no-opa", action="store_true", help="compare with the recorded answers only")
    arguments = parser.parse_args()
    os.environ["RUST_BACKTRACE"] = "0"
    verdicts = [judge(case) for case in load()]
    program = None if arguments.no_opa else live.find()
    departs: dict[str, str] = {}
    if program is not None:
        answered = [
            verdict.case for verdict in verdicts if verdict.kind in {Kind.AGREES, Kind.SUPPLIED, Kind.DIFFERENT}
        ]
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "case").mkdir()
            departs = live.departures(program, answered, Path(folder) / "case")
    if arguments.json:
        sys.stdout.write(json.dumps(report.document(verdicts, opa=departs), indent=2) + "\n")
    else:
        report.show(Console(), verdicts, opa=departs, version=live.VERSION if program else "")
    return 1 if departs or any(verdict.kind is Kind.DIFFERENT for verdict in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())

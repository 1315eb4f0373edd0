"""The same cases asked of the pinned OPA: do the recorded answers still hold?"""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tools.conformance.cases import ROOT, Case, ordered

VERSION: Final = (ROOT / "tools" / "opa.version").read_text().strip().removeprefix("v")


def find() -> str | None:
    """Return the path of the pinned OPA, where it is installed."""
    go = Path(os.environ.get("GOPATH") or Path.home() / "go") / "bin" / "opa"
    for candidate in (ROOT / ".tools" / "bin" / "opa", shutil.which("opa"), go):
        if candidate is not None and Path(candidate).is_file():
            command = [str(candidate), "version"]
            found = subprocess.run(command, capture_output=True, check=False, text=True).stdout  # noqa: S603 - OPA
            if f"Version: {VERSION}\n" in found:
                return str(candidate)
    return None


def departures(program: str, cases: Sequence[Case], folder: Path) -> dict[str, str]:
    """Return the note of each case that OPA answers otherwise than recorded, and its answer.

    Args:
        program: the pinned OPA.
        cases: those to ask.
        folder: an empty one, for the files of a case.
    """
    out = {}
    for case in cases:
        found = _ask(program, case, folder)
        expected = None if case.want_error else ordered(case.want)
        if found != expected:
            out[case.note] = str(found)
    return out


def _ask(program: str, case: Case, folder: Path) -> list[str] | None:
    """Return OPA's bindings, None for an error."""
    for old in folder.iterdir():
        old.unlink()
    for name, text in case.texts:
        (folder / name).write_text(text)
    (folder / "data.json").write_text(json.dumps(case.data))
    command = [program, "eval", "--format=json", f"--data={folder}"]
    command += ["--strict-builtin-errors"] if case.strict else []
    if case.input_json is not None:
        (folder.parent / "input.json").write_text(case.input_json)
        command.append(f"--input={folder.parent / 'input.json'}")
    command.append(case.query)
    answer = subprocess.run(command, capture_output=True, check=False, text=True)  # noqa: S603 - OPA
    value: Any = json.loads(answer.stdout)
    if "errors" in value:
        return None
    return ordered([result.get("bindings", {}) for result in value.get("result", [])])

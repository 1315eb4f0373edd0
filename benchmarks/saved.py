"""Figures in a file: what `--save` writes and `--compare` reads."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import Machine
from benchmarks.table import Section
from benchmarks.timing import Effort

FORMAT = 1


class SavedFiguresError(Exception):
    """A file holds no figures that this version wrote."""


@dataclass(frozen=True, slots=True)
class Saved:
    """An earlier run."""

    commit: str
    cpu: str
    effort: str
    figures: Mapping[str, Mapping[str, float]]  # section name → Row.what → ours


def save(path: Path, machine: Machine, effort: Effort, sections: Sequence[Section]) -> None:
    """Write a run.

    Raises:
        OSError: it cannot be written.
    """
    document = {
        "format": FORMAT,
        **asdict(machine),
        "effort": effort.name,
        "rounds": effort.rounds,
        "sections": {section.name: [asdict(row) for row in section.rows] for section in sections},
    }
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def load(path: Path) -> Saved:
    """Read a run.

    Raises:
        SavedFiguresError: it cannot be read, or is none.
    """
    try:
        document: Any = json.loads(path.read_text())
        if document["format"] != FORMAT:
            raise SavedFiguresError(f"{path}: format {document['format']!r}, not {FORMAT}")
        return Saved(
            commit=document["commit"],
            cpu=document["cpu"],
            effort=document["effort"],
            figures={
                name: {row["what"]: float(row["ours"]) for row in rows} for name, rows in document["sections"].items()
            },
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SavedFiguresError(f"{path}: no saved figures ({error})") from error

"""Figures in a file: what `--save` and `--keep` write, and `--compare` and `--keep` read."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import Machine
from benchmarks.table import Row, Section
from benchmarks.timing import EFFORTS, Effort

FORMAT = 1


class SavedFiguresError(Exception):
    """A file holds no figures that this version wrote."""


@dataclass(frozen=True, slots=True)
class Saved:
    """An earlier run."""

    machine: Machine
    effort: Effort
    sections: Mapping[str, Mapping[str, Row]]  # section name → Row.what → the row


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
    """Read an earlier run.

    Raises:
        SavedFiguresError: the file cannot be read, or holds none.
    """
    try:
        document: Any = json.loads(path.read_text())
        if document["format"] != FORMAT:
            raise SavedFiguresError(f"{path}: format {document['format']!r}, not {FORMAT}")
        machine = {name: document[name] for name in ("cpu", "cores", "kernel", "python", "commit", "load")}
        return Saved(
            machine=Machine(**machine),
            effort=EFFORTS[document["effort"]],
            sections={name: {row["what"]: Row(**row) for row in rows} for name, rows in document["sections"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SavedFiguresError(f"{path}: no saved figures ({error})") from error


@dataclass(frozen=True, slots=True)
class Kept:
    """A folder with the figures of the latest whole run, and of the one before it."""

    folder: Path

    @property
    def latest(self) -> Path:
        """Where the latest are."""
        return self.folder / "latest.json"

    @property
    def previous(self) -> Path:
        """Where those before them are."""
        return self.folder / "previous.json"

    def load(self) -> Saved | None:
        """Read the latest run; None: there is none, or another version wrote it, and the next run takes its place."""
        try:
            return load(self.latest)
        except SavedFiguresError:
            return None

    def save(self, machine: Machine, effort: Effort, sections: Sequence[Section]) -> None:
        """Keep a run as the latest."""
        self.folder.mkdir(parents=True, exist_ok=True)
        fresh = self.folder / "fresh.json"
        save(fresh, machine, effort, sections)
        if self.latest.exists():
            self.latest.replace(self.previous)
        fresh.replace(self.latest)

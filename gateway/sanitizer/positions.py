"""Gives violations the line and column of their field in the document that the client sent."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from engine.document import Document
from engine.errors import Violation
from engine.findings import Path

_PART: Final = re.compile(r'\.?([A-Za-z_][A-Za-z0-9_]*)|\[([0-9]{1,9})\]|\[("(?:[^"\\]|\\.)*")\]')


def path_of(field: str) -> Path:
    """Return the path that a field names; the inverse of `gateway.sanitizer.schema.field_path`."""
    path: list[str | int] = []
    for name, index, quoted in _PART.findall(field):
        path.append(name or (int(index) if index else json.loads(quoted)))
    return tuple(path)


def with_positions(violations: Sequence[Violation], document: Document) -> tuple[Violation, ...]:
    """Return `violations` with positions, in one walk over the text; a missing field stands where its parent does."""
    paths = [path_of(violation.field) for violation in violations]
    places = document.locate_all({path[:depth] for path in paths for depth in range(len(path) + 1)})
    placed = []
    for violation, path in zip(violations, paths, strict=True):
        nearest = next((places[path[:depth]] for depth in range(len(path), -1, -1) if path[:depth] in places), None)
        position = nearest.value if nearest is not None else None
        placed.append(
            replace(violation, line=position.line, column=position.column) if position is not None else violation
        )
    return tuple(placed)

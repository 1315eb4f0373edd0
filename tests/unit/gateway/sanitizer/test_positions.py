"""Violations of parameters point into the client's own text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.document import Document, parse_document
from engine.errors import Violation
from engine.mission import MissionLimits
from gateway.sanitizer.positions import path_of, with_positions
from gateway.sanitizer.schema import field_path

YAML = b"""\
steps:
  - id: a
    parameters:
      headers:
        x-id: "1"
      path: ../up
"""


def _violation(field: str) -> Violation:
    return Violation(code="sanitize.path.traversal", message="no", field=field)


@pytest.mark.parametrize(
    ("field", "line", "column"),
    [
        ("steps[0].parameters.path", 6, 13),
        ('steps[0].parameters.headers["x-id"]', 5, 15),
        ("steps[0].parameters.missing", 4, 7),
        ("steps[7].parameters", 2, 3),
        ("", 1, 1),
    ],
)
def test_a_violation_stands_where_its_field_or_the_nearest_parent_does(field: str, line: int, column: int) -> None:
    """Line and column are those of the value, or of what it is missing from."""
    (placed,) = with_positions([_violation(field)], parse_document(YAML, MissionLimits()))
    assert (placed.line, placed.column) == (line, column)


def test_a_document_that_was_never_text_has_no_positions() -> None:
    """A mission that came as a message keeps its violations as they are."""
    violation = _violation("steps[0].parameters.path")
    assert with_positions([violation], Document({"steps": []})) == (violation,)


@given(st.lists(st.one_of(st.integers(0, 10_000), st.text(max_size=12)), min_size=1, max_size=6))
def test_a_path_can_be_read_back_from_its_field(path: list[str | int]) -> None:
    """`path_of` is the inverse of `field_path`, whatever the names are."""
    assert path_of(field_path("root", path)) == ("root", *path)

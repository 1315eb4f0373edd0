"""sanitize, as a filter."""

import pytest

from gateway.cli.sanitize import ArgumentType
from tests.cli_runner import run


def test_each_line_gets_a_verdict_in_order() -> None:
    """Accepted values come back as they were; refused ones do not come back."""
    done = run("sanitize", "path", stdin='"a/b"\n"../x"\nnonsense\n\n"déjà/vu"'.encode())
    assert done.code == 0
    assert [(v["ok"], v["value"]) for v in done.lines] == [
        (True, "a/b"),
        (False, None),
        (False, None),
        (False, None),
        (True, "déjà/vu"),
    ]
    assert all(line.keys() == {"ok", "value", "code"} for line in done.lines)


@pytest.mark.parametrize("kind", list(ArgumentType))
def test_every_type_can_be_asked_for(kind: ArgumentType) -> None:
    """By the name that a schema's x-type gives it; the value may be good or bad, a verdict comes."""
    assert len(run("sanitize", kind.value, stdin=b'"a"\n"\\u0000"\n').lines) == 2


def test_a_line_without_end_is_refused_within_bounds() -> None:
    """A line over the limit is one or more refusals, never a value."""
    assert not any(v["ok"] for v in run("sanitize", "text", stdin=b'"' + b"x" * (17 * 1024 * 1024) + b'"\n').lines)


def test_an_unknown_type_is_usage() -> None:
    """Exit 2, on standard error."""
    done = run("sanitize", "nonsense")
    assert done.code == 2
    assert done.out == ""

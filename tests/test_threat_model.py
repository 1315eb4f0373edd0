"""docs/threat-model.md names tests: each exists, and each promise has one or says whose work it waits for."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "threat-model.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py::\w+)`", TEXT)))


@pytest.mark.parametrize("name", NAMED)
def test_each_test_that_is_named_exists(name: str) -> None:
    """A promise does not outlive what holds it."""
    path, _, test = name.partition("::")
    tree = ast.parse((ROOT / path).read_text())
    tests = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }
    assert test in tests, f"{path} has no test {test}"


def test_every_promise_names_what_holds_it() -> None:
    """A row of a table of promises has a test, or the word that its part is being built."""
    promised = False
    bare = []
    for row in TEXT.splitlines():
        if row.startswith("| promise |"):
            promised = True
        elif not row.startswith("|"):
            promised = False
        elif promised and not row.startswith("|---") and not re.search(r"`tests/[^`]+::|\(pending: \w+\)", row):
            bare.append(row)
    assert bare == []
    assert len(NAMED) > 50


def test_each_kind_of_attacker_has_a_section() -> None:
    """Who sends, writes, serves, decides, connects, shares or operates; and what is not promised."""
    sections = re.findall(r"^## (.+)$", TEXT, re.MULTILINE)
    assert sections == [
        "What is guarded",
        "A hostile mission",
        "A hostile hook or module",
        "A hostile policy author",
        "A hostile bundle server",
        "An OPA beside the gateway",
        "A client on the wire",
        "A co-tenant",
        "The host operator",
        "What is not promised",
    ]

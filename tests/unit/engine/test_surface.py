"""The public surface of the engine: complete, typed, and light to import."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import engine


def test_the_surface_is_the_same_for_programs_and_for_type_checkers() -> None:
    """Every name that a type checker sees is loaded from the same module at run time, and there is no other."""
    tree = ast.parse(Path(engine.__file__).read_text())
    checked = {
        (statement.module, alias.name)
        for block in tree.body
        if isinstance(block, ast.If)
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert checked == {(module, name) for module, names in engine._SURFACE.items() for name in names}
    assert dir(engine) == sorted(name for _, name in checked)


@pytest.mark.parametrize("name", dir(engine))
def test_every_name_of_the_surface_is_there(name: str) -> None:
    """Each can be had from `engine`."""
    assert getattr(engine, name) is not None


def test_what_the_guides_and_examples_import_is_on_the_surface() -> None:
    """A program needs no name of the engine that `import engine` does not offer."""
    root = Path(engine.__file__).parents[1]
    pages = [page for page in (root / "docs").glob("*.md") if "from engine" in page.read_text()]
    imported = {
        name.strip()
        for page in [*pages, *(root / "examples").glob("*.py")]
        for names in re.findall(r"^from engine(?:\.\w+)* import ([\w, ]+)$", page.read_text(), re.MULTILINE)
        for name in names.split(",")
    }
    assert len(imported) > 5
    assert imported <= set(dir(engine))


def test_the_documentation_lists_the_whole_surface() -> None:
    """Every name has its place in the table of docs/engine.md, and no other name has."""
    page = (Path(engine.__file__).parents[1] / "docs" / "engine.md").read_text()
    table = page.partition("## What `import engine` offers")[2].partition("\n## ")[0]
    listed = [name for row in table.splitlines() if row.startswith("|") for name in re.findall(r"`(\w+)`", row)]
    assert sorted(listed) == dir(engine)


def test_any_other_name_is_an_attribute_error() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="nothing_such"):
        engine.nothing_such  # noqa: B018


def test_a_process_that_needs_errors_does_not_load_the_scheduler() -> None:
    """Importing the error tree brings neither asyncio nor a YAML parser along."""
    program = "import sys, engine.errors; print(sorted({'asyncio', 'yaml', 'orjson'} & set(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert printed.stdout.strip() == "[]"

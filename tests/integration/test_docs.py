"""The guides: every Python block runs, in order, and prints what its comments say."""

import contextlib
import io
import linecache
import re
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = [
    DOCS / f"{name}.md"
    for name in (
        "getting-started",
        "dag-definition",
        "execution-strategies",
        "error-handling",
        "performance-tuning",
        "constraints",
    )
]
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_PRINTS = re.compile(r"# prints:(?: (.*))?$", re.MULTILINE)


def blocks(page: Path) -> list[tuple[int, str]]:
    """Return each Python block with the line that it begins on."""
    text = page.read_text()
    return [(text.count("\n", 0, found.start(1)), found.group(1)) for found in _BLOCK.finditer(text)]


def printed_by(page: Path, line: int, block: str, names: dict[str, Any]) -> list[str]:
    """Run one block as if it stood on its line of the page; return what it prints."""
    source = "\n" * line + block
    linecache.cache[str(page)] = (len(source), None, source.splitlines(keepends=True), str(page))
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(source, str(page), "exec", dont_inherit=True), names)  # noqa: S102 - our own pages
    return [each.rstrip() for each in out.getvalue().splitlines()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_guide_does_what_it_says(page: Path) -> None:
    """The blocks of a page share their names, as a reader would type them."""
    names: dict[str, Any] = {"__name__": "guide"}
    assert blocks(page)
    for line, block in blocks(page):
        said = [(text or "").rstrip() for text in _PRINTS.findall(block)]
        assert printed_by(page, line, block, names) == said, f"{page.name}:{line + 1}"

"""Links between the documents lead somewhere: to a file that is there, and to a heading that it has."""

import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent
TRACKED: Final = subprocess.run(
    ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"],
    cwd=ROOT,
    capture_output=True,
    check=True,
    text=True,
)
PAGES: Final = sorted(name for name in TRACKED.stdout.split("\0") if name)
_FENCED: Final = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_LINK: Final = re.compile(r"\]\(([^)\s]+)\)")


def prose(page: Path) -> str:
    """Return a page without its code, in which brackets mean other things."""
    return _FENCED.sub("", page.read_text("utf-8"))


def anchors(page: Path) -> set[str]:
    """Return the names that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ +(.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_each_link_leads_somewhere(name: str) -> None:
    """No page names a file that is not there, or a heading that was renamed."""
    page = ROOT / name
    lost = []
    for link in _LINK.findall(prose(page)):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if link.startswith(("http://", "https://")):
            continue
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []


def test_every_page_of_docs_is_reached() -> None:
    """From the README, by links: who reads on finds each page."""
    found, left = set(), [ROOT / "README.md"]
    while left:
        page = left.pop()
        if page in found or page.suffix != ".md" or not page.is_file():
            continue
        found.add(page)
        left += [(page.parent / link.partition("#")[0]).resolve() for link in _LINK.findall(prose(page))]
    assert {ROOT / name for name in PAGES if re.fullmatch(r"docs/[\w-]+\.md", name)} <= found

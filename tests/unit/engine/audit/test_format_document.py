"""The example in docs/audit-format.md is what the code writes, and verifies."""

import re
from pathlib import Path

from engine.audit.verify import verify_log
from tests.audit_logs import VKEY, make_log, segment

PAGE = Path(__file__).resolve().parents[4] / "docs" / "audit-format.md"


def block(kind: str) -> str:
    """Return the content of the one fenced block of a kind."""
    (found,) = re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return str(found)


def test_the_example_of_the_specification_verifies(tmp_path: Path) -> None:
    """A reader who copies the page's example into files has a log that verifies under the page's key."""
    segment(tmp_path).parent.mkdir()
    segment(tmp_path).write_text(block("jsonl"))
    (tmp_path / "checkpoint").write_text(block("note"))
    report = verify_log(tmp_path, block("vkey").strip())
    assert (report.ok, report.events, report.uncovered_bytes) == (True, 2, 0)


def test_the_example_of_the_specification_is_what_is_written(tmp_path: Path) -> None:
    """With the page's seed the writer makes the page's bytes."""
    directory = make_log(tmp_path / "log", 2)
    assert segment(directory).read_text() == block("jsonl")
    assert (directory / "checkpoint").read_text() == block("note")
    assert block("vkey").strip() == VKEY


def test_every_code_of_the_verifier_is_explained() -> None:
    """Each code that a report can have stands on the page, and the page has no other."""
    sources = (Path(__file__).resolve().parents[4] / "engine" / "audit" / "verify").glob("*.py")
    text = "\n".join(path.read_text() for path in sources)
    kinds = "checkpoint|event|root|log|outside|rotation|seal|tree|prune|witness|proof|bundle"
    codes = set(re.findall(rf'"((?:{kinds})\.[a-z]+)"', text)) - {"witness.quorum", "checkpoint.body", "checkpoint.sig"}
    for kind in re.findall(r'replace\("checkpoint\.", "([a-z]+)\."\)', text):  # of notes that are read alike
        codes |= {f"{kind}.{why}" for why in ("malformed", "unsigned", "signature", "origin")}
    assert len(codes) >= 40
    steps = PAGE.read_text().partition("## 8. ")[2].partition("## 9. ")[0]
    told = {code for row in re.findall(r"^\| (`.*?) \|", steps, re.MULTILINE) for code in re.findall(r"`(.*?)`", row)}
    assert codes == told

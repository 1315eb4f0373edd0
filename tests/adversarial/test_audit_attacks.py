"""Every attack of the table, under every verification: convicted by those that promise it, and claimed by no other."""

import re
from pathlib import Path

import pytest

from engine.audit.verify import VerificationReport, verify_log
from tests.adversarial.audit_attacks import ATTACKS, COLUMNS, UNSEEN, Attack, log
from tests.audit_segments import NEW, OLD, World

PAGE = Path(__file__).resolve().parents[2] / "docs" / "audit-format.md"


def verdict(world: World, directory: Path, column: str, attack: Attack | None = None) -> VerificationReport:
    """Write a log to a new folder, and verify it as a column says."""
    world.write(directory)
    key = (attack.key if attack else NEW).verifier_key()
    archive = directory / "archive" if attack is not None and attack.archive else None
    return verify_log(directory, key, archive=archive, **COLUMNS[column])


@pytest.mark.parametrize("column", COLUMNS)
def test_the_true_log_verifies(tmp_path: Path, column: str) -> None:
    """What is attacked is a good log, also at the moments that attacks put it back to."""
    report = verdict(log(), tmp_path / "log", column)
    assert (report.code, report.events, report.pruned_events) == ("ok", 40, 10)
    assert report.signed_by == (f"example.com/gateway+{NEW.verifier_key().split('+')[1]}",)
    assert [rotation.seq for rotation in report.rotations] == [14]


@pytest.mark.parametrize("events", [1, 10, 11, 15, 20, 21, 33, 34])
@pytest.mark.parametrize("key", [OLD, NEW])
def test_the_true_log_verified_at_every_age(tmp_path: Path, events: int, key: object) -> None:
    """Before and after the change of the key, under either; before it, the log knows nothing of the new one."""
    log(events).write(tmp_path)
    report = verify_log(tmp_path, (OLD if key is OLD else NEW).verifier_key())
    assert report.code == ("ok" if key is OLD or events > 14 else "checkpoint.unsigned")


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_seen_by_what_promises_it(tmp_path: Path, name: str) -> None:
    """Each verification convicts with its code, or finds the log in order: then nobody may rely on it for this."""
    attack = ATTACKS[name]
    world = attack.start()
    attack.change(world)
    codes = tuple(verdict(world, tmp_path / str(number), column, attack).code for number, column in enumerate(COLUMNS))
    assert codes == attack.seen


def test_lines_after_the_checkpoint_are_never_events(tmp_path: Path) -> None:
    """The one attack on lines that no verification convicts is told as what it is: not signed."""
    world = log()
    ATTACKS["lines added after the checkpoint"].change(world)
    report = verdict(world, tmp_path / "log", "folder alone")
    assert (report.events, report.uncovered_lines) == (40, 1)


def rows() -> list[str]:
    """Return the table as the page has it."""
    head = ["attack", *COLUMNS]
    table = [head, ["---"] * len(head)]
    for name, attack in ATTACKS.items():
        table.append([name, *("not seen" if code == UNSEEN else f"`{code}`" for code in attack.seen)])
    return ["| " + " | ".join(row) + " |" for row in table]


def test_the_documentation_has_this_table() -> None:
    """What the page promises is what the tests show, attack by attack."""
    section = PAGE.read_text().partition("## 12. ")[2].partition("\n## ")[0]
    assert re.findall(r"^\|.*\|$", section, re.MULTILINE) == rows()


if __name__ == "__main__":  # prints what the page has to say
    print("\n".join(rows()))  # noqa: T201

"""docs/audit-siem.md and docs/compliance.md against what there is: events, commands, the mapping."""

import re
from pathlib import Path

import pytest
import typer.main

from gateway.audit_config import AuditConfig
from gateway.cli.app import app
from gateway.exporting.ocsf_rows import ROWS, Row

DOCS = Path(__file__).resolve().parents[4] / "docs"
PAGES = ("audit-siem.md", "compliance.md")
GROUPS = {event_type.partition(".")[0] for event_type in ROWS}
OTHER_NAMES = {"policy.uid", "audit.cursor_mismatch", "audit.cursor_unreadable", "audit.archive_mismatch"}


def named(page: str) -> set[str]:
    """Return what a page names between backticks that has the form of an event of ours."""
    words = re.findall(r"`([a-z_]+\.[a-z_]+)`", (DOCS / page).read_text())
    keys = {f"audit.{key}" for key in AuditConfig.model_fields}
    return {word for word in words if word.partition(".")[0] in GROUPS} - OTHER_NAMES - keys


@pytest.mark.parametrize("page", PAGES)
def test_every_event_that_is_named_exists(page: str) -> None:
    """A control without its evidence is worse than none."""
    assert len(named(page)) > 20
    assert named(page) - set(ROWS) == set()


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_is_named_exists(page: str) -> None:
    """In prose and in blocks of code, with the options that it is shown with."""
    groups = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    lines = re.findall(r"missiongate ([a-z]+) ([a-z-]+)([^`\n]*)", (DOCS / page).read_text())
    assert lines
    for group, name, rest in lines:
        command = groups[group].commands[name]
        options = {option for parameter in command.load().params for option in parameter.opts}
        assert set(re.findall(r"(?<= )--[a-z-]+", rest)) <= options, f"{group} {name}"


def told(row: Row) -> tuple[str, str, str]:
    """Return what the table has to say of a row."""
    activity = row.verb or row.event_class.activities[row.activity]
    severity = row.severity.caption
    if row.severity_failed is not None:
        severity += f", {row.severity_failed.caption} where it failed"
    return str(row.event_class.uid), "by the method" if row.kind == "method" else activity, severity


def test_the_table_is_the_mapping() -> None:
    """Every row of the one is in the other, with the same class, activity and severity."""
    rows = re.findall(
        r"^\| `([a-z_.]+)` \| (\d+) \| ([^|]+) \| ([^|]+) \|$", (DOCS / PAGES[0]).read_text(), re.MULTILINE
    )
    assert {name: (uid, activity, severity) for name, uid, activity, severity in rows} == {
        str(name): told(row) for name, row in ROWS.items()
    }


def test_every_control_says_what_it_does_not_cover() -> None:
    """Each table of a framework has three columns, and no row lacks one."""
    tables = re.findall(
        r"\| [a-z]+ \| evidence \| not covered \|\n\|---\|---\|---\|\n((?:\|.*\n)+)", (DOCS / PAGES[1]).read_text()
    )
    assert len(tables) == 4
    for row in "".join(tables).splitlines():
        assert row.count(" | ") == 2, row

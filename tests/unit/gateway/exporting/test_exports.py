"""The exports of a real log, as configured, and what a bundle needs before it may prune."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from engine.clock import SystemClock
from gateway import ruling
from gateway.audit_config import AuditConfig
from gateway.config import Config
from gateway.errors import ConfigurationError
from gateway.exporting.exports import Exports
from gateway.rules import Site
from tests.audit_logs import NAME, append, open_log
from tests.collector import collecting
from tests.decision_records import eventually
from tests.ocsf_schema import breaches


def opened(log: Any, tmp_path: Path, *entries: dict[str, Any]) -> Exports:
    config = AuditConfig.model_validate({"exports": list(entries)})
    settings = config.export_settings(tmp_path)
    return Exports.open(log, tmp_path / "log", settings, log_name=NAME, clock=SystemClock(), chance=lambda: 1.0)


def told(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def names(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir()]


async def test_a_log_goes_to_a_file_and_to_a_collector(tmp_path: Path) -> None:
    """Each with its own filter and cursor; the last event before the stop, too; and a restart repeats nothing."""
    async with collecting() as collector:
        entries: tuple[dict[str, Any], ...] = (
            {"name": "all", "file": "all.ndjson", "raw": True},
            {"name": "siem", "url": f"{collector.url}/x", "exclude": ["audit.*"], "batch_events_max": 2},
        )
        for start in (0, 5):
            log = open_log(tmp_path / "log")
            exports = opened(log, tmp_path, *entries)
            exports.start()
            for number in range(start, start + 5):
                append(log, number)
            await log.durable(append(log, 99))
            await exports.close()
            assert [(state.lag_events, state.last_error) for state in exports.states] == [(0, "")] * 2
            assert exports.next_seq == log.size
            lines = list(log.read(0, 100))
            await log.close()
    everything = told(tmp_path / "all.ndjson")
    assert [each["raw_data"].encode() for each in everything] == lines
    assert [problem for each in everything for problem in breaches(each)] == []
    assert [each["metadata"]["sequence"] for each in collector.events] == list(range(1, len(lines)))
    assert sorted(names(tmp_path / "log" / "cursors")) == ["all.cursor", "siem.cursor"]


async def test_a_cursor_of_another_log_is_seen(tmp_path: Path) -> None:
    """The log was begun anew, as long as before, beside the old cursors: its exports stop, and it does not."""
    entry = {"name": "all", "file": "all.ndjson"}
    states = []
    for number in (1, 2):
        log = open_log(tmp_path / f"segments of {number}")
        await log.durable(append(log, number))
        exports = opened(log, tmp_path, entry)
        exports.start()
        await eventually(lambda made=exports: made.states[0].stopped or made.next_seq == 2)
        states.append(exports.states[0])
        await exports.close()
        await log.durable(append(log, number))
        await log.close()
    assert [state.stopped for state in states] == [False, True]
    assert states[1].last_error == "audit.cursor_mismatch: event 1 is another one"
    assert len(told(tmp_path / "all.ndjson")) == 2


async def test_what_cannot_work_is_told_at_the_start(tmp_path: Path) -> None:
    """A file in a folder that is not there, a URL with a password."""
    log = open_log(tmp_path / "log")
    for place in ({"file": "none/x"}, {"url": "http://u:p@c/"}, {"url": "https://c/", "token_file": "none"}):
        with pytest.raises(ConfigurationError) as refused:
            opened(log, tmp_path, {"name": "x", **place})
        assert refused.value.code == "config.audit_export"
    await log.close()


@pytest.mark.parametrize(
    ("audit", "days", "taken"),
    [({}, None, True), ({}, 30, False), ({"archive": "old"}, 30, True), ({"archive_discard": True}, 30, True)],
)
def test_a_bundle_that_prunes_needs_an_archive(
    audit: dict[str, Any], days: int | None, monkeypatch: pytest.MonkeyPatch, *, taken: bool
) -> None:
    """Or that somebody has said, by name, that evidence may go."""
    monkeypatch.setattr(ruling, "rules_of", lambda *_: SimpleNamespace(commands={}, log_days=days))
    site = Site(config=Config.model_validate({"audit": audit}), base=(), publishers=())
    bundle: Any = None
    if taken:
        assert ruling.checked_rules(bundle, site).log_days == days
    else:
        with pytest.raises(ConfigurationError) as refused:
            ruling.checked_rules(bundle, site)
        assert refused.value.code == "config.audit_archive"

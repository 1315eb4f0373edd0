"""Retention of the log: the oldest closed segments go, archived first, never before an export has them, in order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine.audit.errors import AuditTamperedError
from engine.audit.log import AuditLog
from engine.audit.pruning import prunable
from engine.audit.record import RecordError
from engine.audit.writer import AuditLimits
from engine.errors import FaultError
from gateway.archiving.archive import archive_segment
from gateway.archiving.retention import LOOK_SECONDS, LogRetention, LogRetentionSettings
from gateway.errors import PolicyInvalidError, StoreError
from gateway.policy_data.retention import DAYS_MAX, log_days
from tests import virtual_time
from tests.audit_logs import START, TickingClock, append, open_log

LIMITS = AuditLimits(segment_bytes_max=500, linger_ms_max=0)


class Today:
    """So many days after the log's events."""

    def __init__(self, days: float) -> None:
        self.days = days

    def now(self) -> datetime:
        return START + timedelta(days=self.days)

    def monotonic(self) -> float:
        return 0.0


@asynccontextmanager
async def segmented(directory: Path, events: int = 8) -> AsyncIterator[AuditLog]:
    """Open a log with a segment for every event or two."""
    log = open_log(directory, clock=TickingClock(), limits=LIMITS)
    try:
        for number in range(events):
            await log.durable(append(log, number))
        yield log
    finally:
        await log.close()


def retention(log: Any, tmp_path: Path, **changes: Any) -> LogRetention:
    settings: dict[str, Any] = {"archive": tmp_path / "archive", "discard": False, "hold": timedelta(days=5)}
    settings.update({key: changes.pop(key) for key in tuple(changes) if key in settings})
    fields: dict[str, Any] = {"days": 30, "undelivered": lambda: None, "today": 31.0, **changes}
    today = Today(fields.pop("today"))
    return LogRetention(log, tmp_path / "log", LogRetentionSettings(**settings), today, **fields)


def copies(folder: Path) -> list[Path]:
    return list(folder.glob("archive/*.jsonl"))


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


def pruned(log: AuditLog) -> list[dict[str, Any]]:
    events = map(orjson.loads, log.read(log.first, 1_000))
    return [event["details"] for event in events if event["event_type"] == "audit.pruned"]


async def test_old_segments_are_archived_and_go(tmp_path: Path) -> None:
    """Byte for byte, oldest first, all but the newest closed one; the log says of each where it went, and reopens."""
    async with segmented(tmp_path / "log") as log:
        before = {each.path.name: each.path.read_bytes() for each in prunable(tmp_path / "log")}
        assert len(before) >= 3
        assert await retention(log, tmp_path).prune() == len(before)
        assert {each.name: each.read_bytes() for each in (tmp_path / "archive").iterdir()} == before
        assert not set(before) & {each.name for each in (tmp_path / "log" / "segments").iterdir()}
        told = pruned(log)
        assert [f"{details['first']:020d}.jsonl" for details in told] == sorted(before)
        assert {(details["archived"], details["reason"]) for details in told} == {(True, "retention.log_days")}
        first = log.first
    assert first > 0
    async with segmented(tmp_path / "log", 0) as log:
        assert log.first == first


async def test_what_is_not_old_enough_stays(tmp_path: Path) -> None:
    """To the moment; and without the key in the policy everything does."""
    async with segmented(tmp_path / "log") as log:
        assert await retention(log, tmp_path, today=30.0).prune() == 0
        kept = retention(log, tmp_path, days=None, today=99_999.0)
        assert await kept.prune() == 0
        assert await retention(log, tmp_path, archive=None).prune() == 0
        kept.adopt(1)
        assert await kept.prune() > 0


async def test_without_an_archive_only_what_was_said_by_name_is_discarded(tmp_path: Path) -> None:
    """And the log says that there is no copy."""
    async with segmented(tmp_path / "log") as log:
        assert await retention(log, tmp_path, archive=None, discard=True).prune() > 0
        assert {details["archived"] for details in pruned(log)} == {False}
    assert not (tmp_path / "archive").exists()


@pytest.mark.parametrize(("today", "goes"), [(31.0, False), (35.0, False), (35.1, True)])
async def test_an_export_holds_what_it_has_not_delivered_but_not_for_ever(
    tmp_path: Path, today: float, caplog: pytest.LogCaptureFixture, *, goes: bool
) -> None:
    """Its cursor is in the second segment: the first one goes at once, the others when the hold is over, and loudly."""
    async with segmented(tmp_path / "log") as log:
        segments = prunable(tmp_path / "log")
        cursor = segments[1].seal.first
        count = await retention(log, tmp_path, undelivered=lambda: cursor, today=today).prune()
        assert count == (len(segments) if goes else 1)
    assert ("has not delivered them" if goes else "an export holds them") in caplog.text


async def test_a_copy_that_is_not_what_was_sealed_prunes_nothing(tmp_path: Path) -> None:
    """Another file of that name in the archive: somebody has to look."""
    async with segmented(tmp_path / "log") as log:
        segment = prunable(tmp_path / "log")[0]
        put(tmp_path / "archive" / segment.path.name, b"other")
        with pytest.raises(StoreError) as refused:
            await retention(log, tmp_path).prune()
        assert refused.value.code == "audit.archive_mismatch"
        assert (log.first, pruned(log)) == (0, [])


async def test_a_segment_that_was_changed_is_neither_archived_nor_pruned(tmp_path: Path) -> None:
    """It is evidence, and the good copy of it may be elsewhere."""
    async with segmented(tmp_path / "log") as log:
        segment = prunable(tmp_path / "log")[0]
        segment.path.write_bytes(segment.path.read_bytes().replace(b"worker-0", b"worker-9", 1))
        with pytest.raises((StoreError, AuditTamperedError, RecordError)):
            await retention(log, tmp_path).prune()
        assert log.first == 0
    assert copies(tmp_path) == []


async def test_a_copy_that_is_there_already_is_good(tmp_path: Path) -> None:
    """A crash came between the copy and the pruning; half a copy is begun anew."""
    async with segmented(tmp_path / "log") as log:
        first, second = prunable(tmp_path / "log")[:2]
        archive_segment(first, tmp_path / "archive")
        (tmp_path / "archive" / f"{second.path.name}.tmp").write_bytes(b"hal")
        assert await retention(log, tmp_path).prune() >= 2
    assert {each.suffix for each in (tmp_path / "archive").iterdir()} == {".jsonl"}
    assert {each.stat().st_mode & 0o777 for each in (tmp_path / "archive").iterdir()} == {0o600}


async def test_the_log_is_not_its_own_archive(tmp_path: Path) -> None:
    """A segment would be pruned together with its only copy."""
    async with segmented(tmp_path / "log") as log:
        with pytest.raises(StoreError):
            await retention(log, tmp_path, archive=tmp_path / "log" / "segments").prune()
        assert log.first == 0


def test_it_looks_once_an_hour_and_survives_a_failure(tmp_path: Path) -> None:
    """What failed is tried again, for as long as the gateway runs."""

    async def main() -> int:
        tries = 0
        kept = retention(None, tmp_path)

        async def prune() -> int:
            nonlocal tries
            tries += 1
            raise FaultError("no") if tries % 2 else OSError("full")

        kept.prune = prune  # type: ignore[method-assign]
        running = asyncio.create_task(kept.run())
        await asyncio.sleep(3.5 * LOOK_SECONDS)
        running.cancel()
        return tries

    assert virtual_time.run(main()) == 4


@pytest.mark.parametrize(
    ("data", "days"),
    [({}, None), ({"retention": {"mission_days": 1}}, None), ({"retention": {"log_days": 365}}, 365)],
)
def test_the_bundle_says_how_long(data: Any, days: int | None) -> None:
    """Without the key the log is kept for ever."""
    assert log_days(data) == days


@pytest.mark.parametrize(
    ("retention_data", "field"),
    [
        ({"log_days": 0}, r"retention\.log_days"),
        ({"log_days": DAYS_MAX + 1}, r"retention\.log_days"),
        ({"log_days": True}, r"retention\.log_days"),
        ({"log_days": "30"}, r"retention\.log_days"),
        ({"log_days": None}, r"retention\.log_days"),
        ({"logs_days": 30}, "logs_days"),
        ([], "retention"),
    ],
)
def test_the_bundle_is_read_strictly(retention_data: Any, field: str) -> None:
    """A key that is misspelt would keep everything, or nothing."""
    with pytest.raises(PolicyInvalidError, match=field):
        log_days({"retention": retention_data})

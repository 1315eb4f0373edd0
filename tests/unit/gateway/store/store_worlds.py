"""Missions, results, approvals and effects for tests of the store, and a look at everything that it holds."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from engine.result import MissionResult, MissionState, OverallStatus, StepFailure, StepResult, StepState
from gateway.store.approval_records import NewApproval
from gateway.store.effect_records import EffectRecord
from gateway.store.records import NewMission
from gateway.store.store import Store

START = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
TABLES = ("missions", "mission_documents", "step_results", "mission_events", "approvals", "effects")


class TickingClock:
    """A second passes with every look."""

    def __init__(self) -> None:
        self._looks = 0

    def now(self) -> datetime:
        self._looks += 1
        return START + timedelta(seconds=self._looks)

    def monotonic(self) -> float:
        return float(self._looks)


def mission(name: str, /, **fields: Any) -> NewMission:
    given: dict[str, Any] = {
        "id": name,
        "tenant": "t",
        "submitter": "alice",
        "request_id": f"r-{name}",
        "request_digest": "sha256:r",
        "mission_digest": "sha256:m",
        "name": "n",
        "document": b"{}",
        "steps_total": 3,
    }
    return NewMission(**{**given, **fields})


def part(name: str, /, parent: str, root: str, depth: int = 1, **fields: Any) -> NewMission:
    return mission(name, parent_id=parent, root_id=root, depth=depth, **fields)


def step(name: str, status: StepState = StepState.COMPLETED, code: str = "step.failed", **fields: Any) -> StepResult:
    error = None if status is StepState.COMPLETED else StepFailure(code=code, message="no")
    return StepResult(step_id=name, status=status, error=error, duration_ms=1.5, timestamp=START, **fields)


def ending(name: str, ended_at: datetime = START, state: MissionState = MissionState.FAILED) -> MissionResult:
    return MissionResult(
        mission_id=name,
        state=state,
        overall_status=OverallStatus.PARTIAL,
        step_results={},
        start_time=START,
        end_time=ended_at,
        total_duration_ms=9_000.0,
        steps_completed=1,
        steps_failed=1,
        steps_skipped=1,
        error=StepFailure(code="mission.timeout", message="too long"),
    )


def approval(name: str, mission_id: str, **fields: Any) -> NewApproval:
    given: dict[str, Any] = {
        "id": name,
        "mission_id": mission_id,
        "step_id": "ask",
        "item": None,
        "digest": "sha256:d",
        "bundle": "sha256:b",
        "message": "Ship it?",
        "approvers": ("lead", "approver"),
        "requested_at": START,
        "expires_at": START + timedelta(hours=1),
        "effect_key": f"key-{name}",
    }
    return NewApproval(**{**given, **fields})


def effect(index: int, step_id: str = "s", item: int | None = None, **fields: Any) -> EffectRecord:
    given: dict[str, Any] = {"key": f"k{index}", "op": "file.write", "now": "2026-01-31T12:00:00Z", "seed": "5eed"}
    return EffectRecord(step_id=step_id, item=item, index=index, **{**given, **fields})


async def fill(store: Store, mission_id: str, rows: int = 2) -> None:
    """Give a mission so many rows of each kind."""
    numbers = range(rows)
    await store.save_step_results(mission_id, [step(f"s{n}") for n in numbers])
    await store.append_events(mission_id, 0, [b"{}" for _ in numbers])
    await store.intend_effects(mission_id, [effect(n) for n in numbers])
    for n in numbers:
        await store.create_approval(approval(f"{mission_id}-a{n}", mission_id))


def counts(path: Path) -> Mapping[str, int]:
    """Return how many rows each table has, after a check that the file contradicts itself nowhere."""
    with closing(sqlite3.connect(path)) as connection:
        wrong = connection.execute("PRAGMA foreign_key_check").fetchall()
        wrong += connection.execute("PRAGMA integrity_check").fetchall()
        if wrong != [("ok",)]:
            raise AssertionError(wrong)
        sql = "SELECT count(*) FROM "
        return {table: connection.execute(sql + table).fetchone()[0] for table in TABLES}


def rows_of(path: Path, mission_id: str) -> Mapping[str, int]:
    """Return how many rows each table has of one mission."""
    with closing(sqlite3.connect(path)) as connection:
        found = {}
        for table in TABLES:
            column = "id" if table == "missions" else "mission_id"
            sql = f"SELECT count(*) FROM {table} WHERE {column} = ?"  # noqa: S608 - names of our own
            found[table] = connection.execute(sql, (mission_id,)).fetchone()[0]
        return found

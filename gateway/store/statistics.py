"""What missions and steps of one tenant came to over a time: counts, lengths, errors, trends, and the last of them.

SQLite counts and sorts, without holding the interpreter; what comes back has as many rows as there are kinds, codes
and intervals. At most `ROWS_MAX` missions and steps are looked at, the newest of the time that is asked for, and the
answer says where that were not all. It has a thread and a connection of its own, so that nobody else's query waits.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self

from engine.clock import rfc3339
from gateway.store.opening import open_reader
from gateway.store.paging import invalid_token, mission_before, token_after
from gateway.store.reader import Reader

ROWS_MAX: Final = 100_000
CODES_MAX: Final = 32  # different errors that are told, the most frequent
KINDS_MAX: Final = 256
BUCKETS_MAX: Final = 200  # intervals of a trend
EXECUTIONS_MAX: Final = 200  # of a page
_SEPARATOR: Final = "\n"  # in no id

# The ends of both kinds: a mission is in the time in which it was admitted, a step in that in which it ended.
_STEPS: Final = (
    "WITH recent AS (SELECT timestamp AS moment, step_type AS kind, status, duration_ms, error_code AS code"
    " FROM step_results INDEXED BY step_results_by_time WHERE tenant = :tenant AND timestamp >= :since"
    " AND timestamp < :until ORDER BY timestamp DESC LIMIT :rows)"
)
_MISSIONS: Final = (
    "WITH recent AS (SELECT created_at AS moment, '' AS kind,"
    " CASE WHEN state = 'Cancelled' THEN state ELSE coalesce(overall_status, state) END AS status,"
    " total_duration_ms AS duration_ms, error_code AS code"
    " FROM missions INDEXED BY missions_by_creation WHERE tenant = :tenant AND created_at >= :since"
    " AND created_at < :until AND pruned = 0 ORDER BY created_at DESC LIMIT :rows)"
)
# Nearest rank: the least length that at least that share did not pass. What never ran has no length.
_LENGTHS: Final = (
    " SELECT kind, total, max(duration_ms) AS longest,"
    " min(CASE WHEN place >= total * 0.5 THEN duration_ms END) AS p50,"
    " min(CASE WHEN place >= total * 0.95 THEN duration_ms END) AS p95,"
    " min(CASE WHEN place >= total * 0.99 THEN duration_ms END) AS p99"
    " FROM (SELECT kind, duration_ms, row_number() OVER (PARTITION BY kind ORDER BY duration_ms) AS place,"
    " count(*) OVER (PARTITION BY kind) AS total FROM recent WHERE status <> 'Skipped' AND duration_ms IS NOT NULL)"
    " GROUP BY kind"
)
_COUNTS: Final = " SELECT kind, status, count(*) AS count FROM recent GROUP BY kind, status"
_CODES: Final = (
    " SELECT code, count(*) AS count FROM recent WHERE code IS NOT NULL AND status <> 'Skipped'"
    " GROUP BY code ORDER BY count DESC, code LIMIT :codes"
)
_TREND: Final = (
    " SELECT CAST((unixepoch(substr(moment, 1, 19)) - :first) / :interval AS INTEGER) AS bucket, status,"
    " count(*) AS count, avg(CASE WHEN status <> 'Skipped' THEN duration_ms END) AS mean"
    " FROM recent GROUP BY bucket, status ORDER BY bucket"
)
_EXECUTIONS: Final = (
    "SELECT seq, mission_id, step_id, step_type, status, error_code, duration_ms, attempts, timestamp FROM step_results"
    " WHERE tenant = :tenant AND timestamp >= :since AND timestamp < :until"
    " AND (:kind = '' OR step_type = :kind) AND (:status = '' OR status = :status)"
    # Rows go after keys: the names of steps, which clients chose, are told no longer than what the steps gave.
    " AND EXISTS (SELECT 1 FROM missions WHERE id = mission_id AND pruned = 0 AND erased_at IS NULL)"
    " AND (timestamp, seq) < (:before, :before_seq) ORDER BY timestamp DESC, seq DESC LIMIT :rows"
)
_PLACE: Final = "SELECT timestamp, seq FROM step_results WHERE mission_id = ? AND step_id = ? AND tenant = ?"
_LAST: Final = "~"  # behind every time
_SEQ_LAST: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A time, from its beginning to before its end, and the intervals of its trend."""

    since: datetime
    until: datetime
    interval: timedelta

    @property
    def buckets(self) -> int:
        """How many intervals there are; the last may be shorter."""
        return max(1, -((self.since - self.until) // self.interval))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """How long they took, in ms; of none all are 0."""

    count: int = 0
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Missions, or steps of one kind."""

    kind: str  # "" of missions, and of steps of which it was not kept
    by_status: Mapping[str, int]
    lengths: Lengths

    @property
    def count(self) -> int:
        """All of them."""
        return sum(self.by_status.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """One interval of a trend."""

    since: datetime
    by_status: Mapping[str, int]
    mean_ms: float  # of those that have ended and did not pass unrun


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionSummary:
    """Missions, or steps, over a time."""

    tallies: Sequence[Tally]  # by kind
    codes: Sequence[tuple[str, int]]  # of errors, the most frequent first
    trend: Sequence[Interval]  # each interval, oldest first
    truncated: bool  # there were more than ROWS_MAX, and the newest were looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionRow:
    """A step that has ended."""

    mission_id: str
    step_id: str
    kind: str
    status: str
    code: str  # of its error; "" where there is none
    duration_ms: float
    attempts: int
    ended_at: datetime


class StatisticsStore:
    """Answers from the file of a store. Every method may raise StoreError, and is about one tenant."""

    def __init__(self, reader: Reader, *, rows_max: int = ROWS_MAX) -> None:
        """Prepare; `rows_max` missions, and steps, are looked at."""
        self._reader = reader
        self._rows_max = rows_max

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a store that a gateway of this version has open for writing.

        Raises:
            StoreError: the file cannot be used.
        """
        return cls(Reader(open_reader(path)))

    def close(self) -> None:
        """Let go of the file; blocks while a query is under way."""
        self._reader.stop()
        self._reader.close()

    async def summaries(self, tenant: str, period: Period) -> tuple[ExecutionSummary, ExecutionSummary]:
        """Return what missions came to, and what steps did."""
        values: dict[str, str | int] = {
            "tenant": tenant,
            "since": rfc3339(period.since),
            "until": rfc3339(period.until),
            "rows": self._rows_max,
            "first": int(period.since.timestamp()),
            "interval": int(period.interval.total_seconds()),
            "codes": CODES_MAX,
        }
        return await self._reader.run(
            lambda c: (_summary(c, _MISSIONS, values, period), _summary(c, _STEPS, values, period))
        )

    async def executions(
        self,
        tenant: str,
        *,
        since: datetime,
        until: datetime,
        kind: str = "",
        status: str = "",
        page_size: int,
        page_token: str = "",
    ) -> tuple[Sequence[ExecutionRow], str]:
        """Return a page of steps that have ended, the newest first, and the token of the next page or "".

        Raises:
            SanitizationError: `page_token.invalid`.
        """
        count = max(1, min(page_size, EXECUTIONS_MAX))
        values: dict[str, str | int] = {
            "tenant": tenant,
            "since": rfc3339(since),
            "until": rfc3339(until),
            "kind": kind,
            "status": status,
            "rows": count + 1,
        }
        last = mission_before(page_token) if page_token else ""
        return await self._reader.run(lambda c: _executions(c, values, count, last))


def _summary(
    connection: sqlite3.Connection, recent: str, values: Mapping[str, str | int], period: Period
) -> ExecutionSummary:
    by_kind: dict[str, dict[str, int]] = {}
    for row in connection.execute(recent + _COUNTS, values):
        by_kind.setdefault(row["kind"], {})[row["status"]] = row["count"]
    lengths = {row["kind"]: _lengths(row) for row in connection.execute(recent + _LENGTHS, values)}
    tallies = [
        Tally(kind=kind, by_status=counts, lengths=lengths.get(kind, Lengths()))
        for kind, counts in sorted(by_kind.items())
    ]
    return ExecutionSummary(
        tallies=tallies[:KINDS_MAX],
        codes=[(row["code"], row["count"]) for row in connection.execute(recent + _CODES, values)],
        trend=_trend(connection.execute(recent + _TREND, values), period),
        truncated=sum(tally.count for tally in tallies) >= values["rows"],  # type: ignore[operator]  # it is a number
    )


def _lengths(row: sqlite3.Row) -> Lengths:
    return Lengths(count=row["total"], p50_ms=row["p50"], p95_ms=row["p95"], p99_ms=row["p99"], max_ms=row["longest"])


def _trend(rows: sqlite3.Cursor, period: Period) -> Sequence[Interval]:
    """Return every interval of the period, those with nothing in them as well."""
    counts: dict[int, dict[str, int]] = {}
    spent: dict[int, tuple[float, int]] = {}
    for row in rows:
        bucket = min(max(row["bucket"], 0), period.buckets - 1)
        of = counts.setdefault(bucket, {})
        of[row["status"]] = of.get(row["status"], 0) + row["count"]
        if row["mean"] is not None:
            total, count = spent.get(bucket, (0.0, 0))
            spent[bucket] = (total + row["mean"] * row["count"], count + row["count"])
    return [
        Interval(
            since=period.since + bucket * period.interval,
            by_status=counts.get(bucket, {}),
            mean_ms=spent[bucket][0] / spent[bucket][1] if bucket in spent else 0.0,
        )
        for bucket in range(period.buckets)
    ]


def _executions(
    connection: sqlite3.Connection, values: dict[str, str | int], count: int, last: str
) -> tuple[Sequence[ExecutionRow], str]:
    before, before_seq = _LAST, _SEQ_LAST
    if last:
        mission_id, _, step_id = last.partition(_SEPARATOR)
        row = connection.execute(_PLACE, (mission_id, step_id, values["tenant"])).fetchone()
        if row is None:  # another tenant's is no place in this list
            raise invalid_token()
        before, before_seq = row["timestamp"], row["seq"]
    rows = connection.execute(_EXECUTIONS, {**values, "before": before, "before_seq": before_seq}).fetchall()
    shown = [
        ExecutionRow(
            mission_id=row["mission_id"],
            step_id=row["step_id"],
            kind=row["step_type"],
            status=row["status"],
            code=row["error_code"] or "",
            duration_ms=row["duration_ms"],
            attempts=row["attempts"],
            ended_at=datetime.fromisoformat(row["timestamp"]).astimezone(UTC),
        )
        for row in rows[:count]
    ]
    following = f"{shown[-1].mission_id}{_SEPARATOR}{shown[-1].step_id}" if len(rows) > count else ""
    return shown, token_after(following) if following else ""

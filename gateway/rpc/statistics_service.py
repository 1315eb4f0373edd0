"""gateway.v1.StatisticsService: what a tenant's missions and steps came to, and what rules have used."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from engine.constraints.statistics import RuleStatistics
from engine.result import StepState
from gateway.rpc.bad_request import out_of_range
from gateway.rpc.interceptor import CALLER
from gateway.rpc.ports import StatisticsDesk
from gateway.rpc.timestamps import timestamp
from gateway.rpc.types import Context
from gateway.store.statistics import (
    BUCKETS_MAX,
    EXECUTIONS_MAX,
    ExecutionRow,
    ExecutionSummary,
    Interval,
    Period,
    Tally,
)
from gateway.v1 import statistics_pb2, statistics_pb2_grpc

DAYS_MAX: Final = 366
SUMMARY_DEFAULT: Final = timedelta(hours=24)
LIST_DEFAULT: Final = timedelta(days=7)
INTERVAL_SECONDS_MIN: Final = 60
_INTERVAL_SECONDS_MAX: Final = DAYS_MAX * 86_400
RULES_MAX: Final = 1_000
PAGE_SIZE_DEFAULT: Final = 50
_BUCKETS_DEFAULT: Final = 24
_NAME_CHARS_MAX: Final = 128
_TOKEN_CHARS_MAX: Final = 256
_STATUSES: Final = frozenset({"", StepState.COMPLETED.value, StepState.FAILED.value, StepState.SKIPPED.value})
_GOOD: Final = frozenset({"Success", StepState.COMPLETED.value})
_BAD: Final = frozenset({"Partial", "Failed"})


class StatisticsService(statistics_pb2_grpc.StatisticsServiceServicer):
    """Speaks for the desk."""

    def __init__(self, desk: StatisticsDesk) -> None:
        self._desk = desk

    async def GetStatistics(
        self, request: statistics_pb2.GetStatisticsRequest, _context: Context
    ) -> statistics_pb2.GetStatisticsResponse:
        """Count missions and steps over a time."""
        since, until = self._times(request, SUMMARY_DEFAULT)
        period = _period(since, until, request.interval_seconds)
        missions, steps = await self._desk.summaries(CALLER.get(), period)
        return statistics_pb2.GetStatisticsResponse(
            since=timestamp(period.since),
            until=timestamp(period.until),
            interval_seconds=int(period.interval.total_seconds()),
            missions=_summary(missions),
            steps=_summary(steps),
        )

    async def ListExecutions(
        self, request: statistics_pb2.ListExecutionsRequest, _context: Context
    ) -> statistics_pb2.ListExecutionsResponse:
        """List steps that have ended."""
        since, until = self._times(request, LIST_DEFAULT)
        _check_text("kind", request.kind, _NAME_CHARS_MAX)
        _check_text("page_token", request.page_token, _TOKEN_CHARS_MAX)
        if request.status not in _STATUSES:
            raise out_of_range("status", "must be Completed, Failed, Skipped or empty")
        if request.page_size < 0:
            raise out_of_range("page_size", "must not be negative")
        rows, following = await self._desk.executions(
            CALLER.get(),
            since=since,
            until=until,
            kind=request.kind,
            status=request.status,
            page_size=min(request.page_size or PAGE_SIZE_DEFAULT, EXECUTIONS_MAX),
            page_token=request.page_token,
        )
        return statistics_pb2.ListExecutionsResponse(
            executions=[_execution(row) for row in rows], next_page_token=following
        )

    async def GetConstraintStatistics(
        self, request: statistics_pb2.GetConstraintStatisticsRequest, _context: Context
    ) -> statistics_pb2.GetConstraintStatisticsResponse:
        """Say what rules have used."""
        _check_text("prefix", request.prefix, _NAME_CHARS_MAX)
        found = {name: rule for name, rule in self._desk.constraints().items() if name.startswith(request.prefix)}
        most = sorted(found, key=lambda name: (-found[name].runs, name))[:RULES_MAX]
        return statistics_pb2.GetConstraintStatisticsResponse(rules=[_rule(name, found[name]) for name in most])

    def _times(
        self,
        request: statistics_pb2.GetStatisticsRequest | statistics_pb2.ListExecutionsRequest,
        default: timedelta,
    ) -> tuple[datetime, datetime]:
        """Return beginning and end of the time that is asked for."""
        until = _moment("until", request.until) if request.HasField("until") else self._desk.now()
        since = _moment("since", request.since) if request.HasField("since") else _before(until, default)
        if not timedelta() < until - since <= timedelta(days=DAYS_MAX):
            raise out_of_range("since", f"must be before the end, by {DAYS_MAX} days at most")
        return since, until


def _period(since: datetime, until: datetime, interval_seconds: int) -> Period:
    seconds = (until - since).total_seconds()
    interval = interval_seconds or max(INTERVAL_SECONDS_MIN, -int(-seconds // _BUCKETS_DEFAULT))
    if not INTERVAL_SECONDS_MIN <= interval <= _INTERVAL_SECONDS_MAX or seconds / interval > BUCKETS_MAX:
        span = f"from {INTERVAL_SECONDS_MIN} to {_INTERVAL_SECONDS_MAX}"
        message = f"must be {span}, and make at most {BUCKETS_MAX} intervals of the time"
        raise out_of_range("interval_seconds", message)
    return Period(since=since, until=until, interval=timedelta(seconds=interval))


def _moment(field: str, given: Timestamp) -> datetime:
    try:
        return given.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise out_of_range(field, "must be a time") from error


def _before(until: datetime, span: timedelta) -> datetime:
    try:
        return until - span
    except OverflowError as error:
        raise out_of_range("until", "must be later: nothing is before the year 1") from error


def _check_text(field: str, text: str, chars_max: int) -> None:
    if len(text) > chars_max or not text.isprintable():
        raise out_of_range(field, f"must have at most {chars_max} printable characters")


def _summary(summary: ExecutionSummary) -> statistics_pb2.ExecutionSummary:
    count = sum(tally.count for tally in summary.tallies)
    statuses: dict[str, int] = {}
    for tally in summary.tallies:
        for status, number in tally.by_status.items():
            statuses[status] = statuses.get(status, 0) + number
    return statistics_pb2.ExecutionSummary(
        count=count,
        success_rate=_success_rate(statuses),
        tallies=[_tally(tally) for tally in summary.tallies],
        errors=[
            statistics_pb2.ErrorCount(code=code, count=number, rate=number / count) for code, number in summary.codes
        ],
        trend=[_interval(each) for each in summary.trend],
        truncated=summary.truncated,
    )


def _tally(tally: Tally) -> statistics_pb2.ExecutionTally:
    lengths = tally.lengths
    return statistics_pb2.ExecutionTally(
        kind=tally.kind,
        count=tally.count,
        by_status=tally.by_status,
        success_rate=_success_rate(tally.by_status),
        durations=statistics_pb2.DurationSummary(
            count=lengths.count,
            p50_ms=lengths.p50_ms,
            p95_ms=lengths.p95_ms,
            p99_ms=lengths.p99_ms,
            max_ms=lengths.max_ms,
        ),
    )


def _success_rate(by_status: Mapping[str, int]) -> float | None:
    """Return the share of those that went well, of those that went at all and were not given up."""
    good = sum(count for status, count in by_status.items() if status in _GOOD)
    bad = sum(count for status, count in by_status.items() if status in _BAD)
    return good / (good + bad) if good + bad else None


def _interval(interval: Interval) -> statistics_pb2.ExecutionInterval:
    return statistics_pb2.ExecutionInterval(
        since=timestamp(interval.since), by_status=interval.by_status, mean_ms=interval.mean_ms
    )


def _execution(row: ExecutionRow) -> statistics_pb2.StepExecution:
    return statistics_pb2.StepExecution(
        mission_id=row.mission_id,
        step_id=row.step_id,
        kind=row.kind,
        status=row.status,
        error_code=row.code,
        duration_ms=row.duration_ms,
        attempts=row.attempts,
        ended_at=timestamp(row.ended_at),
    )


def _rule(name: str, rule: RuleStatistics) -> statistics_pb2.RuleUse:
    return statistics_pb2.RuleUse(
        rule=name,
        runs=rule.runs,
        faults=rule.faults,
        violations=dict(rule.violations),
        opened=rule.opened,
        sampled_out=rule.sampled_out,
        cpu_us=rule.cpu_us,
        memory_bytes_peak=rule.memory_bytes_peak,
        p50_us=rule.latency.quantile_us(0.5),
        p95_us=rule.latency.quantile_us(0.95),
        p99_us=rule.latency.quantile_us(0.99),
        max_us=rule.latency.max_us,
    )

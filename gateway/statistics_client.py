"""The part of the client that speaks with StatisticsService: plain values in and out."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from engine.clock import rfc3339
from gateway.calling import Calls
from gateway.rpc.timestamps import timestamp
from gateway.v1 import statistics_pb2, statistics_pb2_grpc

PAGE_SIZE: Final = 200
_LENGTHS: Final = ("count", "p50_ms", "p95_ms", "p99_ms", "max_ms")
_RULE: Final = (
    "rule",
    "runs",
    "faults",
    "opened",
    "sampled_out",
    "cpu_us",
    "memory_bytes_peak",
    "p50_us",
    "p95_us",
    "p99_us",
    "max_us",
)


class StatisticsClient:
    """Calls StatisticsService; every method raises CallError where the call fails."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._statistics = statistics_pb2_grpc.StatisticsServiceStub(calls.channel)

    def summary(
        self, *, since: datetime | None = None, until: datetime | None = None, interval_seconds: int = 0
    ) -> dict[str, Any]:
        """Return `{"since","until","interval_seconds","missions","steps"}` of a time."""
        request = statistics_pb2.GetStatisticsRequest(
            since=timestamp(since), until=timestamp(until), interval_seconds=interval_seconds
        )
        answer = self._calls.one(self._statistics.GetStatistics, request)
        return {
            "since": _time(answer.since),
            "until": _time(answer.until),
            "interval_seconds": answer.interval_seconds,
            "missions": _summary(answer.missions),
            "steps": _summary(answer.steps),
        }

    def executions(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        kind: str = "",
        status: str = "",
        limit: int = PAGE_SIZE,
    ) -> Iterator[dict[str, Any]]:
        """Yield steps that have ended, the newest first, at most `limit`."""
        token, left = "", limit
        while left > 0:
            request = statistics_pb2.ListExecutionsRequest(
                since=timestamp(since),
                until=timestamp(until),
                kind=kind,
                status=status,
                page_size=min(left, PAGE_SIZE),
                page_token=token,
            )
            answer = self._calls.one(self._statistics.ListExecutions, request)
            yield from map(_execution, answer.executions)
            left -= len(answer.executions)
            token = answer.next_page_token
            if not token:
                return

    def constraints(self, prefix: str = "") -> list[dict[str, Any]]:
        """Return what rules have used since the gateway began, those that ran most first."""
        request = statistics_pb2.GetConstraintStatisticsRequest(prefix=prefix)
        answer = self._calls.one(self._statistics.GetConstraintStatistics, request)
        return [
            {**{name: getattr(rule, name) for name in _RULE}, "violations": _counts(rule.violations)}
            for rule in answer.rules
        ]


def _summary(summary: statistics_pb2.ExecutionSummary) -> dict[str, Any]:
    return {
        "count": summary.count,
        "success_rate": summary.success_rate if summary.HasField("success_rate") else None,
        "tallies": [_tally(tally) for tally in summary.tallies],
        "errors": [{"code": each.code, "count": each.count, "rate": each.rate} for each in summary.errors],
        "trend": [
            {"since": _time(each.since), "by_status": _counts(each.by_status), "mean_ms": each.mean_ms}
            for each in summary.trend
        ],
        "truncated": summary.truncated,
    }


def _tally(tally: statistics_pb2.ExecutionTally) -> dict[str, Any]:
    return {
        "kind": tally.kind,
        "count": tally.count,
        "by_status": _counts(tally.by_status),
        "success_rate": tally.success_rate if tally.HasField("success_rate") else None,
        "durations": {name: getattr(tally.durations, name) for name in _LENGTHS},
    }


def _execution(execution: statistics_pb2.StepExecution) -> dict[str, Any]:
    return {
        "mission_id": execution.mission_id,
        "step_id": execution.step_id,
        "kind": execution.kind,
        "status": execution.status,
        "error_code": execution.error_code or None,
        "duration_ms": execution.duration_ms,
        "attempts": execution.attempts,
        "ended_at": _time(execution.ended_at),
    }


def _counts(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items()))


def _time(moment: Timestamp) -> str:
    return rfc3339(moment.ToDatetime(tzinfo=UTC))

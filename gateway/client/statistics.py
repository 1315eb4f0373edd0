"""What missions and steps of a tenant came to over a time, and what rules have used of their constraints."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from gateway.client.documented import Documented
from gateway.client.wire import moment
from gateway.v1 import statistics_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Durations(Documented):
    """How long they took; percentiles of nearest rank."""

    count: int  # that have a length
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float

    @classmethod
    def of(cls, message: statistics_pb2.DurationSummary) -> Self:
        """Read the message."""
        return cls(
            count=message.count,
            p50_ms=message.p50_ms,
            p95_ms=message.p95_ms,
            p99_ms=message.p99_ms,
            max_ms=message.max_ms,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally(Documented):
    """What missions, or steps of one kind, came to."""

    kind: str  # "" for missions, and for steps of a gateway that did not keep it
    count: int
    by_status: Mapping[str, int]
    success_rate: float | None  # None where none has ended
    durations: Durations

    @classmethod
    def of(cls, message: statistics_pb2.ExecutionTally) -> Self:
        """Read the message."""
        return cls(
            kind=message.kind,
            count=message.count,
            by_status=dict(sorted(message.by_status.items())),
            success_rate=message.success_rate if message.HasField("success_rate") else None,
            durations=Durations.of(message.durations),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCount(Documented):
    """How often something ended in an error."""

    code: str
    count: int
    rate: float  # of all that are counted, 0 to 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval(Documented):
    """One interval of a trend."""

    since: datetime
    by_status: Mapping[str, int]
    mean_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionSummary(Documented):
    """What missions, or steps, came to."""

    count: int
    success_rate: float | None  # of those that have ended and were not skipped or cancelled
    tallies: tuple[Tally, ...]
    errors: tuple[ErrorCount, ...]  # the most frequent first
    trend: tuple[Interval, ...]  # oldest first
    truncated: bool  # there were more than are looked at

    @classmethod
    def of(cls, message: statistics_pb2.ExecutionSummary) -> Self:
        """Read the message."""
        return cls(
            count=message.count,
            success_rate=message.success_rate if message.HasField("success_rate") else None,
            tallies=tuple(map(Tally.of, message.tallies)),
            errors=tuple(ErrorCount(code=each.code, count=each.count, rate=each.rate) for each in message.errors),
            trend=tuple(
                Interval(since=moment(each.since), by_status=dict(sorted(each.by_status.items())), mean_ms=each.mean_ms)
                for each in message.trend
            ),
            truncated=message.truncated,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics(Documented):
    """Missions and steps over a time."""

    since: datetime
    until: datetime
    interval_seconds: int
    missions: ExecutionSummary
    steps: ExecutionSummary

    @classmethod
    def of(cls, message: statistics_pb2.GetStatisticsResponse) -> Self:
        """Read the message."""
        return cls(
            since=moment(message.since),
            until=moment(message.until),
            interval_seconds=message.interval_seconds,
            missions=ExecutionSummary.of(message.missions),
            steps=ExecutionSummary.of(message.steps),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StepExecution(Documented):
    """A step that has ended."""

    mission_id: str
    step_id: str
    kind: str
    status: str  # "Completed", "Failed", "Skipped"
    error_code: str | None
    duration_ms: float
    attempts: int
    ended_at: datetime

    @classmethod
    def of(cls, message: statistics_pb2.StepExecution) -> Self:
        """Read the message."""
        return cls(
            mission_id=message.mission_id,
            step_id=message.step_id,
            kind=message.kind,
            status=message.status,
            error_code=message.error_code or None,
            duration_ms=message.duration_ms,
            attempts=message.attempts,
            ended_at=moment(message.ended_at),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionPage(Documented):
    """Some steps that have ended, the newest first."""

    executions: tuple[StepExecution, ...]
    next_page_token: str

    @property
    def items(self) -> tuple[StepExecution, ...]:
        """The steps."""
        return self.executions

    @classmethod
    def of(cls, message: statistics_pb2.ListExecutionsResponse) -> Self:
        """Read the message."""
        steps = tuple(map(StepExecution.of, message.executions))
        return cls(executions=steps, next_page_token=message.next_page_token)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleUse(Documented):
    """What one rule (sanitizer, policy, hook) has used of its constraints since the gateway began."""

    rule: str
    runs: int
    faults: int  # runs that ended in an error which is no violation
    opened: int  # violations that were passed over
    sampled_out: int
    cpu_us: int
    memory_bytes_peak: int
    p50_us: int  # as the next three, the bound of a histogram's bucket
    p95_us: int
    p99_us: int
    max_us: int
    violations: Mapping[str, int]  # by code

    @classmethod
    def of(cls, message: statistics_pb2.RuleUse) -> Self:
        """Read the message."""
        return cls(
            rule=message.rule,
            runs=message.runs,
            faults=message.faults,
            opened=message.opened,
            sampled_out=message.sampled_out,
            cpu_us=message.cpu_us,
            memory_bytes_peak=message.memory_bytes_peak,
            p50_us=message.p50_us,
            p95_us=message.p95_us,
            p99_us=message.p99_us,
            max_us=message.max_us,
            violations=dict(sorted(message.violations.items())),
        )

"""A desk of statistics with answers of its own, which remembers what it was asked."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from engine.constraints.statistics import RuleStatistics
from gateway.identity import Principal
from gateway.store.statistics import ExecutionRow, ExecutionSummary, Interval, Lengths, Period, Tally

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


class FakeStatistics:
    """Answers with the same for everybody."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.pages = 1

    def now(self) -> datetime:
        return NOW

    async def summaries(self, principal: Principal, period: Period) -> tuple[ExecutionSummary, ExecutionSummary]:
        self.asked.append((principal.tenant, period))
        trend = [
            Interval(
                since=period.since + n * period.interval,
                by_status={"Success": n, **({"Failed": 1} if n == 2 else {})},
                mean_ms=float(n),
            )
            for n in range(min(period.buckets, 4))
        ]
        missions = ExecutionSummary(
            tallies=[
                Tally(
                    kind="",
                    by_status={"Success": 8, "Failed": 1, "Partial": 1, "Cancelled": 2},
                    lengths=Lengths(count=12, p50_ms=20.0, p95_ms=900.0, p99_ms=1_500.0, max_ms=90_000.0),
                )
            ],
            codes=[("policy.denied", 1)],
            trend=trend,
            truncated=False,
        )
        steps = ExecutionSummary(
            tallies=[
                Tally(kind="", by_status={"Skipped": 3}, lengths=Lengths()),
                Tally(
                    kind="http",
                    by_status={"Completed": 30, "Failed": 10},
                    lengths=Lengths(count=40, p50_ms=1.0, p95_ms=2.0, p99_ms=3.0, max_ms=4.0),
                ),
            ],
            codes=[("effect.timeout", 9), ("effect.in_doubt", 1)],
            trend=trend,
            truncated=True,
        )
        return missions, steps

    async def executions(
        self,
        principal: Principal,
        *,
        since: datetime,
        until: datetime,
        kind: str,
        status: str,
        page_size: int,
        page_token: str,
    ) -> tuple[Sequence[ExecutionRow], str]:
        self.asked.append((principal.tenant, since, until, kind, status, page_size, page_token))
        row = ExecutionRow(
            mission_id="00000000-0000-4000-8000-000000000001",
            step_id="fetch",
            kind="http",
            status="Failed",
            code="effect.timeout",
            duration_ms=12.5,
            attempts=3,
            ended_at=NOW - timedelta(minutes=1),
        )
        self.pages -= 1
        return [row], "more" if self.pages > 0 else ""

    def constraints(self) -> Mapping[str, RuleStatistics]:
        rule = RuleStatistics()
        rule.ran(1_500, 700, 65_536)
        rule.violations["constraint.cpu_exceeded"] = 2
        return {"sanitizer.step": RuleStatistics(), "http@1.0.0": rule}

"""StatisticsService: what it asks of the desk, what it tells, and which requests it refuses."""

from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import grpc.aio
import pytest

from gateway.rpc.timestamps import timestamp
from gateway.v1 import statistics_pb2
from tests.rpc_server import AS_ANN, AS_BOB, details, serving
from tests.statistics_desks import NOW, FakeStatistics


async def test_a_summary_of_the_last_day() -> None:
    """By default, of the caller's tenant; success leaves out what was skipped or cancelled."""
    desk = FakeStatistics()
    async with serving(statistics=desk) as served:
        answer = await served.statistics.GetStatistics(statistics_pb2.GetStatisticsRequest(), metadata=AS_ANN)
        await served.statistics.GetStatistics(statistics_pb2.GetStatisticsRequest(), metadata=AS_BOB)
    assert [tenant for tenant, _ in desk.asked] == ["default", "other"]
    period = desk.asked[0][1]
    assert (period.since, period.until, period.interval) == (NOW - timedelta(days=1), NOW, timedelta(hours=1))
    assert answer.interval_seconds == 3_600
    assert (answer.missions.count, answer.missions.success_rate) == (12, 0.8)
    skipped, http = answer.steps.tallies
    assert not skipped.HasField("success_rate")
    assert (http.kind, http.success_rate, dict(http.by_status)) == ("http", 0.75, {"Completed": 30, "Failed": 10})
    assert (http.durations.p95_ms, answer.steps.truncated) == (2.0, True)
    assert [(each.code, each.count) for each in answer.steps.errors] == [("effect.timeout", 9), ("effect.in_doubt", 1)]
    assert answer.steps.errors[0].rate == pytest.approx(9 / 43)
    assert answer.missions.trend[1].since.ToDatetime(tzinfo=UTC) == NOW - timedelta(hours=23)


def times(since: datetime, until: datetime, **more: Any) -> statistics_pb2.GetStatisticsRequest:
    return statistics_pb2.GetStatisticsRequest(since=timestamp(since), until=timestamp(until), **more)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (times(NOW, NOW), "since"),
        (statistics_pb2.GetStatisticsRequest(interval_seconds=2**63 - 1), "interval_seconds"),
        (statistics_pb2.GetStatisticsRequest(until=timestamp(datetime(1, 1, 1, tzinfo=UTC))), "until"),
        (times(NOW, NOW - timedelta(seconds=1)), "since"),
        (times(NOW - timedelta(days=367), NOW), "since"),
        (times(NOW - timedelta(hours=1), NOW, interval_seconds=59), "interval_seconds"),
        (times(NOW - timedelta(hours=1), NOW, interval_seconds=-1), "interval_seconds"),
        (times(NOW - timedelta(days=7), NOW, interval_seconds=60), "interval_seconds"),
        (statistics_pb2.ListExecutionsRequest(status="Executing"), "status"),
        (statistics_pb2.ListExecutionsRequest(kind="x" * 129), "kind"),
        (statistics_pb2.ListExecutionsRequest(kind="a\nb"), "kind"),
        (statistics_pb2.ListExecutionsRequest(page_size=-1), "page_size"),
        (statistics_pb2.ListExecutionsRequest(page_token="x" * 257), "page_token"),
        (statistics_pb2.GetConstraintStatisticsRequest(prefix="x" * 129), "prefix"),
    ],
)
async def test_what_is_out_of_range_is_refused(request_: Any, field: str) -> None:
    """With the field; the desk is not asked."""
    desk = FakeStatistics()
    async with serving(statistics=desk) as served:
        method = getattr(served.statistics, type(request_).__name__.removesuffix("Request"))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await method(request_, metadata=AS_ANN)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert [violation.field for violation in details(refused.value)[1].field_violations] == [field]
    assert desk.asked == []


async def test_the_shortest_time_has_intervals_of_a_minute() -> None:
    """And the longest has 24 by default."""
    desk = FakeStatistics()
    async with serving(statistics=desk) as served:
        for length in (timedelta(minutes=2), timedelta(days=366)):
            await served.statistics.GetStatistics(times(NOW - length, NOW), metadata=AS_ANN)
    assert [period.interval for _, period in desk.asked] == [timedelta(minutes=1), timedelta(days=366) / 24]


async def test_executions_and_rules() -> None:
    """Each field in its place; rules that ran most come first, and a prefix picks some."""
    desk = FakeStatistics()
    async with serving(statistics=desk) as served:
        asked = statistics_pb2.ListExecutionsRequest(kind="http", status="Failed", page_size=10_000)
        listed = await served.statistics.ListExecutions(asked, metadata=AS_ANN)
        rules = await served.statistics.GetConstraintStatistics(
            statistics_pb2.GetConstraintStatisticsRequest(), metadata=AS_ANN
        )
        some = await served.statistics.GetConstraintStatistics(
            statistics_pb2.GetConstraintStatisticsRequest(prefix="sanitizer."), metadata=AS_ANN
        )
    assert desk.asked == [("default", NOW - timedelta(days=7), NOW, "http", "Failed", 200, "")]
    [row] = listed.executions
    assert (row.step_id, row.error_code, row.attempts, row.duration_ms) == ("fetch", "effect.timeout", 3, 12.5)
    assert row.ended_at.ToDatetime(tzinfo=UTC) == NOW - timedelta(minutes=1)
    assert [rule.rule for rule in rules.rules] == ["http@1.0.0", "sanitizer.step"]
    assert (rules.rules[0].cpu_us, rules.rules[0].p50_us, dict(rules.rules[0].violations)) == (
        700,
        1_500,
        {"constraint.cpu_exceeded": 2},
    )
    assert [rule.rule for rule in some.rules] == ["sanitizer.step"]

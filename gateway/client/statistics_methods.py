"""StatisticsService: what is sent, and what comes back."""

from datetime import datetime
from typing import Final

from gateway.client.call import Call, Turning, call
from gateway.client.methods import DriverT, Group, Method, Pages
from gateway.client.statistics import ExecutionPage, RuleUse, Statistics, StepExecution
from gateway.rpc.timestamps import timestamp
from gateway.v1 import statistics_pb2

_PAGE_SIZE: Final = 200  # as many as a gateway gives


def summary(
    *, since: datetime | None = None, until: datetime | None = None, interval_seconds: int = 0
) -> Call[Statistics]:
    """Return what missions and steps came to over a time: of the last day, in 24 intervals, unless told otherwise."""
    request = statistics_pb2.GetStatisticsRequest(
        since=timestamp(since), until=timestamp(until), interval_seconds=interval_seconds
    )
    return call(_path("GetStatistics"), request, statistics_pb2.GetStatisticsResponse, Statistics.of)


def executions(
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    kind: str = "",
    status: str = "",
    page_size: int = _PAGE_SIZE,
) -> Turning[StepExecution]:
    """Yield steps that have ended, the newest first: of the last seven days, unless told otherwise."""

    def page(token: str) -> Call[ExecutionPage]:
        request = statistics_pb2.ListExecutionsRequest(
            since=timestamp(since),
            until=timestamp(until),
            kind=kind,
            status=status,
            page_size=page_size,
            page_token=token,
        )
        return call(_path("ListExecutions"), request, statistics_pb2.ListExecutionsResponse, ExecutionPage.of)

    return page


def constraints(prefix: str = "") -> Call[tuple[RuleUse, ...]]:
    """Return what rules have used since the gateway began, those that ran most first."""
    return call(
        _path("GetConstraintStatistics"),
        statistics_pb2.GetConstraintStatisticsRequest(prefix=prefix),
        statistics_pb2.GetConstraintStatisticsResponse,
        lambda it: tuple(map(RuleUse.of, it.rules)),
    )


class StatisticsMethods(Group[DriverT]):
    """What missions, steps and rules came to."""

    summary = Method(summary)
    executions = Pages(executions)
    constraints = Method(constraints)


def _path(method: str) -> str:
    return f"/gateway.v1.StatisticsService/{method}"

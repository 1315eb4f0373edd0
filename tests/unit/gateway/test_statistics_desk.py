"""Who waits for whose statistics."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from engine.clock import SystemClock
from engine.constraints.statistics import Statistics
from gateway.identity import Principal
from gateway.statistics_desk import StatisticsDesk
from gateway.store.statistics import Period

END = datetime(2026, 11, 26, tzinfo=UTC)
DAY = Period(since=END - timedelta(days=1), until=END, interval=timedelta(hours=1))
LIST: dict[str, Any] = {"since": DAY.since, "until": END, "kind": "", "status": "", "page_size": 1, "page_token": ""}


class SlowStore:
    """Answers when it may, and remembers who has come to it."""

    def __init__(self) -> None:
        self.came: list[str] = []
        self.may = asyncio.Event()

    async def summaries(self, tenant: str, _period: Period) -> str:
        self.came.append(tenant)
        await self.may.wait()
        return tenant

    async def executions(self, tenant: str, **_: Any) -> str:
        return await self.summaries(tenant, DAY)


async def test_a_tenant_waits_for_its_own_questions_and_not_for_those_of_others() -> None:
    """The store answers in order, a second each at worst: one tenant has one question there, however many it asks."""
    store = SlowStore()
    desk: Any = StatisticsDesk(store, Statistics(), SystemClock())  # type: ignore[arg-type]  # what it asks of it
    red, blue = (Principal(subject="ann", tenant=tenant) for tenant in ("red", "blue"))
    calls = [asyncio.create_task(desk.summaries(red, DAY)) for _ in range(5)]
    calls.append(asyncio.create_task(desk.executions(red, **LIST)))
    gone = asyncio.create_task(desk.summaries(red, DAY))
    calls.append(asyncio.create_task(desk.summaries(blue, DAY)))
    await asyncio.sleep(0.01)
    assert store.came == ["red", "blue"]
    gone.cancel()
    store.may.set()
    assert await asyncio.gather(*calls) == ["red"] * 6 + ["blue"]
    assert len(store.came) == 7
    assert desk._turns == {}

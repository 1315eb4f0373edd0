"""What is told of executions: a tenant's own, from the store; and what rules have used of their constraints, of all."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from engine.clock import Clock
from engine.constraints.statistics import RuleStatistics, Statistics
from gateway.identity import Principal
from gateway.store.statistics import ExecutionRow, ExecutionSummary, Period, StatisticsStore


class StatisticsDesk:
    """Statistics of one gateway. Who may ask was decided before."""

    def __init__(self, store: StatisticsStore, rules: Statistics, clock: Clock) -> None:
        """Prepare; `rules` are those of the constraints, since this process began."""
        self._store = store
        self._rules = rules
        self._clock = clock
        self._turns: dict[str, asyncio.Lock] = {}  # by tenant, of those that ask now
        self._asking: Counter[str] = Counter()

    def now(self) -> datetime:
        """Return the end of a period that names none."""
        return self._clock.now()

    async def summaries(self, principal: Principal, period: Period) -> tuple[ExecutionSummary, ExecutionSummary]:
        """Return what the missions of the principal's tenant came to, and what their steps did.

        Raises:
            StoreError: the store cannot answer.
        """
        async with self._turn(principal.tenant):
            return await self._store.summaries(principal.tenant, period)

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
        """Return a page of the tenant's steps that have ended, the newest first, and the next page's token or "".

        Raises:
            SanitizationError: `page_token.invalid`.
            StoreError: as above.
        """
        async with self._turn(principal.tenant):
            return await self._store.executions(
                principal.tenant,
                since=since,
                until=until,
                kind=kind,
                status=status,
                page_size=page_size,
                page_token=page_token,
            )

    @asynccontextmanager
    async def _turn(self, tenant: str) -> AsyncIterator[None]:
        """Wait for the tenant's other questions: the store answers in order, and has one of each tenant at most."""
        turn = self._turns.setdefault(tenant, asyncio.Lock())
        self._asking[tenant] += 1
        try:
            async with turn:
                yield
        finally:
            self._asking[tenant] -= 1
            if not self._asking[tenant]:
                del self._asking[tenant], self._turns[tenant]

    def constraints(self) -> Mapping[str, RuleStatistics]:
        """Return what each rule has used since the gateway began, over all tenants."""
        return self._rules.rules()

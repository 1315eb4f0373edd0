"""Retention: what ended long enough ago is deleted, as the policy bundle says; the log keeps that it was there."""

import asyncio
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from engine.errors import EngineError
from engine.values import JsonValue
from gateway.errors import NotFoundError, PolicyInvalidError
from gateway.events import EventType
from gateway.missions.execution import Ground

DAYS_DEFAULT: Final = 90
DAYS_MAX: Final = 36_500
LOOK_SECONDS: Final = 3_600.0
_AT_ONCE: Final = 100  # missions, with all that are part of them
_GATEWAY: Final = "gateway"

_LOG: Final = logging.getLogger(__name__)


def retention_days(data: Mapping[str, JsonValue]) -> int:
    """Return `retention.mission_days` of a bundle's data: for how long ended missions are kept.

    Raises:
        PolicyInvalidError: `policy.retention`, it is no whole number of days from 1 to DAYS_MAX.
    """
    section = data.get("retention", {})
    days = section.get("mission_days", DAYS_DEFAULT) if isinstance(section, Mapping) else None
    if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= DAYS_MAX:
        message = f"retention.mission_days must be a whole number from 1 to {DAYS_MAX}"
        raise PolicyInvalidError(message, code="policy.retention", file="data.json")
    return days


class Retention:
    """Prunes the store and the workspaces."""

    def __init__(self, ground: Ground, *, days: int) -> None:
        self._ground = ground
        self._kept = timedelta(days=days)

    def adopt(self, days: int) -> None:
        """From now on keep ended missions for so many days."""
        self._kept = timedelta(days=days)

    async def prune(self) -> int:
        """Delete what is old enough, and return how many missions that were, parts of others not counted.

        The log is told first: what it names may be there still, and what is gone it has named.

        Raises:
            FaultError: log, store or disk fail; what is left is deleted the next time.
        """
        ground, count = self._ground, 0
        before = ground.clock.now() - self._kept
        while ids := await ground.store.prunable(before, _AT_ONCE):
            names: list[JsonValue] = list(ids)
            details: dict[str, JsonValue] = {"missions": names, "mission_days": self._kept.days}
            seq = ground.audit.append(EventType.MISSION_PRUNED, actor=_GATEWAY, target="missions", details=details)
            await ground.audit.durable(seq)
            pruned = await ground.store.prune(before, _AT_ONCE, among=ids)
            count += len(pruned)
            if not pruned:
                break
        return count

    async def sweep(self) -> None:
        """Delete the workspaces of missions that are no more; also those that an earlier process did not get to.

        A workspace is made for a mission that is in the store, so one without is nobody's.

        Raises:
            FaultError: store or disk fail.
        """
        workspaces = self._ground.workspaces
        for mission_id in await asyncio.to_thread(workspaces.names):
            try:
                await self._ground.store.get_mission(mission_id)
            except NotFoundError:
                await asyncio.to_thread(workspaces.remove, mission_id)

    async def run(self) -> None:
        """Prune and sweep now, and once an hour from then on where there is something, until cancelled."""
        sweep = True
        while True:
            try:
                sweep = await self.prune() > 0 or sweep
                if sweep:
                    await self.sweep()
                    sweep = False
            except EngineError:
                _LOG.exception("old missions could not be deleted; the next try is in an hour")
            await asyncio.sleep(LOOK_SECONDS)

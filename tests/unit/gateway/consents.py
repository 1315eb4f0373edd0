"""Worlds in which policy wants a person's yes, and people who give it, or do not."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from gateway.identity import Principal
from gateway.missions.approval_view import ApprovalView
from gateway.policy.decision import Decision
from gateway.policy.obligations import ApprovalDemand
from tests.subjects import known
from tests.virtual_time import EPOCH, run
from tests.worlds import YES, World

LEE = known(Principal(subject="lee", tenant="acme", roles=("approver",)))
LEA = known(Principal(subject="lea", tenant="acme", roles=("lead",)))
DEMAND = ApprovalDemand()


def wanting(demand: ApprovalDemand = DEMAND, **more: Any) -> Decision:
    """Return a yes that wants a person's."""
    return replace(YES, require_approval=demand, **more)


class LoopWallClock:
    """Wall time that goes with the loop's, so that approvals expire."""

    def now(self) -> datetime:
        return datetime.fromtimestamp(EPOCH.timestamp() + self.monotonic(), UTC)

    def monotonic(self) -> float:
        try:
            return asyncio.get_running_loop().time()
        except RuntimeError:
            return 0.0


def story(tell: Callable[[World], Coroutine[Any, Any, None]], *, laws: bool = True, **fields: Any) -> World:
    """Run a story in virtual time, and hold its log to the laws; return its world."""
    world = World(**fields)
    run(tell(world))
    if laws:
        world.laws_hold()
    return world


async def pending(world: World, mission_id: str | None = None) -> list[ApprovalView]:
    return list(await world.desk.list_approvals(LEE, mission_id, pending_only=True))


async def decide(world: World, principal: Principal = LEE, *, approve: bool = True, comment: str = "") -> ApprovalView:
    """Decide the one approval that waits."""
    [asked] = await pending(world)
    return await world.desk.decide_approval(
        principal, asked.mission_id, asked.approval_id, approve=approve, digest=asked.digest, comment=comment
    )


async def waiting(world: World, form: Any, request_id: str = "r") -> str:
    """Submit, and return the mission's id once everything waits that will."""
    mission_id: str = (await world.submit(form, request_id)).mission_id
    await asyncio.sleep(1)
    return mission_id

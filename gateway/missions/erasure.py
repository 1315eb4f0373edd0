"""Erasure: what the gateway keeps of a mission goes, because somebody asks for it; that it was there stays in the log.

The order survives a crash at any point: mark in the store, `mission.erased` under a checkpoint, then the keys, then all
that they had sealed and what lies beside the store: the workspace, its blobs, the recorded decisions. Then the log has
`mission.erasure_ended`, and the marks go. The next start goes on where one was stopped; where that was before the keys
were gone, it tells the log again.
"""

import asyncio
import logging
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

import orjson

from engine.values import JsonValue
from gateway.errors import ConflictError, ErasedError, NotFoundError
from gateway.events import EventType
from gateway.missions.execution import Ground
from gateway.missions.floor import Floor
from gateway.store.erasure import Erasing

ERASED: Final = (  # JSON pointers into what a mission is for its readers, and beside
    "/name",
    "/request_id",
    "/digest",
    "/mission",
    "/events",
    "/result/step_results",
    "/result/error/message",
    "/decision_labels",
    "/effects",
    "/approvals",
    "/decisions",
    "/workspace",
    "/blobs",
)
_GATEWAY: Final = "gateway"
_DECIDED: Final = b'"decision_id":'

_LOG: Final = logging.getLogger(__name__)


class RecordedDecisions(Protocol):
    """The records of decisions; `gateway.decisions.erasing.DecisionErasure` is one."""

    async def erase(self, missions: Collection[str], decisions: Collection[str]) -> int:
        """Delete what is recorded of these missions, and these decisions, and return how many that were."""


class Log(Protocol):
    """The log, to be read; `engine.audit.log.AuditLog` is one."""

    @property
    def first(self) -> int:
        """The seq of the oldest event that is still here."""

    @property
    def size(self) -> int:
        """Number of events that the latest signed checkpoint covers."""

    def read(self, start: int, count: int) -> Iterator[bytes]:
        """Yield lines without their LF."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """What an erasure has come to."""

    mission_id: str
    erased_at: datetime
    missions: int  # with its parts
    decisions: int  # recorded ones that were deleted now


class Erasure:
    """Erases missions that have ended. Whose they are was looked at before."""

    def __init__(self, ground: Ground, floor: Floor, decisions: RecordedDecisions, log: Log) -> None:
        self._ground = ground
        self._floor = floor
        self._decisions = decisions
        self._log = log
        self._turn = asyncio.Lock()  # an erasure reads the whole log: one at a time

    async def erase(self, by: str, mission_id: str, reason: str) -> Erased:
        """Erase a mission and its parts; of one that is erased already, say so again.

        Raises:
            NotFoundError: there is none.
            ConflictError: `mission.not_ended`; `mission.part`, it is erased with its whole.
            FaultError: store, log or disk fail; the next call, or the next start, goes on.
        """
        async with self._turn:
            decisions = 0
            if (await self._ground.store.bare_mission(mission_id)).ended_at is None:
                message = "the mission has not ended; only one that has can be erased"
                raise ConflictError(message, code="mission.not_ended")
            await self._floor.settled(mission_id)  # the store has its end a moment before its last event
            with suppress(ErasedError):
                decisions = await self._finish(await self._ground.store.erasures.begin(mission_id, by, reason))
            record = await self._ground.store.bare_mission(mission_id)
            missions = await self._ground.store.erasures.count(mission_id)
        if record.erased_at is None:
            raise NotFoundError("there is no such mission", code="mission.not_found")
        return Erased(mission_id=record.id, erased_at=record.erased_at, missions=missions, decisions=decisions)

    async def resume(self) -> tuple[str, ...]:
        """Finish what an earlier process has begun, and return the missions.

        Raises:
            FaultError: store, log or disk fail.
        """
        async with self._turn:
            begun = await self._ground.store.erasures.unfinished()
            for erasing in begun:
                _LOG.warning("mission %s was being erased when the gateway stopped; that goes on", erasing.root_id)
                await self._finish(erasing)
        return tuple(erasing.root_id for erasing in begun)

    async def _finish(self, erasing: Erasing) -> int:
        """Do what is left, and return how many recorded decisions were deleted."""
        ground = self._ground
        if not erasing.cut:
            await self._tell(erasing)
        named = await asyncio.to_thread(_decisions_of, self._log, frozenset(erasing.missions))
        await ground.store.erasures.mission(erasing)
        if ground.results is not None:
            ground.results.forget(frozenset(erasing.missions))
        for mission_id in erasing.missions:
            await asyncio.to_thread(ground.workspaces.remove, mission_id)
        decisions = await self._decisions.erase(erasing.missions, named)
        details: dict[str, JsonValue] = {"missions": len(erasing.missions), "decisions": decisions}
        ended = ground.audit.append(
            EventType.MISSION_ERASURE_ENDED, actor=_GATEWAY, target=erasing.root_id, details=details
        )
        await ground.audit.durable(ended)
        await ground.store.erasures.end(erasing)
        return decisions

    async def _tell(self, erasing: Erasing) -> None:
        """Record the intent, of each part as well: who looks for that one finds it."""
        seq = 0
        for mission_id in erasing.missions:
            details: dict[str, JsonValue] = {"erased": list(ERASED)}
            if mission_id != erasing.root_id:
                details["with"] = erasing.root_id
            elif erasing.reason:
                details["reason"] = erasing.reason
            seq = self._ground.audit.append(
                EventType.MISSION_ERASED, actor=erasing.by, target=mission_id, details=details
            )
        await self._ground.audit.durable(seq)


def _decisions_of(log: Log, missions: frozenset[str]) -> frozenset[str]:
    """Return the decisions on whole missions, which were taken before these had ids: only the log has both."""
    found: set[str] = set()
    for line in log.read(log.first, log.size - log.first):
        if _DECIDED in line:
            event = orjson.loads(line)
            if event.get("target") in missions and isinstance(name := event["details"].get("decision_id"), str):
                found.add(name)
    return frozenset(found)

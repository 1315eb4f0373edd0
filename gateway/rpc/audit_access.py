"""What a call reads of the log, for the policy that decides it and for the event that records it.

`audit_scope` of the resource is the least that would show what is asked for: `mission`, events of one mission of the
caller's tenant; `tenant`, those of the tenant; `log`, all. What does not exist, or is another tenant's, is `log`: who
may not read everything is told no either way, and learns nothing by it.
"""

import asyncio
import re
from typing import Any, Final

from engine.values import JsonObject
from gateway.auditing.facts import facts_of
from gateway.auditing.filters import EventFilter
from gateway.commitments import Evidence, Hidden
from gateway.identity import Principal
from gateway.rpc.bad_request import out_of_range
from gateway.rpc.ports import ActorNames, AuditReader, EventFinder, MissionDesk
from gateway.v1 import audit_pb2

EVENT_ID_CHARS: Final = 32
SEQ_MAX: Final = 2**53 - 1  # of an event that a call may name: more than any log will have
_HEX: Final = frozenset("0123456789abcdef")
_ID: Final = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # of decisions, of missions


class AuditAccess:
    """Says of a request to AuditService what it is about."""

    def __init__(self, desk: MissionDesk, log: AuditReader, events: EventFinder, names: ActorNames) -> None:
        self._desk = desk
        self._log = log
        self._events = events
        self._names = names

    @staticmethod
    def asks_who(principal: Principal, request: Any) -> bool:
        """Return whether a request would tell, by what it finds, who somebody else is: it filters by a name."""
        if not isinstance(request, audit_pb2.QueryEventsRequest):
            return False
        name = request.filter.principal
        return "/" in name and name != f"{principal.tenant}/{principal.subject}"

    async def about(self, principal: Principal, request: Any, mission: JsonObject) -> tuple[JsonObject, Evidence]:
        """Return what policy is told of the resource, `mission` included, and what the log is told of the read.

        Args:
            principal: who asks.
            request: the message.
            mission: what policy is told of the mission that the request names, as in any other call.

        Raises:
            MissionInvalidError: a field cannot be what it is.
            FaultError: index or store cannot be read now.
        """
        if isinstance(request, audit_pb2.ReadEventsRequest):
            end = request.start + request.count if request.count else self._log.size
            return {"audit_scope": "log"}, {"first": _place(request.start), "end": _place(min(end, self._log.size))}
        if isinstance(request, audit_pb2.QueryEventsRequest):
            return await self._about_query(principal, request, mission)
        if isinstance(request, audit_pb2.ProveInclusionRequest):
            return await self._about_event(principal, request)
        if isinstance(request, audit_pb2.ProveConsistencyRequest):
            return {}, {"old_size": request.old_size, "new_size": request.new_size or self._log.size}
        return mission, {"mission_id": _mission_told(mission)} if mission else {}

    async def filter_of(self, principal: Principal, request: audit_pb2.QueryEventsRequest) -> EventFilter:
        """Return the filter of somebody's query.

        Raises:
            MissionInvalidError: it can match no event; the field is named.
        """
        asked = request.filter
        if asked.decision not in audit_pb2.RecordedDecision.values():
            raise out_of_range("filter.decision", "must be allow or deny")
        try:
            return EventFilter(
                mission_id=request.mission_id,
                actor=await self._names.actor_named(principal.tenant, asked.principal) if asked.principal else "",
                event_types=tuple(asked.event_types),
                since=asked.since.ToDatetime() if asked.HasField("since") else None,
                until=asked.until.ToDatetime() if asked.HasField("until") else None,
                allow={1: True, 2: False}.get(asked.decision),
                decision_id=asked.decision_id,
            )
        except ValueError as error:
            field, _, rule = str(error).partition(": ")
            raise out_of_range(f"filter.{field}", rule) from error

    async def place_of(self, request: audit_pb2.ProveInclusionRequest) -> int | None:
        """Return the seq of the event that a request names; None where no signed event is that.

        Raises:
            MissionInvalidError: it names none.
        """
        match request.WhichOneof("event"):
            case "seq":
                if request.seq < 0:
                    raise out_of_range("seq", "must not be negative")
                return request.seq if request.seq < self._log.size else None
            case "event_id":
                if len(request.event_id) != EVENT_ID_CHARS or not _HEX.issuperset(request.event_id):
                    raise out_of_range("event_id", f"must be {EVENT_ID_CHARS} hex digits")
                return await self._events.place_of(request.event_id)
            case _:
                raise out_of_range("event", "must name an event, by seq or event_id")

    async def _about_query(
        self, principal: Principal, request: audit_pb2.QueryEventsRequest, mission: JsonObject
    ) -> tuple[JsonObject, Evidence]:
        told: Evidence = {**(await self.filter_of(principal, request)).document()}
        if mission:
            told["mission_id"] = _mission_told(mission)
        if request.filter.decision_id:
            told["decision_id"] = _told(request.filter.decision_id)
        whole = request.scope == audit_pb2.AUDIT_SCOPE_LOG
        reading: Evidence = {"filter": told, "scope": "log" if whole else "tenant"}
        reading["first"] = _place(request.after_seq + 1) if request.HasField("after_seq") else self._log.first
        reading["end"] = self._log.size
        if request.limit:
            reading["limit"] = request.limit
        if request.follow:
            reading["follow"] = True
        if not mission:
            return {"audit_scope": "log" if whole else "tenant"}, reading
        reading["mission_id"] = told["mission_id"]
        return {**mission, "audit_scope": "log" if whole else "mission"}, reading

    async def _about_event(
        self, principal: Principal, request: audit_pb2.ProveInclusionRequest
    ) -> tuple[JsonObject, Evidence]:
        seq = await self.place_of(request)
        if seq is None or seq < self._log.first:
            return {"audit_scope": "log"}, {}
        reading: Evidence = {"first": seq, "end": seq + 1}
        if await self._events.tenant_of(seq) != principal.tenant:
            return {"audit_scope": "log"}, reading
        line = await asyncio.to_thread(lambda: next(self._log.read(seq, 1)))
        missions = facts_of(line).missions
        about = await self._mission(principal, missions[0]) if len(missions) == 1 else {}
        if "tenant" not in about:
            return {"audit_scope": "tenant"}, reading
        return {**about, "audit_scope": "mission"}, reading

    async def _mission(self, principal: Principal, mission_id: str) -> JsonObject:
        """Return a mission as other calls tell policy of it: a foreign one looks like a missing one."""
        owner = await self._desk.owner(mission_id)
        if owner is None or owner["tenant"] != principal.tenant:
            return {"mission_id": mission_id}
        return {"mission_id": mission_id, **owner}


def _mission_told(mission: JsonObject) -> str | Hidden:
    """Return a mission's id as the log is told of it."""
    text = str(mission["mission_id"])
    return text if "tenant" in mission else _told(text)


def _place(seq: int) -> int:
    """Return a place that somebody asks for as the log is told of it: one that no log has is the next that may be."""
    return max(0, min(seq, SEQ_MAX))


def _told(text: str) -> str | Hidden:
    """Return what a caller has taken for an id; what does not look like one may be anything, and is hidden."""
    return text if _ID.fullmatch(text) else Hidden(text)

"""Streams of the gateway, and how far each has come: asked anew after a break, each goes on with the next."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Generic, TypeVar

from google.protobuf.message import Message

from gateway.client.call import Call, call, read_as
from gateway.client.log import EventQuery, LoggedEvent
from gateway.client.missions import MissionEvent, StepResult
from gateway.rpc.timestamps import timestamp
from gateway.v1 import audit_pb2, mission_pb2

_T = TypeVar("_T")
_Answer = TypeVar("_Answer", bound=Message)


@dataclass(slots=True)
class EventsOfMission:
    """WatchMission: over with the event that ends the mission, or where the mission has ended without one left."""

    method: ClassVar[str] = "/gateway.v1.MissionService/WatchMission"
    resumes: ClassVar[bool] = True

    mission_id: str
    index: int
    over: bool = False

    def request(self) -> bytes:
        """Ask for what comes from the next index on."""
        return mission_pb2.WatchMissionRequest(mission_id=self.mission_id, from_index=self.index).SerializeToString()

    def take(self, raw: bytes) -> Sequence[MissionEvent]:
        """Read an event; one that was there before is not new."""
        event = read_as(mission_pb2.WatchMissionResponse, raw, lambda answer: MissionEvent.of(answer.event))
        if event.index < self.index:
            return ()
        self.index, self.over = event.index + 1, event.ends
        return (event,)

    def ended(self) -> bool | Call[bool]:
        """Say so after the last event; ask where none was left, or where the gateway has stopped."""
        return self.over or has_ended(self.mission_id)


@dataclass(slots=True)
class ResultsOfMission:
    """WatchResults: results are counted, in the order in which they were saved."""

    method: ClassVar[str] = "/gateway.v1.MissionService/WatchResults"
    resumes: ClassVar[bool] = True
    over: ClassVar[bool] = False  # no result says that it is the last

    mission_id: str
    offset: int
    follow: bool

    def request(self) -> bytes:
        """Ask for what comes after those that are here."""
        return mission_pb2.WatchResultsRequest(
            mission_id=self.mission_id, offset=self.offset, follow=self.follow
        ).SerializeToString()

    def take(self, raw: bytes) -> Sequence[StepResult]:
        """Read a result."""
        result = read_as(mission_pb2.WatchResultsResponse, raw, lambda answer: StepResult.of(answer.result))
        self.offset += 1
        return (result,)

    def ended(self) -> bool | Call[bool]:
        """Ask, where there may be more."""
        return has_ended(self.mission_id) if self.follow else True


@dataclass(slots=True)
class EventsOfLog:
    """QueryEvents: each answer says up to where all was looked at, be there an event in it or not."""

    method: ClassVar[str] = "/gateway.v1.AuditService/QueryEvents"
    resumes: ClassVar[bool] = True

    query: EventQuery  # what is left of it
    over: bool = False

    def request(self) -> bytes:
        """Ask for what is left."""
        return _query_message(self.query).SerializeToString()

    def take(self, raw: bytes) -> Sequence[LoggedEvent]:
        """Read events, as many as are wanted still."""
        events, next_seq = read_as(audit_pb2.QueryEventsResponse, raw, _events_of)
        left = self.query.limit - len(events) if self.query.limit else 0
        self.over = bool(self.query.limit) and left <= 0
        self.query = replace(self.query, after_seq=next_seq - 1, limit=max(0, left))
        return events

    def ended(self) -> bool:
        """Every end is one, or a status that is an error."""
        return True


@dataclass(slots=True)
class LinesOfLog:
    """ReadEvents: of all tenants, to the end of what is signed when it was asked."""

    method: ClassVar[str] = "/gateway.v1.AuditService/ReadEvents"
    resumes: ClassVar[bool] = True

    start: int
    count: int  # 0: all
    over: bool = False

    def request(self) -> bytes:
        """Ask for what comes from the next seq on."""
        return audit_pb2.ReadEventsRequest(start=self.start, count=self.count).SerializeToString()

    def take(self, raw: bytes) -> Sequence[LoggedEvent]:
        """Read some lines."""
        events = read_as(
            audit_pb2.ReadEventsResponse,
            raw,
            lambda answer: tuple(LoggedEvent(answer.first_seq + at, line) for at, line in enumerate(answer.lines)),
        )
        self.start += len(events)
        left = self.count - len(events) if self.count else 0
        self.over = bool(self.count) and left <= 0
        self.count = max(0, left)
        return events

    def ended(self) -> bool:
        """Every end is one."""
        return True


@dataclass(slots=True)
class Unresumable(Generic[_T, _Answer]):
    """A stream that nobody can go on with: it is begun anew only where nothing had come of it."""

    resumes: ClassVar[bool] = False
    over: ClassVar[bool] = False

    method: str
    asked: Message
    answer: type[_Answer]
    read: Callable[[_Answer], _T]

    def request(self) -> bytes:
        """Ask."""
        return self.asked.SerializeToString()

    def take(self, raw: bytes) -> Sequence[_T]:
        """Read one."""
        return (read_as(self.answer, raw, self.read),)

    def ended(self) -> bool:
        """Every end is one."""
        return True


def has_ended(mission_id: str) -> Call[bool]:
    """Return what tells whether a mission has ended."""
    return call(
        "/gateway.v1.MissionService/GetMission",
        mission_pb2.GetMissionRequest(mission_id=mission_id),
        mission_pb2.GetMissionResponse,
        lambda answer: answer.mission.HasField("ended_at"),
    )


def _events_of(answer: audit_pb2.QueryEventsResponse) -> tuple[tuple[LoggedEvent, ...], int]:
    return tuple(LoggedEvent(each.seq, each.line, tuple(each.hashes)) for each in answer.events), answer.next_seq


def _query_message(query: EventQuery) -> audit_pb2.QueryEventsRequest:
    decision = {
        None: audit_pb2.RECORDED_DECISION_UNSPECIFIED,
        True: audit_pb2.RECORDED_DECISION_ALLOW,
        False: audit_pb2.RECORDED_DECISION_DENY,
    }[query.allow]
    return audit_pb2.QueryEventsRequest(
        mission_id=query.mission_id,
        filter=audit_pb2.EventFilter(
            principal=query.principal,
            event_types=query.event_types,
            since=timestamp(query.since),
            until=timestamp(query.until),
            decision=decision,
            decision_id=query.decision_id,
        ),
        scope=audit_pb2.AUDIT_SCOPE_LOG if query.whole_log else audit_pb2.AUDIT_SCOPE_TENANT,
        after_seq=query.after_seq,
        limit=query.limit,
        follow=query.follow,
        proof_size=query.proof_size,
    )

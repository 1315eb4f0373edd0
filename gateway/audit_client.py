"""AuditService for clients: plain values in and out, and a query that goes on where its stream breaks."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import grpc

from gateway.calling import CallError, Calls
from gateway.rpc.timestamps import timestamp
from gateway.v1 import audit_pb2, audit_pb2_grpc

RECONNECTS_MAX: Final = 8  # in a row, without an answer in between: half a minute with the delays below
DELAY_SECONDS: Final = 0.5
DELAY_SECONDS_MAX: Final = 5.0
_TORN: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class EventQuery:
    """What is asked for; what is left out selects all. Without `whole_log`, it is events of the caller's tenant."""

    mission_id: str = ""
    principal: str = ""  # TENANT/SUBJECT, anonymous, gateway, audit
    event_types: tuple[str, ...] = ()  # step.allowed, or step.*
    since: datetime | None = None
    until: datetime | None = None
    allow: bool | None = None
    decision_id: str = ""
    whole_log: bool = False
    after_seq: int | None = None
    limit: int = 0
    follow: bool = False
    proof_size: int = 0  # give each event its proof in the tree of so many, and end before that seq


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the log."""

    seq: int
    line: bytes  # without LF, byte for byte
    hashes: tuple[bytes, ...] = ()  # its audit path, where the query has a `proof_size`


@dataclass(frozen=True, slots=True, kw_only=True)
class Inclusion:
    """An event, and the proof that it is in the tree of a checkpoint."""

    event: Event
    size: int
    hashes: tuple[bytes, ...]  # RFC 6962, lowest level first
    checkpoint: bytes  # of exactly `size`; empty where there is none
    tlog_proof: bytes  # empty likewise


@dataclass(frozen=True, slots=True, kw_only=True)
class Consistency:
    """The proof that the log of `old_size` events is the beginning of that of `new_size`."""

    old_size: int
    new_size: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes  # of exactly `new_size`; empty where there is none


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The newest signed notes of a log."""

    checkpoint: bytes
    witnessed: bytes  # empty where no quorum of witnesses has cosigned one


class AuditClient:
    """Calls AuditService; every method raises CallError where the call fails."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._audit = audit_pb2_grpc.AuditServiceStub(calls.channel)

    def checkpoints(self) -> Checkpoints:
        """Return the newest checkpoints."""
        answer = self._calls.one(self._audit.GetCheckpoint, audit_pb2.GetCheckpointRequest())
        return Checkpoints(answer.checkpoint, answer.witnessed)

    def keys(self) -> tuple[str, ...]:
        """Return the verifier keys, the one that signs now first."""
        return tuple(self._calls.one(self._audit.GetVerifierKeys, audit_pb2.GetVerifierKeysRequest()).verifier_keys)

    def read(self, start: int = 0, count: int = 0) -> Iterator[Event]:
        """Yield events of all tenants; with `count` 0, to the end of what is signed."""
        request = audit_pb2.ReadEventsRequest(start=start, count=count)
        for answer in self._calls.stream(self._audit.ReadEvents, request):
            for index, line in enumerate(answer.lines):
                yield Event(answer.first_seq + index, line)

    def pages(self, query: EventQuery) -> Iterator[tuple[tuple[Event, ...], int]]:
        """Yield runs of events that match, perhaps empty, each with the seq before which all has been looked at."""
        for answer in self._calls.stream(self._audit.QueryEvents, _request_of(query)):
            yield tuple(Event(each.seq, each.line, tuple(each.hashes)) for each in answer.events), answer.next_seq

    def events(self, query: EventQuery, *, told: Callable[[str], None] = lambda _: None) -> Iterator[Event]:
        """Yield events that match, each once and none left out, also where the stream breaks: it is opened again.

        Args:
            query: what is asked for.
            told: is told, in a sentence, of a stream that broke.

        Raises:
            CallError: the first call failed; a later one, for another reason than that nobody answers; or nobody
                answered `RECONNECTS_MAX` times in a row.
        """
        failures, answered, left = 0, False, query.limit
        while not (query.limit and left <= 0):
            try:
                for events, next_seq in self.pages(replace(query, limit=left if query.limit else 0)):
                    failures, answered = 0, True
                    query = replace(query, after_seq=next_seq - 1)
                    left -= len(events)
                    yield from events
            except CallError as error:
                failures += 1
                if error.status not in _TORN or not answered or failures > RECONNECTS_MAX:
                    raise
            else:
                return
            told(f"the gateway has gone; trying again ({failures} of {RECONNECTS_MAX})")
            time.sleep(min(DELAY_SECONDS * 2 ** (failures - 1), DELAY_SECONDS_MAX))

    def prove_inclusion(
        self, *, seq: int | None = None, event_id: str = "", tree_size: int = 0, witnessed: bool = False
    ) -> Inclusion:
        """Return an event, by seq or by id, and its proof."""
        request = audit_pb2.ProveInclusionRequest(tree_size=tree_size, witnessed=witnessed)
        if seq is not None:
            request.seq = seq
        else:
            request.event_id = event_id
        answer = self._calls.one(self._audit.ProveInclusion, request)
        return Inclusion(
            event=Event(answer.index, answer.line),
            size=answer.size,
            hashes=tuple(answer.hashes),
            checkpoint=answer.checkpoint,
            tlog_proof=answer.tlog_proof,
        )

    def prove_consistency(self, old_size: int, new_size: int = 0) -> Consistency:
        """Return the proof that the log only grew; `new_size` 0 is that of the newest checkpoint."""
        request = audit_pb2.ProveConsistencyRequest(old_size=old_size, new_size=new_size)
        answer = self._calls.one(self._audit.ProveConsistency, request)
        return Consistency(
            old_size=answer.old_size,
            new_size=answer.new_size,
            hashes=tuple(answer.hashes),
            checkpoint=answer.checkpoint,
        )


def _request_of(query: EventQuery) -> audit_pb2.QueryEventsRequest:
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

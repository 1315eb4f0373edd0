"""AuditService as clients meet it: a real server, in front of a log of prepared answers."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from engine.audit.export import proof_bytes
from gateway.auditing.filters import EventFilter
from gateway.auditing.queries import Found, Query
from gateway.v1 import audit_pb2
from tests.audit_events import lines_of, story
from tests.fakes import FakeAudit, note_of, view
from tests.rpc_calls import refused, until
from tests.rpc_server import AS_ANN, Served, details, serving


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """A server in front of fakes."""
    async with serving() as server:
        yield server


LOGGED = lines_of(story())


def everything_of(answers: Sequence[audit_pb2.QueryEventsResponse]) -> list[tuple[int, bytes]]:
    return [(event.seq, event.line) for answer in answers for event in answer.events]


async def test_a_query_is_told_as_it_was_asked(served: Served) -> None:
    """Filter and bounds reach the log, policy and the record of the read; people by the names that the log has."""
    request = audit_pb2.QueryEventsRequest(
        mission_id="m-1",
        filter=audit_pb2.EventFilter(
            principal="default/ann",
            event_types=["step.*"],
            since=Timestamp(seconds=1_700_000_000),
            decision=audit_pb2.RECORDED_DECISION_DENY,
            decision_id="0" * 32,
        ),
        after_seq=3,
        limit=5,
    )
    served.desk.missions["m-1"] = view("m-1")
    assert [answer async for answer in served.log.QueryEvents(request, metadata=AS_ANN)] == []
    (query,) = served.audit.queries
    moment = datetime(2023, 11, 14, 22, 13, 20)  # noqa: DTZ001 - as protobuf gives it
    assert query == Query(
        wanted=EventFilter(
            mission_id="m-1",
            actor="<default default/ann>",
            event_types=("step.*",),
            since=moment,
            allow=False,
            decision_id="0" * 32,
        ),
        tenant="default",
        after=3,
        limit=5,
    )
    (_, _, _, resource), (reading,) = served.gate.asked[-1], served.gate.readings[-1:]
    owner = {"tenant": "default", "submitter": "ann", "submitter_roles": ["submitter"]}
    assert resource == {"mission_id": "m-1", **owner, "audit_scope": "mission"}
    assert reading == {
        "filter": query.wanted.document(),
        "scope": "tenant",
        "first": 4,
        "end": 0,
        "limit": 5,
        "mission_id": "m-1",
    }


@pytest.mark.parametrize(
    ("request_", "scope"),
    [
        (audit_pb2.ReadEventsRequest(), "log"),
        (audit_pb2.QueryEventsRequest(), "tenant"),
        (audit_pb2.QueryEventsRequest(scope=audit_pb2.AUDIT_SCOPE_TENANT), "tenant"),
        (audit_pb2.QueryEventsRequest(scope=audit_pb2.AUDIT_SCOPE_LOG), "log"),
        (audit_pb2.QueryEventsRequest(mission_id="m-9"), "mission"),
        (audit_pb2.QueryEventsRequest(mission_id="m-9", scope=audit_pb2.AUDIT_SCOPE_LOG), "log"),
        (audit_pb2.ProveInclusionRequest(seq=2), "tenant"),  # of ann's tenant, and a mission that is not there
        (audit_pb2.ProveInclusionRequest(seq=3), "log"),  # of another tenant
        (audit_pb2.ProveInclusionRequest(seq=99), "log"),  # of nobody: told as if it were another's
        (audit_pb2.ProveConsistencyRequest(old_size=1), None),
        (audit_pb2.GetCheckpointRequest(), None),
    ],
)
async def test_policy_hears_the_least_scope_that_would_do(request_: Message, scope: str | None) -> None:
    """For every call that shows events, and for none that shows hashes alone."""
    async with serving(audit=FakeAudit(lines=LOGGED)) as served:
        method = getattr(served.log, type(request_).__name__.removesuffix("Request"))
        call = method(request_, metadata=AS_ANN)
        try:
            if isinstance(call, grpc.aio.UnaryStreamCall):
                async for _ in call:
                    pass
            else:
                await call
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.NOT_FOUND  # noqa: PT017 - of the event that nobody has
        assert served.gate.asked[-1][3].get("audit_scope") == scope


async def test_found_events_stream_in_bounded_messages() -> None:
    """Each message says from where to go on after its last event."""
    events = tuple((seq, b"x" * 60_000) for seq in range(5, 45))
    audit = FakeAudit(pages=[Found((), 5, caught_up=True), Found(events, 60)])
    async with serving(audit=audit) as served:
        answers = [a async for a in served.log.QueryEvents(audit_pb2.QueryEventsRequest(), metadata=AS_ANN)]
    assert everything_of(answers) == list(events)
    assert all(answer.ByteSize() < 1024 * 1024 for answer in answers)
    assert [answer.caught_up for answer in answers] == [True] + [False] * (len(answers) - 1)
    assert [a.next_seq for a in answers] == [5, *(answer.events[-1].seq + 1 for answer in answers[1:])]


async def test_a_followed_query_is_recorded_when_it_ends() -> None:
    """With what was read, also where the client just goes; one that does not follow was recorded as it began."""
    audit = FakeAudit(pages=[Found(((5, b"x"), (9, b"y")), 12)], idle=True)
    async with serving(audit=audit) as served:
        call = served.log.QueryEvents(audit_pb2.QueryEventsRequest(follow=True, after_seq=4), metadata=AS_ANN)
        await call.read()
        call.cancel()
        await until(lambda: bool(audit.ends))
        audit.idle = False
        assert [a async for a in served.log.QueryEvents(audit_pb2.QueryEventsRequest(), metadata=AS_ANN)]
    (told,) = audit.ends
    assert told.pop("end") in {10, 12}  # how far the reader got before it went
    assert told == {"subject": "ann", "method": "QueryEvents", "ended": True, "first": 5, "events": 2}


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (audit_pb2.QueryEventsRequest(limit=-1), "limit"),
        (audit_pb2.QueryEventsRequest(limit=100_001), "limit"),
        (audit_pb2.QueryEventsRequest(after_seq=-2), "after_seq"),
        (audit_pb2.QueryEventsRequest(proof_size=99), "proof_size"),
        (audit_pb2.QueryEventsRequest(proof_size=2, follow=True), "follow"),
        (audit_pb2.QueryEventsRequest(filter=audit_pb2.EventFilter(event_types=["Step"])), "filter.event_types"),
        (audit_pb2.QueryEventsRequest(filter=audit_pb2.EventFilter(event_types=["a"] * 65)), "filter.event_types"),
        (audit_pb2.QueryEventsRequest(filter=audit_pb2.EventFilter(decision_id="x" * 513)), "filter.decision_id"),
        (audit_pb2.ProveInclusionRequest(), "event"),
        (audit_pb2.ProveInclusionRequest(seq=-1), "seq"),
        (audit_pb2.ProveInclusionRequest(event_id="xyz"), "event_id"),
        (audit_pb2.ProveInclusionRequest(seq=2, tree_size=2), "tree_size"),
        (audit_pb2.ProveInclusionRequest(seq=2, tree_size=99), "tree_size"),
        (audit_pb2.ProveConsistencyRequest(old_size=99), "old_size"),
        (audit_pb2.ProveConsistencyRequest(old_size=-1), "old_size"),
    ],
)
async def test_what_cannot_be_asked_of_the_log_names_its_field(request_: Message, field: str) -> None:
    """Nothing is bent into what can."""
    async with serving(audit=FakeAudit(lines=LOGGED)) as served:
        call = getattr(served.log, type(request_).__name__.removesuffix("Request"))(request_, metadata=AS_ANN)
        error = await refused(call)
        _, bad, _ = details(error)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert [violation.field for violation in bad.field_violations] == [field]


async def test_a_pruned_range_names_the_first_event_that_is_left() -> None:
    """As a value, too, so that a reader can go on there."""
    async with serving(audit=FakeAudit(lines=LOGGED, first=6)) as served:
        for call in (
            served.log.ReadEvents(audit_pb2.ReadEventsRequest(start=5), metadata=AS_ANN),
            served.log.ProveInclusion(audit_pb2.ProveInclusionRequest(seq=5), metadata=AS_ANN),
        ):
            error = await refused(call)
            info, _, detail = details(error)
            assert error.code() is grpc.StatusCode.OUT_OF_RANGE
            assert (info.reason, info.metadata["first_seq"], detail.code) == ("AUDIT_PRUNED", "6", "audit.pruned")


async def test_a_proof_has_the_checkpoint_of_its_size_and_no_other() -> None:
    """The newest, the witnessed, or none; and the bytes of a tlog-proof only with one."""
    audit = FakeAudit(lines=LOGGED, cosigned=note_of(8))
    size = len(LOGGED)
    async with serving(audit=audit) as served:

        async def proof(**fields: Any) -> audit_pb2.ProveInclusionResponse:
            answer: audit_pb2.ProveInclusionResponse = await served.log.ProveInclusion(
                audit_pb2.ProveInclusionRequest(seq=4, **fields), metadata=AS_ANN
            )
            return answer

        newest = await proof()
        assert (newest.index, newest.size, newest.checkpoint, newest.line) == (4, size, note_of(size), LOGGED[4])
        assert newest.tlog_proof == proof_bytes(4, newest.hashes, note_of(size))
        for cosigned in (await proof(witnessed=True), await proof(tree_size=8)):
            assert (cosigned.size, cosigned.checkpoint) == (8, note_of(8))
        between = await proof(tree_size=7)
        assert (between.size, between.checkpoint, between.tlog_proof) == (7, b"", b"")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await served.log.ProveInclusion(audit_pb2.ProveInclusionRequest(seq=9, witnessed=True), metadata=AS_ANN)
        assert details(caught.value)[2].code == "audit.not_witnessed"

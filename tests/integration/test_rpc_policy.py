"""PolicyService over a real server, in front of a fake desk: bounds of requests, and what answers carry."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import grpc
import orjson
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.bundles.entry import SourceFailure
from gateway.decisions.records import Filter
from gateway.decisions.replay import Change, ChangeKind
from gateway.events import digest
from gateway.policy.decision import Decision
from gateway.policy.shadow import Disagreement, ShadowCounts
from gateway.policy_views import ShadowView
from gateway.rpc.policy_service import BUNDLE_CHARS_MAX, CHUNK_BYTES_MAX, DOCUMENT_BYTES_MAX, PUBLISHING_MAX
from gateway.v1 import policy_pb2
from tests.fakes import DECISION, MOMENT, FakePolicyDesk
from tests.rpc_server import AS_ANN, Served, details, serving

NO = Decision(allow=False, bundle="sha256:" + "c" * 64)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving() as running:
        yield running


def desk(served: Served) -> FakePolicyDesk:
    return served.policy


def pieces(*archives: bytes) -> list[policy_pb2.PublishBundleRequest]:
    return [policy_pb2.PublishBundleRequest(archive=archive) for archive in archives]


async def test_a_bundle_is_put_together_of_its_pieces(served: Served) -> None:
    """In order, for who is calling; the answer has all that is known of it."""
    answer = await served.bundles.PublishBundle(iter(pieces(b"ab", b"c")), metadata=AS_ANN)
    assert desk(served).calls == [("publish", "ann", b"abc")]
    assert answer.created
    assert (answer.bundle.revision, answer.bundle.sequence, answer.bundle.signed_by) == ("next-2", 7, "k1")
    assert answer.bundle.kept_at.ToDatetime(tzinfo=UTC) == MOMENT
    assert (answer.bundle.active, answer.bundle.previous) == (False, True)


@pytest.mark.parametrize(
    "parts",
    [[], [b""], [b"a", b""], [b"x" * (CHUNK_BYTES_MAX + 1)]],
    ids=["none", "empty", "empty piece", "large piece"],
)
async def test_a_stream_that_is_no_bundle_is_refused(served: Served, parts: list[bytes]) -> None:
    """Before anybody looks at it; the field is named."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await served.bundles.PublishBundle(iter(pieces(*parts)), metadata=AS_ANN)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert [violation.field for violation in details(refused.value)[1].field_violations] == ["archive"]
    assert desk(served).calls == []


async def test_only_so_many_publish_at_once(served: Served) -> None:
    """Each holds an archive in memory; a stream that has ended frees its place."""
    streams = [served.bundles.PublishBundle(metadata=AS_ANN) for _ in range(PUBLISHING_MAX)]
    for stream in streams:
        await stream.write(pieces(b"a")[0])
    refused = None
    for _ in range(50):  # until both have arrived
        try:
            await served.bundles.PublishBundle(iter(pieces(b"b")), metadata=AS_ANN)
        except grpc.aio.AioRpcError as error:
            refused = error
            break
    assert refused is not None
    assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    for stream in streams:
        await stream.done_writing()
        await stream
    assert await served.bundles.PublishBundle(iter(pieces(b"c")), metadata=AS_ANN)


async def test_a_document_is_evaluated_as_it_came(served: Served) -> None:
    """Byte for byte; the explanation is there where it is asked for."""
    request = policy_pb2.EvaluateRequest(entrypoint="step", document=b'{"a": 1}', bundle="next", explain=True)
    answer = await served.bundles.Evaluate(request, metadata=AS_ANN)
    assert desk(served).calls == [("evaluate", "step", b'{"a": 1}', "next", True)]
    assert orjson.loads(answer.decision) == DECISION.document()
    assert orjson.loads(answer.explanation) == {"why": "so"}


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda s: s.Evaluate(policy_pb2.EvaluateRequest(entrypoint="x"), metadata=AS_ANN), "entrypoint"),
        (lambda s: s.Evaluate(policy_pb2.EvaluateRequest(entrypoint="step", bundle="a\0"), metadata=AS_ANN), "bundle"),
        (
            lambda s: s.Evaluate(
                policy_pb2.EvaluateRequest(entrypoint="step", document=b"x" * (DOCUMENT_BYTES_MAX + 1)), metadata=AS_ANN
            ),
            "document",
        ),
        (lambda s: s.ActivateBundle(policy_pb2.ActivateBundleRequest(), metadata=AS_ANN), "bundle"),
        (
            lambda s: s.ActivateBundle(
                policy_pb2.ActivateBundleRequest(bundle="x" * (BUNDLE_CHARS_MAX + 1)), metadata=AS_ANN
            ),
            "bundle",
        ),
        (lambda s: s.RollbackBundle(policy_pb2.RollbackBundleRequest(digest="\n"), metadata=AS_ANN), "digest"),
    ],
)
async def test_a_field_out_of_its_range_is_named(served: Served, call: Callable[[Any], Any], field: str) -> None:
    """Nothing is asked of the desk."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call(served.bundles)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert [violation.field for violation in details(refused.value)[1].field_violations] == [field]
    assert desk(served).calls == []


async def test_what_changes_is_done_for_who_calls(served: Served) -> None:
    """Activate, roll back, follow: each with what it was told."""
    stub = served.bundles
    await stub.ActivateBundle(policy_pb2.ActivateBundleRequest(bundle="next-2"), metadata=AS_ANN)
    await stub.RollbackBundle(policy_pb2.RollbackBundleRequest(digest="sha256:x"), metadata=AS_ANN)
    await stub.FollowSource(policy_pb2.FollowSourceRequest(allow_older=True), metadata=AS_ANN)
    assert desk(served).calls == [
        ("activate", "ann", "next-2"),
        ("rollback", "ann", "sha256:x"),
        ("follow", "ann", True),
    ]


async def test_the_status_has_failure_and_shadow(served: Served) -> None:
    """As long as the source is wrong, and where a shadow is asked."""
    desk(served).failure = SourceFailure(code="policy.source_unavailable", message="no answer", at=MOMENT)
    counts = ShadowCounts(bundle="sha256:s", compared=9, disagreed=1, missed=2)
    found = Disagreement(entrypoint="step", document=digest(b"{}"), decided=DECISION, shadow=NO, at=MOMENT)
    desk(served).shadow = ShadowView(counts=counts, latest=(found,))
    status = await served.bundles.GetPolicyStatus(policy_pb2.GetPolicyStatusRequest(), metadata=AS_ANN)
    assert (status.source.stale, status.source.failure_code) == (True, "policy.source_unavailable")
    assert not status.source.HasField("confirmed_at")
    assert (status.shadow.compared, status.shadow.disagreed, status.shadow.missed) == (9, 1, 2)
    [one] = status.shadow.latest
    assert one.document == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert orjson.loads(one.shadow) == NO.document()
    assert (status.cache.hits, status.cache.misses) == (3, 4)


async def test_a_replay_is_streamed_with_its_summary_last(served: Served) -> None:
    """Changes in their order, then the counts; the selection is handed on as it was said."""
    desk(served).changes = [
        Change(
            kind=ChangeKind.DENIED,
            decision_id="1" * 32,
            at="2026-07-01T12:30:15.250000Z",
            entrypoint="step",
            before=DECISION,
            after=NO,
        )
    ]
    since = Timestamp()
    since.FromDatetime(datetime(2026, 6, 1, tzinfo=UTC))
    request = policy_pb2.ReplayDecisionsRequest(bundle="next", since=since, entrypoint="step", denied_only=True)
    told = [each async for each in served.bundles.ReplayDecisions(request, metadata=AS_ANN)]
    wanted = Filter(since="2026-06-01T00:00:00.000000Z", entrypoint="step", denied_only=True)
    assert desk(served).calls == [("replay", "next", wanted)]
    change, summary = told
    assert (change.change.kind, change.change.decided_at.ToDatetime(tzinfo=UTC)) == ("denied", MOMENT)
    assert orjson.loads(change.change.after) == NO.document()
    assert (summary.summary.asked, summary.summary.same, summary.summary.counts["denied"]) == (5, 4, 1)


@pytest.mark.parametrize("at", ["", "yesterday", "0001-01-01T00:00:00+23:59", "\x00"])
async def test_a_damaged_record_does_not_end_a_replay(served: Served, at: str) -> None:
    """What stands in the clear of it may be anything: it is told as unreadable, and the others follow."""
    damaged = Change(kind=ChangeKind.UNREADABLE, decision_id="1" * 32, at=at, entrypoint="step", why="it was changed")
    desk(served).changes = [damaged, replace(damaged, at="2026-07-01T12:30:15.250000Z")]
    request = policy_pb2.ReplayDecisionsRequest(bundle="next")
    told = [each async for each in served.bundles.ReplayDecisions(request, metadata=AS_ANN)]
    assert [each.change.kind for each in told[:-1]] == ["unreadable", "unreadable"]
    assert [each.change.HasField("decided_at") for each in told[:-1]] == [False, True]
    assert told[-1].HasField("summary")

"""PolicyService: what is sent, and what comes back."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from gateway.client.bundles import Bundle, DecisionChange, Evaluation, PolicyStatus, PublishedBundle, ReplaySummary
from gateway.client.call import Call, call, chunks, upload
from gateway.client.methods import DriverT, Group, Method, Stream
from gateway.client.streams import Unresumable
from gateway.rpc.timestamps import timestamp
from gateway.v1 import policy_pb2

_SECONDS: Final = 120.0  # a bundle is vetted, and workers are started, or an OPA is waited for
_CHUNK_BYTES: Final = 256 * 1024


def evaluate(entrypoint: str, document: bytes, *, bundle: str = "", explain: bool = False) -> Call[Evaluation]:
    """Ask policy about a document; without a bundle, the one in force."""
    request = policy_pb2.EvaluateRequest(entrypoint=entrypoint, document=document, bundle=bundle, explain=explain)
    return call(_path("Evaluate"), request, policy_pb2.EvaluateResponse, Evaluation.of, seconds=_SECONDS)


def publish(archive: bytes) -> Call[PublishedBundle]:
    """Publish the .tar.gz of a bundle; the same once more changes nothing."""

    def parts() -> Iterator[policy_pb2.PublishBundleRequest]:
        for chunk in chunks(archive, _CHUNK_BYTES):
            yield policy_pb2.PublishBundleRequest(archive=chunk)

    return upload(_path("PublishBundle"), parts, policy_pb2.PublishBundleResponse, PublishedBundle.of, seconds=_SECONDS)


def bundles() -> Call[tuple[Bundle, ...]]:
    """Return the bundles that are kept, the newest first."""
    return call(
        _path("ListBundles"),
        policy_pb2.ListBundlesRequest(),
        policy_pb2.ListBundlesResponse,
        lambda it: tuple(map(Bundle.of, it.bundles)),
    )


def status() -> Call[PolicyStatus]:
    """Return what is in force, and where it comes from."""
    request = policy_pb2.GetPolicyStatusRequest()
    return call(_path("GetPolicyStatus"), request, policy_pb2.GetPolicyStatusResponse, PolicyStatus.of)


def activate(bundle: str) -> Call[Bundle]:
    """Put a kept bundle in force. Not repeated: a rollback would count it."""
    request = policy_pb2.ActivateBundleRequest(bundle=bundle)
    return call(
        _path("ActivateBundle"),
        request,
        policy_pb2.ActivateBundleResponse,
        lambda it: Bundle.of(it.bundle),
        repeats=False,
        seconds=_SECONDS,
    )


def rollback(digest: str = "") -> Call[Bundle]:
    """Put in force what was so before; with a digest, only where that one is in force. Not repeated."""
    request = policy_pb2.RollbackBundleRequest(digest=digest)
    return call(
        _path("RollbackBundle"),
        request,
        policy_pb2.RollbackBundleResponse,
        lambda it: Bundle.of(it.bundle),
        repeats=False,
        seconds=_SECONDS,
    )


def follow_source(*, allow_older: bool = False) -> Call[Bundle]:
    """Let the source decide again, although it is older if that is allowed. Not repeated."""
    request = policy_pb2.FollowSourceRequest(allow_older=allow_older)
    return call(
        _path("FollowSource"),
        request,
        policy_pb2.FollowSourceResponse,
        lambda it: Bundle.of(it.bundle),
        repeats=False,
        seconds=_SECONDS,
    )


def replay(
    bundle: str,
    *,
    since: datetime | None = None,
    entrypoint: str = "",
    mission_id: str = "",
    denied_only: bool = False,
) -> Unresumable[DecisionChange | ReplaySummary, policy_pb2.ReplayDecisionsResponse]:
    """Yield each recorded decision that another bundle would not give, and at the end the counts."""
    request = policy_pb2.ReplayDecisionsRequest(
        bundle=bundle,
        since=timestamp(since),
        entrypoint=entrypoint,
        mission_id=mission_id,
        denied_only=denied_only,
    )
    return Unresumable(_path("ReplayDecisions"), request, policy_pb2.ReplayDecisionsResponse, _replayed)


class PolicyMethods(Group[DriverT]):
    """Bundles, and what they decide."""

    evaluate = Method(evaluate)
    publish = Method(publish)
    bundles = Method(bundles)
    status = Method(status)
    activate = Method(activate)
    rollback = Method(rollback)
    follow_source = Method(follow_source)
    replay = Stream(replay)


def _path(method: str) -> str:
    return f"/gateway.v1.PolicyService/{method}"


def _replayed(answer: policy_pb2.ReplayDecisionsResponse) -> DecisionChange | ReplaySummary:
    return ReplaySummary.of(answer.summary) if answer.HasField("summary") else DecisionChange.of(answer.change)

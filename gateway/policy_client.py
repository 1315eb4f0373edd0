"""The part of the client that speaks with PolicyService: plain values in and out."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import orjson

from gateway.answers import bundle_document, decision_change_document, policy_status_document
from gateway.calling import Calls
from gateway.rpc.timestamps import timestamp
from gateway.v1 import policy_pb2, policy_pb2_grpc

DEADLINE_SECONDS: Final = 120.0  # a bundle is vetted, and workers are started, or an OPA is waited for
CHUNK_BYTES: Final = 256 * 1024


class PolicyClient:
    """Calls PolicyService; every method raises CallError where the call fails."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._policy = policy_pb2_grpc.PolicyServiceStub(calls.channel)

    def evaluate(self, entrypoint: str, document: bytes, *, bundle: str = "", explain: bool = False) -> dict[str, Any]:
        """Return `{"decision","explanation"}` for a document; the explanation is null unless it is asked for."""
        request = policy_pb2.EvaluateRequest(entrypoint=entrypoint, document=document, bundle=bundle, explain=explain)
        answer = self._calls.one(self._policy.Evaluate, request, DEADLINE_SECONDS)
        explanation = orjson.loads(answer.explanation) if answer.explanation else None
        return {"decision": orjson.loads(answer.decision), "explanation": explanation}

    def publish(self, archive: bytes) -> dict[str, Any]:
        """Publish the .tar.gz of a bundle; return `{"bundle","created"}`."""
        parts = (
            policy_pb2.PublishBundleRequest(archive=archive[start : start + CHUNK_BYTES])
            for start in range(0, len(archive), CHUNK_BYTES)
        )
        answer = self._calls.sent(self._policy.PublishBundle, parts, DEADLINE_SECONDS)
        return {"bundle": bundle_document(answer.bundle), "created": answer.created}

    def bundles(self) -> list[dict[str, Any]]:
        """Return the bundles that are kept, the newest first."""
        answer = self._calls.one(self._policy.ListBundles, policy_pb2.ListBundlesRequest())
        return [bundle_document(bundle) for bundle in answer.bundles]

    def status(self) -> dict[str, Any]:
        """Return what is in force, and where it comes from."""
        return policy_status_document(
            self._calls.one(self._policy.GetPolicyStatus, policy_pb2.GetPolicyStatusRequest())
        )

    def activate(self, bundle: str) -> dict[str, Any]:
        """Put a kept bundle in force; return it."""
        request = policy_pb2.ActivateBundleRequest(bundle=bundle)
        return bundle_document(self._calls.one(self._policy.ActivateBundle, request, DEADLINE_SECONDS).bundle)

    def rollback(self, digest: str = "") -> dict[str, Any]:
        """Put in force what was so before; return it. With a digest, only where that one is in force."""
        request = policy_pb2.RollbackBundleRequest(digest=digest)
        return bundle_document(self._calls.one(self._policy.RollbackBundle, request, DEADLINE_SECONDS).bundle)

    def follow_source(self, *, allow_older: bool = False) -> dict[str, Any]:
        """Let the source decide again, although it is older if that is allowed; return what is in force."""
        request = policy_pb2.FollowSourceRequest(allow_older=allow_older)
        return bundle_document(self._calls.one(self._policy.FollowSource, request, DEADLINE_SECONDS).bundle)

    def replay(
        self,
        bundle: str,
        *,
        since: datetime | None = None,
        entrypoint: str = "",
        mission_id: str = "",
        denied_only: bool = False,
    ) -> Iterator[dict[str, Any]]:
        """Yield `{"change": …}` for each recorded decision that would change, and at the end `{"summary": …}`."""
        request = policy_pb2.ReplayDecisionsRequest(
            bundle=bundle,
            since=timestamp(since),
            entrypoint=entrypoint,
            mission_id=mission_id,
            denied_only=denied_only,
        )
        for answer in self._calls.stream(self._policy.ReplayDecisions, request):
            if answer.HasField("summary"):
                found = answer.summary
                yield {"summary": {"asked": found.asked, "same": found.same, **found.counts}}
            else:
                yield {"change": decision_change_document(answer.change)}

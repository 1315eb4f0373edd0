"""gateway.v1.PolicyService: put a stream together within bounds, ask the policy desk, encode."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC
from typing import Final, Literal

from engine.clock import rfc3339
from gateway.decisions.records import Filter
from gateway.decisions.replay import Summary
from gateway.errors import OverloadedError
from gateway.policy.bundle_files import ARCHIVE_BYTES_MAX
from gateway.policy.engine import ENTRYPOINTS, Entrypoint
from gateway.rpc.bad_request import bad_request, out_of_range
from gateway.rpc.interceptor import CALLER
from gateway.rpc.policy_codec import (
    bundle_message,
    change_message,
    evaluation_message,
    status_message,
    summary_message,
)
from gateway.rpc.ports import PolicyDesk
from gateway.rpc.types import Context
from gateway.v1 import policy_pb2, policy_pb2_grpc

CHUNK_BYTES_MAX: Final = 1024 * 1024
CHUNKS_MAX: Final = 16_384  # an archive in pieces of 1 KiB
PUBLISHING_MAX: Final = 2  # streams at a time: each holds an archive in memory
PUBLISH_SECONDS_MAX: Final = 60.0
BUNDLE_CHARS_MAX: Final = 256
DOCUMENT_BYTES_MAX: Final = 6 * 1024 * 1024


class PolicyService(policy_pb2_grpc.PolicyServiceServicer):
    """Speaks for the policy desk. The caller was authenticated, and the call decided, before any method here."""

    def __init__(self, policy: PolicyDesk) -> None:
        self._policy = policy
        self._publishing = 0

    async def Evaluate(self, request: policy_pb2.EvaluateRequest, _context: Context) -> policy_pb2.EvaluateResponse:
        """Say what a bundle decides about a document."""
        entrypoint = _entrypoint(request.entrypoint)
        _selector(request.bundle, least=0)
        if len(request.document) > DOCUMENT_BYTES_MAX:
            raise out_of_range("document", f"must have at most {DOCUMENT_BYTES_MAX} bytes")
        evaluation = await self._policy.evaluate(entrypoint, request.document, request.bundle, explain=request.explain)
        return evaluation_message(evaluation)

    async def PublishBundle(
        self, request_iterator: AsyncIterator[policy_pb2.PublishBundleRequest], _context: Context
    ) -> policy_pb2.PublishBundleResponse:
        """Take a bundle."""
        if self._publishing >= PUBLISHING_MAX:
            raise OverloadedError(f"{PUBLISHING_MAX} bundles are being published", code="policy.publishing")
        self._publishing += 1
        try:
            try:
                async with asyncio.timeout(PUBLISH_SECONDS_MAX):
                    archive = await _collected(request_iterator)
            except TimeoutError as error:
                raise out_of_range("", f"a bundle must arrive within {PUBLISH_SECONDS_MAX:g} seconds") from error
            view, created = await self._policy.publish(CALLER.get(), archive)
        finally:
            self._publishing -= 1
        return policy_pb2.PublishBundleResponse(bundle=bundle_message(view), created=created)

    async def ListBundles(
        self, _request: policy_pb2.ListBundlesRequest, _context: Context
    ) -> policy_pb2.ListBundlesResponse:
        """List the bundles that are kept."""
        return policy_pb2.ListBundlesResponse(bundles=[bundle_message(view) for view in self._policy.bundles()])

    async def GetPolicyStatus(
        self, _request: policy_pb2.GetPolicyStatusRequest, _context: Context
    ) -> policy_pb2.GetPolicyStatusResponse:
        """Say what is in force."""
        return status_message(self._policy.status())

    async def ActivateBundle(
        self, request: policy_pb2.ActivateBundleRequest, _context: Context
    ) -> policy_pb2.ActivateBundleResponse:
        """Put a kept bundle in force."""
        _selector(request.bundle, least=1)
        view = await self._policy.activate(CALLER.get(), request.bundle)
        return policy_pb2.ActivateBundleResponse(bundle=bundle_message(view))

    async def RollbackBundle(
        self, request: policy_pb2.RollbackBundleRequest, _context: Context
    ) -> policy_pb2.RollbackBundleResponse:
        """Put in force what was so before."""
        _selector(request.digest, least=0, field="digest")
        view = await self._policy.rollback(CALLER.get(), request.digest)
        return policy_pb2.RollbackBundleResponse(bundle=bundle_message(view))

    async def FollowSource(
        self, request: policy_pb2.FollowSourceRequest, _context: Context
    ) -> policy_pb2.FollowSourceResponse:
        """Let the source decide again."""
        view = await self._policy.follow_source(CALLER.get(), allow_older=request.allow_older)
        return policy_pb2.FollowSourceResponse(bundle=bundle_message(view))

    async def ReplayDecisions(
        self, request: policy_pb2.ReplayDecisionsRequest, _context: Context
    ) -> AsyncIterator[policy_pb2.ReplayDecisionsResponse]:
        """Decide recorded documents again."""
        _selector(request.bundle, least=1)
        wanted = Filter(
            since=_moment(request, "since"),
            entrypoint=_entrypoint(request.entrypoint) if request.entrypoint else None,
            mission_id=request.mission_id,
            denied_only=request.denied_only,
        )
        async with aclosing(self._policy.replay(request.bundle, wanted)) as found:
            async for each in found:
                yield summary_message(each) if isinstance(each, Summary) else change_message(each)


async def _collected(parts: AsyncIterator[policy_pb2.PublishBundleRequest]) -> bytes:
    """Return the archive of a stream; it is never read further than one may be long."""
    archive = bytearray()
    chunks = 0
    async for part in parts:
        chunks += 1
        if not 1 <= len(part.archive) <= CHUNK_BYTES_MAX:
            raise out_of_range("archive", f"a piece must have 1 to {CHUNK_BYTES_MAX} bytes")
        if len(archive) + len(part.archive) > ARCHIVE_BYTES_MAX or chunks > CHUNKS_MAX:
            raise out_of_range("archive", f"must have at most {ARCHIVE_BYTES_MAX} bytes in {CHUNKS_MAX} pieces")
        archive += part.archive
    if not archive:
        raise bad_request("request.malformed", "archive", "send the .tar.gz of a bundle, in pieces")
    return bytes(archive)


def _entrypoint(name: str) -> Entrypoint:
    if name not in ENTRYPOINTS:
        raise out_of_range("entrypoint", f"must be one of {', '.join(ENTRYPOINTS)}")
    return name


def _selector(text: str, *, least: int, field: str = "bundle") -> None:
    if not least <= len(text) <= BUNDLE_CHARS_MAX or not text.isprintable():
        raise out_of_range(field, f"must have {least} to {BUNDLE_CHARS_MAX} printable characters")


def _moment(request: policy_pb2.ReplayDecisionsRequest, field: Literal["since"]) -> str:
    """Return a time as RFC 3339; empty where there is none."""
    if not request.HasField(field):
        return ""
    try:
        return rfc3339(getattr(request, field).ToDatetime(tzinfo=UTC))
    except (ValueError, OverflowError) as error:
        raise out_of_range(field, "is no time between the years 1 and 9999") from error

"""Uploads last as long as their caller makes them: who may make the call at their end is who gets something of them."""

import asyncio
from hashlib import sha256
from typing import Any

import grpc
import pytest

from gateway.authn.authenticator import Authenticator
from gateway.authn.jwt import JwtVerifier
from gateway.authn.tokens import TokenEntry, TokenTable
from gateway.errors import PolicyDeniedError, Reason
from gateway.rpc.authenticating import AGAIN_SECONDS
from gateway.v1 import policy_pb2
from tests.bundle_worlds import ManualClock
from tests.fakes import FakeGate
from tests.rpc_server import ANN, AS_ANN, Served, serving


async def begun(served: Served) -> Any:
    """Return an upload that was let in, and of which a piece is still to come."""
    call = served.bundles.PublishBundle(metadata=AS_ANN)
    await call.write(policy_pb2.PublishBundleRequest(archive=b"ab"))
    async with asyncio.timeout(10):
        while not served.gate.asked:  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.01)
    return call


def deny(*_: object) -> None:
    raise PolicyDeniedError([Reason("rpc.method_not_granted", "no longer", "data.gateway.rpc.deny")])


@pytest.mark.parametrize("is_allowed", [False, True])
async def test_an_upload_does_not_outlive_the_bundle_that_allowed_it(is_allowed: bool) -> None:
    """Under another bundle it is decided again before anything is done with what it has brought."""
    gate = FakeGate()
    async with serving(gate=gate) as served:
        call = await begun(served)
        gate.bundle = "sha256:second"
        gate.verdict = None if is_allowed else deny
        await call.done_writing()
        code = await call.code()
    assert code is (grpc.StatusCode.OK if is_allowed else grpc.StatusCode.PERMISSION_DENIED)
    assert len(gate.asked) == 2
    assert served.policy.calls == ([("publish", "ann", b"ab")] if is_allowed else [])


async def test_an_upload_does_not_outlive_its_credential() -> None:
    """A token that was taken out of the configuration meanwhile publishes nothing."""
    clock = ManualClock()
    table = TokenTable([TokenEntry(sha256=sha256(b"ann-token").hexdigest(), principal=ANN)], clock)
    authenticator = Authenticator(tokens=table, jwt=JwtVerifier((), clock))
    async with serving(authenticator=authenticator, clock=clock) as served:
        call = await begun(served)
        table.adopt([])
        clock.pass_(AGAIN_SECONDS)
        await call.done_writing()
        assert await call.code() is grpc.StatusCode.UNAUTHENTICATED
        assert served.policy.calls == []

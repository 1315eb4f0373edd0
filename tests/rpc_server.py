"""A real server of gateway.rpc on loopback, in front of fakes, and stubs that speak to it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
import grpc.aio
from google.rpc import error_details_pb2, status_pb2

from engine.clock import SystemClock
from engine.mission import MissionLimits
from gateway.authn.authenticator import Authenticator
from gateway.authn.jwt import JwtVerifier
from gateway.authn.refusals import Refusals
from gateway.authn.tokens import TokenEntry, TokenTable
from gateway.identity import Principal
from gateway.limits.holding import Limits
from gateway.limits_config import LimitsConfig
from gateway.rpc.listeners import Listening
from gateway.rpc.server import Ports, RpcServer
from gateway.v1 import (
    audit_pb2_grpc,
    error_pb2,
    hook_pb2_grpc,
    mission_pb2_grpc,
    policy_pb2_grpc,
    privacy_pb2_grpc,
    statistics_pb2_grpc,
)
from tests.fakes import FakeAudit, FakeDesk, FakeGate, FakeHooks, FakePeople, FakePolicyDesk, FakeReplays
from tests.statistics_desks import FakeStatistics
from tests.subjects import FixedSubjects

ANN = Principal(subject="ann", tenant="default", roles=("submitter",))
BOB = Principal(subject="bob", tenant="other", roles=("submitter",))
AS_ANN = (("authorization", "Bearer ann-token"),)
AS_BOB = (("authorization", "Bearer bob-token"),)


def tokens() -> TokenTable:
    """Return a table with ann-token and bob-token."""
    return TokenTable(
        [TokenEntry(sha256=sha256(f"{p.subject}-token".encode()).hexdigest(), principal=p) for p in (ANN, BOB)],
        SystemClock(),
    )


@dataclass
class Served:
    """A server and its fakes."""

    server: RpcServer
    desk: FakeDesk
    gate: FakeGate
    audit: FakeAudit
    channel: grpc.aio.Channel = field(repr=False)
    held: Limits
    hooks: FakeHooks = field(default_factory=FakeHooks)
    policy: FakePolicyDesk = field(default_factory=FakePolicyDesk)

    @property
    def missions(self) -> Any:
        return mission_pb2_grpc.MissionServiceStub(self.channel)

    @property
    def registry(self) -> Any:
        return hook_pb2_grpc.HookServiceStub(self.channel)

    @property
    def bundles(self) -> Any:
        return policy_pb2_grpc.PolicyServiceStub(self.channel)

    @property
    def privacy(self) -> Any:
        return privacy_pb2_grpc.PrivacyServiceStub(self.channel)

    @property
    def statistics(self) -> Any:
        return statistics_pb2_grpc.StatisticsServiceStub(self.channel)

    @property
    def log(self) -> Any:
        return audit_pb2_grpc.AuditServiceStub(self.channel)


@asynccontextmanager
async def serving(
    desk: FakeDesk | None = None,
    *,
    gate: FakeGate | None = None,
    audit: FakeAudit | None = None,
    hooks: FakeHooks | None = None,
    policy: FakePolicyDesk | None = None,
    people: FakePeople | None = None,
    statistics: FakeStatistics | None = None,
    anonymous: bool = False,
    settings: LimitsConfig | None = None,
    options: Sequence[tuple[str, int]] = (),
    authenticator: Authenticator | None = None,
    listening: Listening | None = None,
    **others: Any,
) -> AsyncIterator[Served]:
    """Serve fakes on a free port; `options` are the client channel's, `settings` what calls are held to.

    `others` are fields of `Ports`: `clock`, `limits`, `queues`, `watch`.
    """
    settings = settings or LimitsConfig()
    held = Limits.of(settings.call_settings(), SystemClock(), lambda: 0.0)
    desk, gate, audit = desk or FakeDesk(), gate or FakeGate(), audit or FakeAudit()
    hooks, policy = hooks or FakeHooks(), policy or FakePolicyDesk()
    ports = Ports(
        desk=desk,
        hooks=hooks,
        policy=policy,
        privacy=desk,
        people=people or FakePeople(),
        statistics=statistics or FakeStatistics(),
        gate=gate,
        audit=audit,
        events=audit,
        names=audit,
        replays=FakeReplays(),
        authenticator=authenticator
        or Authenticator(tokens=tokens(), jwt=JwtVerifier((), SystemClock()), anonymous=anonymous),
        refusals=Refusals(),
        subjects=FixedSubjects(),
        calls=held.calls,
        transport=settings.transport(),
        **{"limits": MissionLimits(), "clock": SystemClock(), **others},
    )
    with TemporaryDirectory() as home:
        server = RpcServer(ports, listening or Listening(address="127.0.0.1:0", home=Path(home)))
        await server.start()
        try:
            async with grpc.aio.insecure_channel(server.address, options=options) as channel:
                yield Served(server, desk, gate, audit, channel, held, hooks, policy)
        finally:
            await server.stop(0.2)


def everything(error: grpc.aio.AioRpcError) -> str:
    """Return all that a failed call lets a client see, as one text."""
    return f"{error.code()} {error.details()} {error.debug_error_string()} {error.trailing_metadata()}"


def details(
    error: grpc.aio.AioRpcError | grpc.Call,
) -> tuple[error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_pb2.ErrorDetail]:
    """Return the three details of a failed call, empty where one is not there."""
    info, bad, detail = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_pb2.ErrorDetail()
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for box in status_pb2.Status.FromString(value).details:
                for message in (info, bad, detail):
                    if box.Is(message.DESCRIPTOR):
                        box.Unpack(message)
    return info, bad, detail


@contextmanager
def served_aside(
    desk: FakeDesk,
    *,
    gate: FakeGate | None = None,
    hooks: FakeHooks | None = None,
    policy: FakePolicyDesk | None = None,
    people: FakePeople | None = None,
    statistics: FakeStatistics | None = None,
) -> Iterator[str]:
    """Serve a fake desk from a thread with a loop of its own, for clients that block; yield the address."""
    loop = asyncio.new_event_loop()
    ready: Future[str] = Future()
    stop = asyncio.Event()

    async def serve() -> None:
        async with serving(desk, gate=gate, hooks=hooks, policy=policy, people=people, statistics=statistics) as served:
            ready.set_result(served.server.address)
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        yield ready.result(timeout=10)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()

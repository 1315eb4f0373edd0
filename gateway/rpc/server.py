"""The gRPC server: services, health and reflection behind one interceptor, with bounds on everything."""

import asyncio
import os
from collections.abc import Coroutine
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from engine.clock import Clock
from engine.mission import MissionLimits
from gateway.authn.authenticator import Authenticator
from gateway.authn.refusals import Refusals
from gateway.identity import Principal
from gateway.limits.calls import CallLimits
from gateway.limits.kinds import CallKind
from gateway.limits.shedding import Waited
from gateway.limits.transport import Transport
from gateway.rpc.audit_access import AuditAccess
from gateway.rpc.audit_service import AuditService
from gateway.rpc.authenticating import Callers
from gateway.rpc.channel_options import channel_options
from gateway.rpc.health_service import ComponentHealthService
from gateway.rpc.hook_service import HookService
from gateway.rpc.interceptor import GatewayInterceptor
from gateway.rpc.listeners import Bound, Listening, bind, bind_sockets, socket_uri
from gateway.rpc.mission_service import MissionService
from gateway.rpc.policy_service import PolicyService
from gateway.rpc.ports import (
    ActorNames,
    AuditReader,
    EventFinder,
    HookDesk,
    MissionDesk,
    MissionReplays,
    PeopleDesk,
    PolicyDesk,
    PrivacyDesk,
    Pseudonyms,
    RpcGate,
    StatisticsDesk,
)
from gateway.rpc.privacy_service import PrivacyService
from gateway.rpc.probe import Probe, Queues
from gateway.rpc.statistics_service import StatisticsService
from gateway.rpc.watching import WatchingInterceptor
from gateway.v1 import (
    audit_pb2,
    audit_pb2_grpc,
    hook_pb2,
    hook_pb2_grpc,
    mission_pb2,
    mission_pb2_grpc,
    policy_pb2,
    policy_pb2_grpc,
    privacy_pb2,
    privacy_pb2_grpc,
    statistics_pb2,
    statistics_pb2_grpc,
)
from gateway.watch import UNWATCHED, Watch

_SERVICES: Final = (
    mission_pb2.DESCRIPTOR.services_by_name["MissionService"].full_name,
    audit_pb2.DESCRIPTOR.services_by_name["AuditService"].full_name,
    hook_pb2.DESCRIPTOR.services_by_name["HookService"].full_name,
    policy_pb2.DESCRIPTOR.services_by_name["PolicyService"].full_name,
    privacy_pb2.DESCRIPTOR.services_by_name["PrivacyService"].full_name,
    statistics_pb2.DESCRIPTOR.services_by_name["StatisticsService"].full_name,
)
_HEALTH: Final = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What the server speaks for."""

    desk: MissionDesk
    hooks: HookDesk
    policy: PolicyDesk
    privacy: PrivacyDesk
    people: PeopleDesk
    statistics: StatisticsDesk
    gate: RpcGate
    audit: AuditReader
    events: EventFinder
    names: ActorNames
    replays: MissionReplays
    authenticator: Authenticator
    refusals: Refusals
    subjects: Pseudonyms
    limits: MissionLimits
    calls: CallLimits
    transport: Transport
    clock: Clock
    queues: Queues = field(default_factory=dict)  # that calls of a kind pass
    watch: Watch = UNWATCHED


class RpcServer:
    """One gateway's server. `bound` is known once `start` has returned."""

    def __init__(self, ports: Ports, listening: Listening) -> None:
        self._ports = ports
        self._listening = listening
        self.health = ComponentHealthService(_SERVICES)
        self._access = AuditAccess(ports.desk, ports.audit, ports.events, ports.names)
        self._probes: list[Probe] = []
        self._server = self._serving()
        self._sockets = [(socket, self._serving(socket.principal)) for socket in listening.sockets]
        self._held = ExitStack()  # locks, and sockets that have to go
        self.bound = Bound()

    @property
    def address(self) -> str:
        """Where it listens first of all."""
        return self.bound.address

    async def start(self) -> None:
        """Listen, and report SERVING.

        Raises:
            ConfigurationError: an address or a socket cannot be had.
        """
        try:
            self.bound = bind(self._server, self._listening)
            bind_sockets(self._held, self._sockets)
            self._probe_itself()
            for server in self._servers:
                await server.start()
        except BaseException:
            self._held.close()
            raise
        await self.health.serve()

    def waits(self, kind: CallKind) -> Waited:
        """Return how long calls of a kind wait on their way, where they wait longest."""
        found = [probe.waits(kind) for probe in self._probes]
        return Waited(whole=max(each.whole for each in found), inside=max(each.inside for each in found))

    def works(self) -> list[Coroutine[Any, Any, None]]:
        """Return what goes on beside the calls, from the start on."""
        return [probe.run() for probe in self._probes]

    async def not_serving(self) -> None:
        """Tell balancers to go elsewhere; calls still work."""
        await self.health.shut_down()

    async def stop(self, grace_seconds: float) -> None:
        """Take no new calls, let those under way end, then cut them."""
        await asyncio.gather(*(server.stop(grace_seconds) for server in self._servers))
        self._held.close()

    @property
    def _servers(self) -> list[grpc.aio.Server]:
        return [self._server, *(server for _, server in self._sockets)]

    def _probe_itself(self) -> None:
        """Let each server be called by its probe: the main one over a socket in the home, the others over their own."""
        home = os.open(self._listening.home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._held.callback(os.close, home)
        main, *others = self._probes
        main.listen(self._server, home)
        for probe, (socket, _) in zip(others, self._sockets, strict=True):
            probe.reach(socket_uri(socket))

    def _serving(self, socket: Principal | None = None) -> grpc.aio.Server:
        """Return a server of all services; `socket` is whose every call is."""
        ports = self._ports
        tls = socket is None and self._listening.tls is not None and ports.authenticator.takes_certificates
        callers = Callers(ports.authenticator, ports.refusals, ports.clock, socket=socket, tls=tls)
        interceptor = GatewayInterceptor(
            callers=callers,
            subjects=ports.subjects,
            gate=ports.gate,
            desk=ports.desk,
            audit=self._access,
            limits=ports.calls,
            transport=ports.transport,
        )
        watching = (WatchingInterceptor(ports.watch),) if ports.watch.on else ()
        probe = Probe(ports.clock, ports.queues, servers=1 + len(self._listening.sockets))
        self._probes.append(probe)
        server = grpc.aio.server(
            interceptors=(probe, *watching, interceptor),
            options=channel_options(ports.transport),
            maximum_concurrent_rpcs=ports.transport.calls_open_max,
        )
        mission_pb2_grpc.add_MissionServiceServicer_to_server(MissionService(ports.desk, ports.limits), server)
        audit = AuditService(ports.audit, ports.events, self._access, ports.replays)
        audit_pb2_grpc.add_AuditServiceServicer_to_server(audit, server)
        hook_pb2_grpc.add_HookServiceServicer_to_server(HookService(ports.hooks), server)
        policy_pb2_grpc.add_PolicyServiceServicer_to_server(PolicyService(ports.policy), server)
        privacy_pb2_grpc.add_PrivacyServiceServicer_to_server(PrivacyService(ports.privacy, ports.people), server)
        statistics_pb2_grpc.add_StatisticsServiceServicer_to_server(StatisticsService(ports.statistics), server)
        health_pb2_grpc.add_HealthServicer_to_server(self.health.servicer, server)
        names = (*_SERVICES, _HEALTH, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
        return server

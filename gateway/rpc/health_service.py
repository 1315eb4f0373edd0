"""grpc.health.v1: the whole gateway, each of its services, and each component under its own name.

Strangers may ask, so nothing here waits for one. The servicer that comes with gRPC holds a lock while it writes to a
watcher: one that reads nothing would keep health from everybody, and the gateway from its stop.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.health import Component, ComponentHealth
from gateway.rpc.types import Context

_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN: Final = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
_LISTED: Final[Any] = getattr(health_pb2, "HealthListResponse")  # noqa: B009 - which the stubs do not have yet
_EVERY_CALL: Final = frozenset({Component.AUDIT, Component.POLICY})  # each is decided, and recorded
_ALL: Final = frozenset(Component)
_NEEDS: Final[Mapping[str, frozenset[Component]]] = {
    "": _ALL,
    "gateway.v1.MissionService": _ALL,
    "gateway.v1.HookService": _ALL,
    "gateway.v1.PrivacyService": _EVERY_CALL | {Component.STORE},
}


class HealthServicer(health_pb2_grpc.HealthServicer):
    """Tells each who asks or watches; a watcher that is slow misses what was between, and no other waits for it."""

    def __init__(self) -> None:
        self._statuses: dict[str, int] = {}
        self._changed = asyncio.Event()  # of the next change; each has its own

    def set(self, statuses: Mapping[str, int]) -> None:
        """From now on say this of these names."""
        self._statuses |= statuses
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Context) -> Any:
        """Say it once; NOT_FOUND of what has no name here."""
        status = self._statuses.get(request.service)
        if status is None:
            await context.abort(grpc.StatusCode.NOT_FOUND)
        return health_pb2.HealthCheckResponse(status=status)

    async def List(self, _request: Any, _context: Context) -> Any:
        """Say it of everything that has a name here."""
        statuses = {name: health_pb2.HealthCheckResponse(status=each) for name, each in self._statuses.items()}
        return _LISTED(statuses=statuses)

    async def Watch(self, request: health_pb2.HealthCheckRequest, _context: Context) -> AsyncIterator[Any]:
        """Say it now, and when it has changed. The interceptor sends, and waits for nobody without end."""
        told: int | None = None
        while True:
            changed, status = self._changed, self._statuses.get(request.service, _UNKNOWN)
            if status == told:
                await changed.wait()
                continue
            told = status
            yield health_pb2.HealthCheckResponse(status=status)


class ComponentHealthService:
    """Says SERVING of what has all that it needs; once `shut_down`, of nothing any more."""

    def __init__(self, services: Sequence[str]) -> None:
        """Take the full names of the gateway's services."""
        self.servicer: Final = HealthServicer()
        self._names = ("", *services, *Component)
        self._services = ("", *services)
        self._stopped = False

    async def serve(self) -> None:
        """Say that everything serves."""
        self.servicer.set(dict.fromkeys(self._names, _SERVING))

    async def tell(self, states: Iterable[ComponentHealth]) -> None:
        """Take over how it stands with the components; what is not named counts as dead."""
        if self._stopped:
            return
        well = {state.component for state in states if state.serving}
        serving = {name: _NEEDS.get(name, _EVERY_CALL) <= well for name in self._services}
        serving |= {component: component in well for component in Component}
        self.servicer.set({name: _SERVING if each else _NOT_SERVING for name, each in serving.items()})

    async def shut_down(self) -> None:
        """Say NOT_SERVING of everything, whatever `tell` is told from now on."""
        self._stopped = True
        self.servicer.set(dict.fromkeys(self._names, _NOT_SERVING))

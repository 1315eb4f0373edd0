"""grpc.health.v1: the whole gateway, each of its services, and each component under its own name."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from grpc_health.v1 import health, health_pb2

from gateway.health import Component, ComponentHealth

_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
_EVERY_CALL: Final = frozenset({Component.AUDIT, Component.POLICY})  # each is decided, and recorded
_ALL: Final = frozenset(Component)
_NEEDS: Final[Mapping[str, frozenset[Component]]] = {
    "": _ALL,
    "gateway.v1.MissionService": _ALL,
    "gateway.v1.HookService": _ALL,
    "gateway.v1.PrivacyService": _EVERY_CALL | {Component.STORE},
}


class ComponentHealthService:
    """Says SERVING of what has all that it needs; once `shut_down`, of nothing any more."""

    def __init__(self, services: Sequence[str]) -> None:
        """Take the full names of the gateway's services."""
        self.servicer: Final = health.aio.HealthServicer()
        self._services = ("", *services)

    async def serve(self) -> None:
        """Say that everything serves."""
        for name in (*self._services, *Component):
            await self.servicer.set(name, _SERVING)

    async def tell(self, states: Iterable[ComponentHealth]) -> None:
        """Take over how it stands with the components; what is not named counts as dead."""
        well = {state.component for state in states if state.serving}
        for name in self._services:
            await self.servicer.set(name, _SERVING if _NEEDS.get(name, _EVERY_CALL) <= well else _NOT_SERVING)
        for component in Component:
            await self.servicer.set(component, _SERVING if component in well else _NOT_SERVING)

    async def shut_down(self) -> None:
        """Say NOT_SERVING of everything, whatever `tell` is told from now on."""
        await self.servicer.enter_graceful_shutdown()

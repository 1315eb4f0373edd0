"""Whether calls may come: not once the gateway stops, and not while a component does not serve."""

from collections.abc import Sequence

from gateway.web.ports import ComponentState, HealthSource


class Readiness:
    """Implements `HealthSource` over the components of a gateway, where anything looks at them."""

    def __init__(self, components: HealthSource | None = None) -> None:
        self._components = components
        self.stopping = False

    @property
    def serving(self) -> bool:
        """Whether calls may come."""
        return not self.stopping and (self._components is None or self._components.serving)

    @property
    def states(self) -> Sequence[ComponentState]:
        """How it stands with each component."""
        return () if self._components is None else self._components.states

"""What bundles stand on: where they come from, what they have to be, and what takes them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from engine.clock import Clock
from gateway.bundles.acceptance import Acceptance
from gateway.bundles.history import History
from gateway.bundles.sources import BundleSource
from gateway.events import Audit
from gateway.policy.bundle import Bundle


class Activation(Protocol):
    """The engine that decides, as far as a new bundle is concerned."""

    async def activate(self, bundle: Bundle) -> None:
        """Let `bundle` decide from the next question on.

        Raises:
            EngineError: the engine does not take it, or not in time; what decided before still does.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class BundlesParts:
    """What bundles stand on."""

    source: BundleSource
    acceptance: Acceptance
    history: History
    audit: Audit
    clock: Clock
    chance: Callable[[], float]  # from 0 to 1
    poll_seconds: float | None = None  # None: a server every 30 s, files only at the start
    stale_seconds_max: float | None = None  # None: never stale

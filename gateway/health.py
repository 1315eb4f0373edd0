"""Whether the parts without which a gateway is of no use are alive: looked at again and again, told when it changes."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from engine.clock import Clock

LOOK_SECONDS: Final = 0.5
FAILURES_MIN: Final = 2  # looks in a row: a worker that dies is replaced in between, and nobody has to know

_LOG: Final = logging.getLogger(__name__)


class Component(StrEnum):
    """What is looked at."""

    AUDIT = "audit"  # the log takes events, and signs them
    STORE = "store"  # missions can be kept
    POLICY = "policy"  # somebody answers what is allowed
    SANDBOX = "sandbox"  # there is a worker for each trust class


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentHealth:
    """How it stands with one part."""

    component: Component
    serving: bool
    since: datetime  # UTC
    code: str = ""  # why it does not, such as `audit.dead`


Probe = Callable[[], str]
"""Returns "" where a part is well, and else a stable code. It does not wait."""

Told = Callable[[tuple[ComponentHealth, ...]], Awaitable[None]]


class Health:
    """The state of every component. What its probe says counts once it has said so `FAILURES_MIN` times in a row."""

    def __init__(self, probes: Mapping[Component, Probe], clock: Clock) -> None:
        now = clock.now()
        self._probes = dict(probes)
        self._clock = clock
        self._failures = dict.fromkeys(self._probes, 0)
        self._states = {c: ComponentHealth(component=c, serving=True, since=now) for c in self._probes}

    @property
    def states(self) -> tuple[ComponentHealth, ...]:
        """How it stands with each component."""
        return tuple(self._states.values())

    @property
    def serving(self) -> bool:
        """Whether all of them serve."""
        return all(state.serving for state in self._states.values())

    def look(self) -> bool:
        """Ask every probe once; return whether any state has changed."""
        before = self.states
        for component, probe in self._probes.items():
            code = probe()
            self._failures[component] = self._failures[component] + 1 if code else 0
            present = self._states[component]
            if bool(code) is present.serving and self._failures[component] not in range(1, FAILURES_MIN):
                self._states[component] = ComponentHealth(
                    component=component, serving=not code, since=self._clock.now(), code=code
                )
                if code:
                    _LOG.warning("%s does not serve: %s", component, code)
                else:
                    _LOG.warning("%s serves again", component)
        return self.states != before

    async def run(self, told: Told, *, seconds: float = LOOK_SECONDS) -> None:
        """Look until cancelled, and tell of every change."""
        while True:
            if self.look():
                await told(self.states)
            await asyncio.sleep(seconds)

"""The limits of one gateway, put together, and how they change while it runs."""

from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Self

from engine.clock import Clock
from engine.values import JsonValue
from gateway.limits.amounts import CallSettings
from gateway.limits.calls import CallLimits
from gateway.limits.kinds import CallKind
from gateway.limits.quotas import MissionQuotas
from gateway.limits.shedding import Shedder, Waited
from gateway.limits.waiting import WaitMeter


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What calls and missions are held to."""

    calls: CallLimits
    missions: MissionQuotas
    _shedder: Shedder
    _clock: Clock

    @classmethod
    def of(cls, settings: CallSettings, clock: Clock, chance: Callable[[], float]) -> Self:
        """Put together; `chance` gives numbers from 0 to below 1."""
        shedder = Shedder(settings.shedding)
        return cls(
            calls=CallLimits(settings, shedder, clock, chance),
            missions=MissionQuotas(settings.allowances),
            _shedder=shedder,
            _clock=clock,
        )

    def works(self, waits: Callable[[CallKind], Waited]) -> list[Coroutine[Any, Any, None]]:
        """Return what goes on beside the calls, and asks how long they wait."""
        return [WaitMeter(self._shedder, self._clock, waits).run()]

    def adopt(self, settings: CallSettings) -> None:
        """From now on go by these. Nothing that is under way ends by it; steps that run keep their places."""
        self.calls.adopt(settings)
        self.missions.adopt(settings.allowances)

    @property
    def refused(self) -> Counter[str]:
        """How often each limit has refused something, without names of tenants."""
        return self.calls.refused + self.missions.refused

    def document(self) -> dict[str, JsonValue]:
        """Return how things stand, as JSON; nobody is named."""
        return {"calls": self.calls.document(), "missions": self.missions.document()}

"""timer.sleep: a bounded wait."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from engine.values import JsonObject
from gateway.effects.arguments import integer, only_fields
from gateway.effects.performer import EffectRequest, EffectScope
from gateway.errors import EffectError

SLEEP_MS_MAX: Final = 24 * 60 * 60 * 1000

Sleep = Callable[[float], Awaitable[None]]


class TimerSleep:
    """Waits for `ms` milliseconds; the outcome says what was asked for, so that a replay gets the same."""

    seconds_max = SLEEP_MS_MAX / 1000

    def __init__(self, *, sleep: Sleep = asyncio.sleep) -> None:
        self._sleep = sleep

    def repeatable(self, _args: JsonObject) -> bool:
        """Return True: waiting changes nothing."""
        return True

    async def perform(self, request: EffectRequest, scope: EffectScope) -> JsonObject:
        """Sleep, or refuse at once what would pass the deadline; a step that sleeps takes no other's place."""
        only_fields(request.args, {"ms"})
        ms = integer(request.args, "ms", maximum=SLEEP_MS_MAX)
        if ms / 1000 > request.timeout_seconds:
            raise EffectError(
                f"{ms} ms are more than the {request.timeout_seconds:g} s that are left", code="effect.timeout"
            )
        async with scope.waiting():
            await self._sleep(ms / 1000)
        return {"slept_ms": ms}

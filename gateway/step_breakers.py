"""Which breaker stands before a step, and what waits: of what waits a deadline says nothing."""

from contextlib import AbstractContextManager, nullcontext
from typing import Final

from engine.breaker import Breakers
from gateway.stages import ReadyStep

# What waits, for a person, for another mission, for a time: policy is asked again after it.
WAITS: Final = frozenset({"approval.request", "mission.run", "timer.sleep"})


def breaker_of(breakers: Breakers, ready: ReadyStep) -> AbstractContextManager[None]:
    """Return the breaker of a step, for the time of its run.

    A step that only waits has none: nothing there could be down, whatever people and other missions do. Where one
    waits among other things, or has waited for a person, a deadline says nothing of the others.
    """
    effects = ready.kind.hook.effects
    waits = not WAITS.isdisjoint(effects)
    if waits and WAITS.issuperset(effects):
        return nullcontext()
    breaker = breakers.of(ready.admitted.caller.tenant, ready.step.step_type, ready.far_end)
    waited = lambda: ready.attempt.waited  # noqa: E731 - as it is when the run has ended
    return breaker.call(limit_seconds=None if waits else ready.step.timeout_seconds, excused=waited)

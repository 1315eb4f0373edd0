"""The end of a step's way: its output is masked where policy wants that, rewritten, and only then told to anybody."""

from functools import partial

from engine.values import JsonValue
from gateway.commitments import Evidence, Hidden
from gateway.constrained.record import in_trail
from gateway.events import EventType
from gateway.observing import Observers
from gateway.policy.redaction import Redaction
from gateway.sandbox.abi_hooks import encode_value
from gateway.screening import Behalf, Screening
from gateway.stages import ReadyStep


class Outputs:
    """Makes of what a module gives what everybody sees."""

    def __init__(self, screening: Screening, observers: Observers) -> None:
        self._screening = screening
        self._observers = observers

    async def told(self, ready: ReadyStep, output: JsonValue, redaction: Redaction) -> JsonValue:
        """Return the output as redaction and rewrites leave it; let observers see that, later.

        A rewrite sees what is left, and cannot put anything back: what it makes is masked as well.
        """
        hooks = ready.hooks
        output = _masked(ready, output, redaction)
        if hooks.at("rewrite", "output"):
            evidence: Evidence = {}
            behalf = Behalf(ready.admitted.caller.tenant, in_trail(ready.admitted.trail, ready.target))
            output = await self._screening.rewrite(hooks, "output", output, ready.seen, ready.given, behalf, evidence)
            if evidence:
                ready.admitted.trail.require_open(ready.target)
                ready.admitted.trail.record(EventType.OUTPUT_REWRITTEN, ready.target, evidence)
            output = _masked(ready, output, redaction)
        if hooks.at("observe", "output"):
            document = partial(encode_value, "output", output, ready.seen.facts)
            self._observers.observe(
                hooks, "output", ready.seen.subject, document, ready.given, ready.admitted.caller.tenant
            )
        return output


def _masked(ready: ReadyStep, output: JsonValue, redaction: Redaction) -> JsonValue:
    """Mask an output; the log hears where and how often, and of what is left the digest."""
    output, count = redaction.apply(output)
    if count:
        facts: Evidence = {"masked": list(redaction.pointers), "count": count, "after": Hidden(output)}
        ready.admitted.trail.require_open(ready.target)
        ready.admitted.trail.record(EventType.OUTPUT_REDACTED, ready.target, facts)
    return output

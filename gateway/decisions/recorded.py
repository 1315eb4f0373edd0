"""Policy whose decisions are recorded: each has an id, by which the log's events, the records and the log agree."""

from dataclasses import replace
from typing import Final

from engine.clock import Clock
from gateway.decisions.entry import Entry, decision_id
from gateway.decisions.recorder import Recorder
from gateway.policy.decision import Decision, denied
from gateway.policy.engine import Entrypoint, PolicyEngine

_NS: Final = 1e9
_UNRECORDED: Final = "policy.unrecorded"


class RecordedPolicy:
    """Implements `gateway.policy.engine.PolicyEngine` around another one: outermost, so that it sees every answer."""

    def __init__(self, inner: PolicyEngine, recorder: Recorder, clock: Clock) -> None:
        self._inner = inner
        self._recorder = recorder
        self._clock = clock

    @property
    def digest(self) -> str:
        """`sha256:<hex>` of the bundle that answers."""
        return self._inner.digest

    async def decide(self, entrypoint: Entrypoint, document: bytes) -> Decision:
        """Decide one document and have that recorded; a decision that cannot be is a no (`policy.unrecorded`)."""
        recorder = self._recorder
        await recorder.place(document)
        if recorder.broken:
            recorder.give_back(document)
            message = f"the decision could not be recorded ({recorder.broken})"
            return denied(_UNRECORDED, message, bundle=self._inner.digest)
        began = self._clock.monotonic()
        try:
            decision = await self._inner.decide(entrypoint, document)
        except BaseException:
            recorder.give_back(document)
            raise
        eval_ns = int((self._clock.monotonic() - began) * _NS)
        moment = self._clock.now()
        name = decision_id(int(moment.timestamp() * 1e3))
        recorder.put(
            Entry(
                id=name,
                moment=moment,
                entrypoint=entrypoint,
                document=document,
                decision=decision,
                eval_ns=eval_ns,
            )
        )
        return replace(decision, id=name)

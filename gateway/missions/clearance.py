"""Clearance: an admitted mission that policy wants a person to agree to waits for that before its first step.

It is in the store and in the log, and holds nothing meanwhile: no place of a step, no concurrency key, and none of its
own time. A restart finds it again, and asks policy anew.
"""

from contextlib import nullcontext

from engine.errors import EngineError
from gateway.admission import Admission
from gateway.commitments import Evidence, Hidden
from gateway.consent import Consent, Matter
from gateway.decided import note
from gateway.events import EventType, Trail, refusal_document
from gateway.identity import Principal
from gateway.policy.decision import Decision
from gateway.stages import SanitizedMission
from gateway.store.store import Store


class Clearance:
    """One mission's."""

    def __init__(
        self,
        *,
        consent: Consent,
        store: Store,
        admission: Admission,
        mission_id: str,
        sanitized: SanitizedMission,
        caller: Principal,
        decision: Decision,
        trail: Trail,
    ) -> None:
        """Prepare; `decision` is the yes that wants a person's."""
        self._consent = consent
        self._store = store
        self._admission = admission
        self._mission_id = mission_id
        self._sanitized = sanitized
        self._caller = caller
        self._decision = decision
        self._trail = trail

    async def decisions(self) -> tuple[Decision, ...]:
        """Return policy's answers since, once a person has agreed; the log has the last, or the refusal.

        Raises:
            RefusalError: a person or policy said no, nobody decided in time, or a screen is against it now.
            FaultError: nobody could be asked.
        """
        evidence: Evidence = {"mission": Hidden(self._sanitized.digest)}
        note(self._decision, evidence)
        try:
            consented = await self._consent.given(self._matter(), self._decision, evidence)
            *before, last = consented.decisions[1:]
            cleared = await self._admission.screened(self._sanitized, self._caller, last, evidence)
            cleared.require()
        except EngineError as error:
            self._trail.record(EventType.MISSION_REFUSED, self._mission_id, {**evidence, **refusal_document(error)})
            raise
        self._trail.record(EventType.MISSION_CLEARED, self._mission_id, evidence)
        if cleared.labels != self._decision.labels:
            await self._store.set_decision_labels(self._mission_id, cleared.labels)
        return (*before, cleared)

    def _matter(self) -> Matter:
        mission = self._sanitized.plan.mission
        return Matter(
            entrypoint="mission",
            mission_id=self._mission_id,
            step_id="",
            item=None,
            index=None,
            caller=self._caller,
            title=f"the mission {mission.name!r}, {len(mission.steps)} steps",
            document=lambda now: self._admission.document(self._sanitized, self._caller, now),
            held=self._held,
            waiting=nullcontext,
        )

    def _held(self, facts: Evidence) -> None:
        self._trail.record(EventType.MISSION_HELD, self._mission_id, facts)

"""The start of a gateway: missions that an earlier process left unfinished go on, or end where they no longer may.

Steps that have an outcome keep it; the others are run again from what their journals say (`gateway.journal`), which
repeats no effect. Every mission is decided again, under the policy that is now active.
"""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Final

from engine.errors import RefusalError
from engine.outcome import Stop
from engine.result import StepFailure
from gateway.commitments import Commitments
from gateway.events import EventType, Trail, refusal_document
from gateway.missions.earlier import stored_results
from gateway.missions.execution import Ground
from gateway.missions.kept import record_kept
from gateway.missions.submissions import Submissions
from gateway.store.records import MissionRecord
from gateway.store.sealing import DAMAGED

_AT_ONCE: Final = 64  # missions; one after the other, each would wait for policy and for the disk
_GATEWAY: Final = "gateway"
PARENT_ENDED: Final = StepFailure(code="mission.cancelled", message="the mission of which it is a part has ended")

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recovered:
    """What became of the missions that were unfinished: ids, oldest first."""

    resumed: tuple[str, ...]
    interrupted: tuple[str, ...]


async def recover(ground: Ground, submissions: Submissions) -> Recovered:
    """Take up every unfinished mission.

    Raises:
        FaultError: policy, log or store cannot answer; the gateway must not start, and nothing is lost.
    """
    records = await ground.store.unfinished()
    goes_on: dict[str, bool] = {}
    for batch in _batches(records):
        taken_up = (_take_up(ground, submissions, record) for record in batch)
        outcomes = await asyncio.gather(*taken_up, return_exceptions=True)
        for record, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                raise outcome
            goes_on[record.id] = outcome
    resumed = tuple(record.id for record in records if goes_on[record.id])
    return Recovered(resumed, tuple(record.id for record in records if not goes_on[record.id]))


def _batches(records: Sequence[MissionRecord]) -> Iterator[Sequence[MissionRecord]]:
    """Yield what is taken up at the same time: a mission after the one of which it is a part."""
    for _, level in groupby(sorted(records, key=lambda record: record.depth), key=lambda record: record.depth):
        while batch := list(islice(level, _AT_ONCE)):
            yield batch


async def _take_up(ground: Ground, submissions: Submissions, record: MissionRecord) -> bool:
    """Let a mission go on, or end it; return whether it goes on."""
    try:
        await submissions.resume(record, await stop_of(ground, record.parent_id))
    except RefusalError as refusal:
        _LOG.warning("mission %s cannot go on: %s", record.id, refusal)
        await _interrupt(ground, record, refusal)
        return False
    return True


async def stop_of(ground: Ground, parent_id: str | None) -> Stop | None:
    """Return why a mission is to end at once: the step that has asked for it is over."""
    if parent_id is None:
        return None
    parent = await ground.store.get_mission(parent_id)
    return Stop.cancelled(PARENT_ENDED) if parent.ended_at is not None else None


async def _interrupt(ground: Ground, record: MissionRecord, refusal: RefusalError) -> None:
    """End a mission that may not go on. The log is told first: a kill in between makes it tell twice, never not."""
    details = {"state": record.state.value, **refusal_document(refusal)}
    trail = Trail(ground.audit, _GATEWAY, Commitments(await ground.store.mission_key(record.id)))
    if refusal.code != DAMAGED:
        results = {result.step_id: result async for result in stored_results(ground.store, record.id)}
        await record_kept(trail, ground.store, record.id, results)
    seq = trail.record(EventType.MISSION_INTERRUPTED, record.id, details)
    await ground.audit.durable(seq)
    await ground.approvals.withdraw(record.tenant, record.id, earlier=True)
    reason = StepFailure(code=refusal.code, message=f"the mission cannot go on after a restart: {refusal.message}")
    await ground.store.interrupt_mission(record.id, reason)

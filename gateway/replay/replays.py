"""Replays for callers of a gateway: one at a time, of their tenant's missions, and told to the log."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from typing import Final

from engine.audit.errors import AuditTamperedError
from engine.errors import FaultError
from engine.values import JsonValue
from gateway.errors import NotFoundError, OverloadedError
from gateway.events import Audit, EventType
from gateway.identity import Principal, actor
from gateway.replay.home import HomeFiles, replaying
from gateway.replay.log import read_trace
from gateway.replay.outcome import StepOutcome, Verdict
from gateway.replay.ports import Records

SECONDS_MAX: Final = 3_600.0  # of one replay: others wait for it


class Replays:
    """Replays on the home of a gateway that runs, in workers beside its own."""

    def __init__(self, files: HomeFiles, records: Records, audit: Audit, *, without: Collection[str]) -> None:
        self._files = files
        self._records = records
        self._audit = audit
        self._without = tuple(without)
        self._busy = False

    async def replay(
        self, principal: Principal, mission_id: str, steps: Collection[str]
    ) -> AsyncGenerator[StepOutcome, None]:
        """Yield what each step comes to. The log has the counts, durably, when this ends.

        A caller who does not read delays nobody: outcomes wait for him, one for each step.

        Raises:
            NotFoundError: `mission.not_found`, or of another tenant; `mission.not_recorded`; `step.not_found`.
            OverloadedError: `audit.replay_running`, somebody's replay is under way.
            AuditTamperedError: the log on the disk does not verify.
            FaultError: `audit.replay_timeout`; or store, log or workers do not answer.
        """
        record = await self._records.get_mission(mission_id)
        if record.tenant != principal.tenant:
            raise NotFoundError("there is no such mission", code="mission.not_found")
        if self._busy:
            raise OverloadedError("a replay is under way; there is one at a time", code="audit.replay_running")
        self._busy = True
        outcomes: asyncio.Queue[StepOutcome | None] = asyncio.Queue()
        task = asyncio.create_task(self._run(principal, mission_id, steps, outcomes))
        try:
            while (outcome := await outcomes.get()) is not None:
                yield outcome
            await task
        finally:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.exception()

    async def _run(
        self,
        principal: Principal,
        mission_id: str,
        steps: Collection[str],
        outcomes: "asyncio.Queue[StepOutcome | None]",
    ) -> None:
        counts, complete = Counter[str](), False
        try:
            async with asyncio.timeout(SECONDS_MAX):
                await self._replay(mission_id, steps, outcomes, counts)
            complete = True
        except TimeoutError as error:
            raise FaultError("the replay takes too long", code="audit.replay_timeout") from error
        finally:
            self._busy = False
            outcomes.put_nowait(None)
            details: dict[str, JsonValue] = {verdict.value: counts[verdict.value] for verdict in Verdict}
            details |= {"steps_named": len(steps), "complete": complete}
            seq = self._audit.append(EventType.LOG_REPLAYED, actor=actor(principal), target=mission_id, details=details)
        await self._audit.durable(seq)

    async def _replay(
        self,
        mission_id: str,
        steps: Collection[str],
        outcomes: "asyncio.Queue[StepOutcome | None]",
        counts: Counter[str],
    ) -> None:
        files = self._files
        report, trace = await asyncio.to_thread(read_trace, files.log, files.verifier_key, mission_id)
        if not report.ok:
            raise AuditTamperedError(f"the log does not verify: {report.message} [{report.code}]")
        async with (
            replaying(files, without=self._without) as replayer,
            aclosing(replayer.replay(trace, steps)) as found,
        ):
            async for outcome in found:
                counts[outcome.verdict.value] += 1
                outcomes.put_nowait(outcome)

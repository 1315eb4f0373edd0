"""Recorded decisions of missions and people that are erased: deleted, be decisions recorded now or not."""

from collections.abc import Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from gateway.decisions.database import DATABASE_FILE
from gateway.decisions.opening import DecisionRecords
from gateway.decisions.recorder import Recorder


class DecisionErasure:
    """Erases from the records of a home."""

    def __init__(
        self,
        home: Path,
        records: DecisionRecords | None,
        reopen: Callable[[], AbstractAsyncContextManager[DecisionRecords]],
    ) -> None:
        """Prepare.

        Args:
            home: where the records are.
            records: that are open; None: nothing is being recorded.
            reopen: opens what an earlier configuration has recorded, for a moment.
        """
        self._file = home / DATABASE_FILE
        self._records = records
        self._reopen = reopen

    async def erase(self, missions: Collection[str], decisions: Collection[str]) -> int:
        """Delete what is recorded of these missions, and these decisions, and return how many that were.

        Raises:
            SecretError, StoreError: the records cannot be had, or do not take it; some may be deleted.
        """
        return await self._with(lambda recorder: _erase(recorder, missions, decisions))

    async def erase_subject(self, tenant: str, subject: str) -> int:
        """Delete what is recorded of what a person asked for, and return how many decisions that were; as `erase`."""
        return await self._with(lambda recorder: _erase_subject(recorder, tenant, subject))

    async def _with(self, act: Callable[[Recorder], Awaitable[int]]) -> int:
        if self._records is not None:
            return await act(self._records.recorder)
        if not self._file.exists():
            return 0
        async with self._reopen() as records:
            return await act(records.recorder)


async def _erase(recorder: Recorder, missions: Collection[str], decisions: Collection[str]) -> int:
    await recorder.settled()  # what waits would be written afterwards
    count = 0
    for mission_id in missions:
        count += await recorder.erase_mission(mission_id)
    for decision_id in decisions:
        count += await recorder.erase(decision_id)
    await recorder.scrub()
    return count


async def _erase_subject(recorder: Recorder, tenant: str, subject: str) -> int:
    await recorder.settled()
    count = await recorder.erase_subject(tenant, subject)
    await recorder.scrub()
    return count

"""Recorded decisions of missions that are erased: deleted, whether decisions are being recorded now or not."""

from collections.abc import Callable, Collection
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
        if self._records is not None:
            return await _erase(self._records.recorder, missions, decisions)
        if not self._file.exists():
            return 0
        async with self._reopen() as records:
            return await _erase(records.recorder, missions, decisions)


async def _erase(recorder: Recorder, missions: Collection[str], decisions: Collection[str]) -> int:
    await recorder.settled()  # what waits would be written afterwards
    count = 0
    for mission_id in missions:
        count += await recorder.erase_mission(mission_id)
    for decision_id in decisions:
        count += await recorder.erase(decision_id)
    await recorder.scrub()
    return count

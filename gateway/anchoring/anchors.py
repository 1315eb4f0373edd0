"""Takes the newest checkpoint to a second place, at most once an interval, and the last one when the gateway stops.

What is there already is read first, every time: the place only ever goes forward, and who finds more there than the log
has, or another root, has found out that the log was put back or forked.
"""

import asyncio
import logging
from datetime import datetime
from typing import Final

from engine.audit.checkpoint import Checkpoint, CheckpointError
from engine.audit.proofs import is_consistent
from engine.audit.witness import WitnessAnswerError, split_note
from engine.clock import Clock
from engine.errors import EngineError
from gateway.anchoring.alarms import Alarms
from gateway.anchoring.health import Standing
from gateway.anchoring.ports import AnchoredLog, Covered, Place, UnreachableError
from gateway.backoff import Backoff
from gateway.events import EventType

_LOG: Final = logging.getLogger(__name__)


class AnchorAlarmError(ValueError):
    """The place holds a checkpoint of this log that this log does not lead to."""

    def __init__(self, message: str, known: int) -> None:
        super().__init__(message)
        self.known = known


class Anchor:
    """One place. `run` goes on until `stop`, or until the place raises the alarm."""

    def __init__(
        self, log: AnchoredLog, place: Place, *, seconds: float, alarms: Alarms, clock: Clock, backoff: Backoff
    ) -> None:
        """Prepare.

        Args:
            log: whose checkpoints.
            place: where to.
            seconds: from one publication to the next, at least.
            alarms: hears of a log that was rolled back or forked.
            clock: for health.
            backoff: after a failure.
        """
        self._log = log
        self._place = place
        self._seconds = seconds
        self._alarms = alarms
        self._clock = clock
        self._backoff = backoff
        self._stop = asyncio.Event()
        self._size = 0  # of what was published
        self._looked = False  # at what is there, with good result
        self._at: datetime | None = None
        self._error = ""
        self._error_at: datetime | None = None
        self._alarm = ""

    def standing(self) -> Standing:
        """Return how it stands with the place."""
        return Standing(
            name=self._place.name,
            size=self._size,
            lag=max(self._log.size - self._size, 0),
            at=self._at,
            error=self._error,
            error_at=self._error_at,
            alarm=self._alarm,
        )

    def stop(self) -> None:
        """Have `run` publish what is still to be published, without waiting and with one try, and end."""
        self._stop.set()

    async def run(self) -> None:
        """Publish, again and again."""
        while (covered := await self._next()) is not None and not self._alarm:
            try:
                await self._publish(covered)
            except AnchorAlarmError as error:
                self._alarm = str(error)
                self._failed(self._alarm)
                self._alarms.refused(EventType.ANCHOR_REFUSED, self._place.name, self._alarm, known=error.known)
                return
            except (UnreachableError, EngineError, OSError) as error:
                self._failed(str(error))
            except Exception as error:  # noqa: BLE001 - whatever it is, the next try may do
                _LOG.exception("publishing to the anchor %s failed", self._place.name)
                self._failed(type(error).__name__)
            else:
                self._published(covered)
            if self._stop.is_set() and self._error:
                return
            await self._pause(self._backoff.next_seconds() if self._error else self._seconds)

    async def _next(self) -> Covered | None:
        """Wait for a checkpoint that is larger than what was published; None: there is none, and the gateway stops."""
        if self._stop.is_set() and self._looked and self._log.size <= self._size:
            return None
        covered = asyncio.ensure_future(self._log.covered(self._size if self._looked else -1))
        stop = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({covered, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not covered.done() and self._log.size > self._size:
                await asyncio.wait({covered})
            return covered.result() if covered.done() else None
        except EngineError as error:  # the log is dead, and has said so
            _LOG.debug("no more checkpoints: %s", error)
            return None
        finally:
            covered.cancel()
            stop.cancel()

    async def _publish(self, covered: Covered) -> None:
        there = await self._place.read()
        if there == covered.note:
            return
        if there is not None:
            await self._check(there, covered)
        await self._place.put(covered.note)

    async def _check(self, there: bytes, covered: Covered) -> None:
        """Compare what is there with the log.

        Only what a key of the log has signed is evidence against it: whoever can write to the place could raise the
        alarm otherwise, and stop a log whose acknowledgements wait for witnesses.

        Raises:
            AnchorAlarmError: the log has signed what it does not lead to.
            UnreachableError: it is nothing of ours, and not ours to replace.
        """
        try:
            old = Checkpoint.parse(split_note(there)[0])
        except (CheckpointError, WitnessAnswerError) as error:
            raise UnreachableError(f"what is there is no checkpoint, and stays: {error}") from error
        new = Checkpoint.parse(split_note(covered.note)[0])
        if old.origin != new.origin:
            raise UnreachableError("what is there is another log's checkpoint, and stays")
        try:
            self._log.opens(there)
        except CheckpointError as error:
            raise UnreachableError(f"what is there was not signed by a key of this log, and stays: {error}") from error
        if old.size > self._log.size:
            raise AnchorAlarmError(f"{old.size} events are anchored of a log that has {new.size}", old.size)
        if old.size > new.size:
            raise UnreachableError("a newer checkpoint is there already")
        proof = await asyncio.to_thread(self._log.prove_consistency, old.size, new.size)
        if not is_consistent(old.size, old.root, new.size, new.root, proof):
            raise AnchorAlarmError(f"another root of {old.size} events is anchored", old.size)

    def _published(self, covered: Covered) -> None:
        if self._error:
            _LOG.warning("the anchor %s takes checkpoints again", self._place.name)
        self._size, self._looked, self._at, self._error = covered.size, True, self._clock.now(), ""
        self._backoff.reset()

    def _failed(self, why: str) -> None:
        if why != self._error:
            _LOG.warning("the anchor %s takes no checkpoint: %s", self._place.name, why)
        self._error, self._error_at = why, self._clock.now()

    async def _pause(self, seconds: float) -> None:
        """Sleep, unless the gateway stops."""
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return

"""Follows the log and has its newest checkpoint cosigned, by all witnesses side by side.

Cosignatures count together only on one checkpoint, so all are asked for the same: the *target*. It moves to the newest
when a quorum has cosigned it, or when nobody is being asked for it. A witness that is slow or dead thereby delays
neither the others nor, while they are enough, the log; one that comes back joins at the target of the day.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from engine.audit.checkpoint import Checkpoint
from engine.audit.witness import (
    Cosignature,
    WitnessAnswerError,
    WitnessForkError,
    WitnessKey,
    cosigned_by,
    merge,
    split_note,
)
from engine.clock import Clock
from engine.errors import EngineError
from gateway.anchoring.alarms import Alarms
from gateway.anchoring.asking import Ahead, RolledBackError, ask
from gateway.anchoring.health import Standing
from gateway.anchoring.ports import AnchoredLog, Covered, UnreachableError, WitnessPort
from gateway.backoff import Backoff
from gateway.events import EventType

_LOG: Final = logging.getLogger(__name__)
_BACKOFF_FIRST_SECONDS: Final = 0.25


@dataclass(slots=True, kw_only=True)
class Member:
    """One witness, and what is known of it."""

    key: WitnessKey
    port: WitnessPort
    size: int = 0  # the largest that it is known to have cosigned
    at: datetime | None = None
    error: str = ""
    error_at: datetime | None = None
    alarm: str = ""

    def standing(self, newest: int) -> Standing:
        """Return how it stands with it."""
        return Standing(
            name=self.key.name,
            size=self.size,
            lag=max(newest - self.size, 0),
            at=self.at,
            error=self.error,
            error_at=self.error_at,
            alarm=self.alarm,
        )


@dataclass(slots=True)
class _Target:
    """The checkpoint that all are asked for."""

    covered: Covered
    asking: int = 0  # requests under way
    answered: set[str] = field(default_factory=set)  # who need not be asked again
    cosigned: dict[str, Cosignature] = field(default_factory=dict)
    done: bool = False  # a quorum has cosigned


class Witnesses:
    """`run` follows the log until it is cancelled."""

    def __init__(
        self,
        log: AnchoredLog,
        members: Sequence[Member],
        *,
        required: int,
        alarms: Alarms,
        clock: Clock,
        chance: Callable[[], float],
        backoff_seconds_max: float = 60.0,
        pause_seconds: float = 0.0,
    ) -> None:
        """Prepare.

        Args:
            log: whose checkpoints.
            members: the witnesses; names and keys differ.
            required: how many make a quorum.
            alarms: hears of a log that was rolled back or forked.
            clock: for health.
            chance: of the jitter.
            backoff_seconds_max: between two tries of a witness that fails.
            pause_seconds: of each witness after it has cosigned: a bound on how often it is asked.
        """
        self._log = log
        self._members = tuple(members)
        self._required = required
        self._alarms = alarms
        self._clock = clock
        self._chance = chance
        self._backoff_seconds_max = backoff_seconds_max
        self._pause_seconds = pause_seconds
        self._newest: Covered | None = None
        self._target: _Target | None = None
        self._changed = asyncio.Condition()
        self._accepting = asyncio.Lock()
        self._accepted = 0

    @property
    def size(self) -> int:
        """Events of the newest checkpoint that a quorum has cosigned."""
        return self._accepted

    def standings(self) -> tuple[Standing, ...]:
        """Return how it stands with each witness."""
        newest = self._log.size
        return tuple(member.standing(newest) for member in self._members)

    async def run(self) -> None:
        """Follow the log; ends with it."""
        self._begin()
        async with asyncio.TaskGroup() as group:
            for member in self._members:
                group.create_task(self._serve(member))
            group.create_task(self._follow())

    async def settled(self, size: int) -> None:
        """Wait until a quorum has cosigned `size` events. The caller bounds it."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._accepted >= size)

    def _begin(self) -> None:
        """Take from the last checkpoint that a quorum has cosigned who has seen how much; they say so if it is less."""
        note = self._log.witnessed()
        if note is None:
            return
        with suppress(ValueError):  # only a hint
            size = Checkpoint.parse(split_note(note)[0]).size
            found = cosigned_by(note, [member.key for member in self._members])
            for member in self._members:
                if member.key.name in found:
                    member.size = size
            if len(found) >= self._required:
                self._accepted = size

    async def _follow(self) -> None:
        """Learn of each new checkpoint."""
        size = -1
        while True:
            try:
                covered = await self._log.covered(size)
            except EngineError as error:  # the log is dead, and has said so
                _LOG.debug("no more checkpoints: %s", error)
                return
            size = covered.size
            async with self._changed:
                self._newest = covered
                self._changed.notify_all()

    async def _serve(self, member: Member) -> None:
        """Ask one witness for one target after the other."""
        backoff = Backoff(
            first_seconds=_BACKOFF_FIRST_SECONDS, seconds_max=self._backoff_seconds_max, chance=self._chance
        )
        while not member.alarm:
            target = await self._next(member)
            try:
                went_well = await self._ask(member, target)
            finally:
                target.asking -= 1
                async with self._changed:
                    self._changed.notify_all()
            if went_well:
                backoff.reset()
                await asyncio.sleep(self._pause_seconds)
            elif not member.alarm:
                await asyncio.sleep(backoff.next_seconds())

    async def _next(self, member: Member) -> _Target:
        """Wait for a target that this witness has not answered, and take part in it."""
        async with self._changed:
            while True:
                target = self._advanced()
                if target is not None and member.key.name not in target.answered:
                    target.asking += 1
                    return target
                await self._changed.wait()

    def _advanced(self) -> _Target | None:
        """Return the target, moved on to the newest checkpoint where it may be."""
        target, newest = self._target, self._newest
        if newest is not None and (
            target is None or (newest.size > target.covered.size and (target.done or not target.asking))
        ):
            self._target = target = _Target(newest)
        return target

    async def _ask(self, member: Member, target: _Target) -> bool:
        """Ask, and take what comes of it; return whether the witness has done its part."""
        try:
            await self._ask_for(member, target)
        except RolledBackError as error:
            self._refused(member, error, error.known)
            return False
        except WitnessForkError as error:
            self._refused(member, error, None)
            return False
        except (UnreachableError, WitnessAnswerError, EngineError, OSError) as error:
            self._failed(member, str(error))
            return False
        except Exception as error:  # noqa: BLE001 - one witness's trouble, or a bug, is not the others'
            _LOG.exception("asking the witness %s failed", member.key.name)
            self._failed(member, type(error).__name__)
            return False
        return True

    async def _ask_for(self, member: Member, target: _Target) -> None:
        found = await ask(self._log, member.port, member.key, target.covered, member.size)
        target.answered.add(member.key.name)
        if isinstance(found, Ahead):
            member.size = found.size
            return
        if member.error:
            _LOG.warning("the witness %s cosigns again", member.key.name)
        member.size, member.at, member.error = target.covered.size, self._clock.now(), ""
        await self._cosigned(target, found)

    async def _cosigned(self, target: _Target, cosignature: Cosignature) -> None:
        """Count it, and hand the checkpoint to the log where it has a quorum, and again with each that is late."""
        if target is not self._target:
            return  # a quorum has long cosigned a newer one
        target.cosigned[cosignature.name] = cosignature
        if len(target.cosigned) < self._required or self._alarms.raised:
            return
        target.done = True
        async with self._accepting:
            note = merge(target.covered.note, target.cosigned.values())
            await asyncio.to_thread(self._log.accept_witnessed, target.covered.size, note)
            self._accepted = target.covered.size

    def _refused(self, member: Member, error: Exception, known: int | None) -> None:
        member.alarm = str(error)
        self._failed(member, str(error))
        self._alarms.refused(EventType.WITNESS_REFUSED, member.key.name, str(error), known=known)

    def _failed(self, member: Member, why: str) -> None:
        if why != member.error:
            _LOG.warning("the witness %s has not cosigned: %s", member.key.name, why)
        member.error, member.error_at = why, self._clock.now()

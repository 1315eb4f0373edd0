"""A second bundle beside the one that decides: asked about the same documents, later, and deciding nothing.

Its answers are compared with those that counted. It can neither hold up a decision nor fail one: what it cannot keep
up with is counted as missed.
"""

import asyncio
import hashlib
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from engine.clock import Clock
from gateway.policy.decision import Decision
from gateway.policy.engine import Entrypoint, PolicyEngine

QUEUE_MAX: Final = 4_096  # decisions that the shadow has not been asked about yet
QUEUE_BYTES_MAX: Final = 64 * 1024 * 1024  # of their documents; one of a mission may have some megabytes
KEPT_MAX: Final = 256  # disagreements that can be looked at
KINDS_MAX: Final = 1_024  # of disagreements that are told apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """One document on which the two bundles differ."""

    entrypoint: Entrypoint
    document: str  # its digest, as audit events have it; it has itself been let go
    decided: Decision
    shadow: Decision
    at: datetime

    @property
    def kind(self) -> tuple[str, ...]:
        """What is alike about disagreements: where, from which answer to which, and for which reasons."""
        return (self.entrypoint, *_answer(self.decided), *_answer(self.shadow))


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowCounts:
    """What a shadow has seen."""

    bundle: str
    compared: int
    disagreed: int
    missed: int  # it was too far behind


class ShadowedPolicy:
    """Implements `PolicyEngine` around another one; `run` asks the shadow, for as long as it is let."""

    def __init__(
        self,
        inner: PolicyEngine,
        shadow: PolicyEngine,
        clock: Clock,
        report: Callable[[Disagreement], Awaitable[None]],
    ) -> None:
        """Prepare.

        Args:
            inner: decides.
            shadow: is asked as well.
            clock: says when.
            report: hears of the first disagreement of each kind.
        """
        self._inner = inner
        self._shadow = shadow
        self._clock = clock
        self._report = report
        self._queue: asyncio.Queue[tuple[Entrypoint, bytes, Decision]] = asyncio.Queue(QUEUE_MAX)
        self._queued_bytes = 0
        self._kinds: Counter[tuple[str, ...]] = Counter()
        self._compared = self._disagreed = self._missed = 0
        self._latest: deque[Disagreement] = deque(maxlen=KEPT_MAX)

    @property
    def digest(self) -> str:
        """`sha256:<hex>` of the bundle that decides."""
        return self._inner.digest

    @property
    def counts(self) -> ShadowCounts:
        """How many answers were compared, and how many of them differed."""
        return ShadowCounts(
            bundle=self._shadow.digest, compared=self._compared, disagreed=self._disagreed, missed=self._missed
        )

    @property
    def latest(self) -> tuple[Disagreement, ...]:
        """The last disagreements, the oldest first."""
        return tuple(self._latest)

    async def decide(self, entrypoint: Entrypoint, document: bytes) -> Decision:
        """Decide one document by the inner engine, and leave it for the shadow."""
        decision = await self._inner.decide(entrypoint, document)
        if self._queue.full() or self._queued_bytes + len(document) > QUEUE_BYTES_MAX:
            self._missed += 1
        else:
            self._queue.put_nowait((entrypoint, document, decision))
            self._queued_bytes += len(document)
        return decision

    async def run(self) -> None:
        """Ask the shadow about what was decided, one document after the other; ends when it is cancelled."""
        while True:
            entrypoint, document, decided = await self._queue.get()
            self._queued_bytes -= len(document)
            answer = await self._shadow.decide(entrypoint, document)
            self._compared += 1
            if not same_answer(decided, answer):
                await self._differs(
                    Disagreement(
                        entrypoint=entrypoint,
                        document="sha256:" + hashlib.sha256(document).hexdigest(),
                        decided=decided,
                        shadow=answer,
                        at=self._clock.now(),
                    )
                )

    async def _differs(self, found: Disagreement) -> None:
        self._disagreed += 1
        self._latest.append(found)
        kind = found.kind
        if kind in self._kinds or len(self._kinds) < KINDS_MAX:
            self._kinds[kind] += 1
            if self._kinds[kind] == 1:
                await self._report(found)


def same_answer(one: Decision, other: Decision) -> bool:
    """Whether two decisions let the same happen: the same verdict, codes and obligations, whatever the words."""
    first, second = one.document(), other.document()
    for document in (first, second):
        document["reasons"] = None
        document["bundle"] = None
    return first == second and _answer(one) == _answer(other)


def _answer(decision: Decision) -> tuple[str, ...]:
    return ("allow" if decision.allow else "deny", *sorted({reason.code for reason in decision.reasons}))

"""The bundle in force, and how another takes its place while missions run.

A bundle reigns with everything that is made of it: the engine that answers, and the host's own limits from its data.
The next one is made ready beside it: (1) its data is read, and has to fit the hooks in force, (2) its engine is
started, and only then, (3), in one turn of the event loop, everything looks at the new one. What fails before (3)
leaves the old one in force. Decisions under way are ended by the bundle that they were begun with; its engine is closed
after the last of them.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

from engine.errors import EngineError
from gateway.hookset import ActiveHook, HookSet
from gateway.policy.bundle import Bundle
from gateway.policy.decision import Decision, denied
from gateway.policy.engine import Entrypoint, StartedEngine
from gateway.rules import Rules
from gateway.sandbox.port import Sandbox

PAST_MAX: Final = 8  # bundles whose rules are still known: a step that one of them decided may be about to run
_SUPERSEDED: Final = "policy.bundle_mismatch"
_WAIT_SECONDS_MAX: Final = 5.0  # of a decision, for a change that is under way
_DRAIN_SECONDS_MAX: Final = 30.0  # of the decisions that a bundle was asked for before the next one came

_LOG: Final = logging.getLogger(__name__)

Adopt = Callable[[Rules], None]
"""Takes over what a part of the gateway needs of the bundle in force. It does not fail, and does not wait."""


class Fits(Protocol):
    """Holds the hooks in force to other rules."""

    def refitted(
        self, compose: Callable[[Sequence[ActiveHook], Sandbox], HookSet]
    ) -> AbstractAsyncContextManager[Callable[[], None]]:
        """Return what composes them by other rules; no hook changes until the block is left.

        Raises:
            HookRefusedError: they do not fit.
        """


@dataclass(slots=True, eq=False)
class _Reign:
    """One bundle in force, and what is still asked of it."""

    rules: Rules
    engine: StartedEngine
    asked: int = 0  # decisions under way
    over: asyncio.Event = field(default_factory=asyncio.Event)  # another reigns, and nothing is asked any more


class Rulebook:
    """Implements `gateway.policy.engine.PolicyEngine`, and `gateway.bundles.parts.Activation`."""

    def __init__(
        self,
        rules: Rules,
        engine: StartedEngine,
        *,
        read: Callable[[Bundle], Rules],
        make: Callable[[Rules], StartedEngine],
        hooks: Fits,
        stale: Callable[[], bool] = lambda: False,
    ) -> None:
        """Begin with a bundle whose engine has been started.

        Args:
            rules: of the first bundle.
            engine: which answers from it; closed by `close`.
            read: makes rules of a bundle's data, or refuses it.
            make: makes the engine of rules; it is started here.
            hooks: have to fit under new rules.
            stale: whether the bundle in force is too old to decide about missions, steps and effects.
        """
        self._reign = _Reign(rules, engine)
        self._read, self._make, self._hooks, self._stale = read, make, hooks, stale
        self._past: OrderedDict[str, Rules] = OrderedDict()
        self._adopt: list[Adopt] = []
        self._changing = asyncio.Lock()
        self._leaving: set[asyncio.Task[None]] = set()

    @property
    def digest(self) -> str:
        """`sha256:<hex>` of the bundle in force."""
        return self._reign.engine.digest

    @property
    def current(self) -> Rules:
        """The rules in force."""
        return self._reign.rules

    @property
    def engine(self) -> StartedEngine:
        """The engine in force."""
        return self._reign.engine

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers of the engine in force."""
        return self._reign.engine.pids

    @property
    def able(self) -> bool:
        """Whether the engine in force could answer now."""
        return self._reign.engine.able

    async def turn(self) -> None:
        """Return once a question to the engine in force would be with it, if it were put now.

        Raises:
            WorkerError: it would not be.
        """
        await self._reign.engine.turn()

    def of(self, bundle: str) -> Rules:
        """Return the rules of the bundle that gave a decision; those in force, where it is not known any more."""
        return self._past.get(bundle, self._reign.rules) if bundle != self.digest else self._reign.rules

    def follow(self, adopt: Adopt) -> None:
        """From now on tell this of the rules of each new bundle."""
        self._adopt.append(adopt)

    async def decide(self, entrypoint: Entrypoint, document: bytes) -> Decision:
        """Decide one document by the bundle in force; whatever goes wrong is a deny (`PolicyEngine.decide`)."""
        if entrypoint != "rpc" and self._stale():  # calls are decided all the same, so that somebody can mend it
            why = "the bundle in force has not been confirmed by its source for too long"
            return denied("policy.stale", why, bundle=self.digest)
        decision = await self._decide(self._reign, entrypoint, document)
        if not _superseded(decision) or not await self._another(decision.bundle):
            return decision
        return await self._decide(self._reign, entrypoint, document)

    async def _decide(self, reign: _Reign, entrypoint: Entrypoint, document: bytes) -> Decision:
        reign.asked += 1
        try:
            return await reign.engine.decide(entrypoint, document)
        finally:
            reign.asked -= 1
            if not reign.asked and reign is not self._reign:
                reign.over.set()

    async def _another(self, bundle: str) -> bool:
        """Wait for a change that is under way: an OPA may have the new bundle some moments before we know it."""
        if bundle == self.digest and self._changing.locked():
            with suppress(TimeoutError):
                async with asyncio.timeout(_WAIT_SECONDS_MAX), self._changing:
                    pass
        return bundle != self.digest

    async def activate(self, bundle: Bundle) -> None:
        """Put a bundle in force.

        Raises:
            EngineError: its data, its rules or its engine are not accepted; the one in force stays.
        """
        async with self._changing:
            rules = self._read(bundle)  # (1)
            async with self._hooks.refitted(rules.compose) as refit:
                engine = self._make(rules)
                try:
                    await engine.start()  # (2)
                except BaseException:
                    await engine.close()
                    raise
                self._succeed(_Reign(rules, engine), refit)  # (3)

    def _succeed(self, new: _Reign, refit: Callable[[], None]) -> None:
        old, self._reign = self._reign, new
        self._past[old.engine.digest] = old.rules
        self._past.move_to_end(old.engine.digest)
        while len(self._past) > PAST_MAX:
            self._past.popitem(last=False)
        refit()
        for adopt in self._adopt:
            adopt(new.rules)
        if not old.asked:
            old.over.set()
        leaving = asyncio.create_task(_retire(old))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        """Close the engines, the one in force last."""
        if self._leaving:
            await asyncio.wait(self._leaving)
        await self._reign.engine.close()


async def _retire(old: _Reign) -> None:
    """Close an engine once nothing is asked of it; after too long, what is still asked is denied."""
    try:
        async with asyncio.timeout(_DRAIN_SECONDS_MAX):
            await old.over.wait()
    except TimeoutError:
        _LOG.warning("decisions of the bundle %s take too long; its engine is closed", old.engine.digest)
    try:
        await old.engine.close()
    except EngineError as error:
        _LOG.warning("the engine of the bundle %s did not close: %s", old.engine.digest, error.message)


def _superseded(decision: Decision) -> bool:
    return not decision.allow and any(reason.code == _SUPERSEDED for reason in decision.reasons)

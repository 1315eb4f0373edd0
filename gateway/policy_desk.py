"""What those who write policy, and those who put it in force, can ask of a running gateway."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

from engine.values import JsonValue
from gateway.bundles.bundles import Bundles
from gateway.bundles.entry import Entry, KeptBundle
from gateway.decisions.records import Filter, Records
from gateway.decisions.replay import Change, Summary, replay
from gateway.detached import in_thread
from gateway.errors import OverloadedError
from gateway.identity import Principal, actor
from gateway.policy.bundle import Bundle
from gateway.policy.engine import Entrypoint, PolicyEngine, StartedEngine
from gateway.policy.shadow import ShadowedPolicy
from gateway.policy_views import Evaluation, PolicyStatus, ShadowView

CANDIDATES_MAX: Final = 2  # bundles that are tried at the same time; each has a worker of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyDeskParts:
    """What the desk stands on."""

    bundles: Bundles
    policy: PolicyEngine  # the bundle in force, unrecorded and enforced
    candidate: Callable[[Bundle], StartedEngine]
    explain: Callable[[Bundle, Entrypoint, bytes], Awaitable[Mapping[str, JsonValue]]]
    records: Callable[[], AbstractContextManager[Records]]  # opened for one replay
    engine: Literal["regorus", "opa"]
    mode: Literal["enforce", "dry_run"]
    shadow: ShadowedPolicy | None
    cache: Callable[[], tuple[int, int]]  # hits and misses


class PolicyDesk:
    """Implements `gateway.rpc.ports.PolicyDesk`."""

    def __init__(self, ground: PolicyDeskParts) -> None:
        self._ground = ground
        self._bundles = ground.bundles
        self._trying = 0

    async def evaluate(self, entrypoint: Entrypoint, document: bytes, bundle: str, *, explain: bool) -> Evaluation:
        """Say what a bundle decides about a document; "" is the one in force.

        Raises:
            NotFoundError, ConflictError: no bundle, or more than one, has that name.
            PolicyInvalidError: the bundle is not accepted any more.
            OverloadedError: `policy.busy`, others are being tried.
            FaultError: its engine does not start.
        """
        found = await self._bundles.read(bundle) if bundle else self._bundles.current
        async with self._asked(found, in_force=not bundle) as engine:
            decision = await engine.decide(entrypoint, document)
        why = None
        if explain:
            with self._place():
                why = await self._ground.explain(found, entrypoint, document)
        return Evaluation(decision=decision, explanation=why)

    async def publish(self, principal: Principal, archive: bytes) -> tuple[KeptBundle, bool]:
        """Take a bundle, and say whether it is new; what was taken is not cancelled with the call.

        Raises:
            PolicyInvalidError: it is not accepted; the refusal is in the log.
            StoreError: there is no room for it.
        """
        before = {kept.entry.digest for kept in self._bundles.list()}
        entry = await self._bundles.publish(archive, actor(principal))
        return self._kept(entry), entry.digest not in before

    def bundles(self) -> tuple[KeptBundle, ...]:
        """Return the bundles that are kept, the newest first."""
        return self._bundles.list()

    def status(self) -> PolicyStatus:
        """Return what is in force, and where it comes from."""
        ground = self._ground
        hits, misses = ground.cache()
        shadow = ground.shadow
        return PolicyStatus(
            bundles=self._bundles.status(),
            engine=ground.engine,
            mode=ground.mode,
            shadow=None if shadow is None else ShadowView(counts=shadow.counts, latest=shadow.latest[::-1]),
            cache_hits=hits,
            cache_misses=misses,
        )

    async def activate(self, principal: Principal, bundle: str) -> KeptBundle:
        """Put a kept bundle in force, and hold it against the source.

        Raises:
            EngineError: as `Bundles.activate`; what was in force stays.
        """
        return self._kept(await self._bundles.activate(bundle, actor(principal)))

    async def rollback(self, principal: Principal, digest: str) -> KeptBundle:
        """Put in force what was so before; with a digest, only where that one is in force.

        Raises:
            EngineError: as `Bundles.rollback`; what was in force stays.
        """
        return self._kept(await self._bundles.rollback(actor(principal), only=digest))

    async def follow_source(self, principal: Principal, *, allow_older: bool) -> KeptBundle:
        """Let the source decide again; with `allow_older`, also where it is behind what was in force.

        Raises:
            EngineError: as `Bundles.follow_source`; what was in force stays.
        """
        return self._kept(await self._bundles.follow_source(actor(principal), allow_older=allow_older))

    async def replay(self, bundle: str, wanted: Filter) -> AsyncGenerator[Change | Summary, None]:
        """Yield each recorded decision that another bundle would not give, and at the end how many there were.

        Raises:
            EngineError: as `evaluate`; StoreError, SecretError: the records cannot be read.
        """
        found = await self._bundles.read(bundle)
        summary = Summary()
        async with self._tried(found) as engine, self._records() as records:
            async for change in replay(records.read(wanted), engine, summary):
                yield change
        yield summary

    def _kept(self, entry: Entry) -> KeptBundle:
        """Return how an entry stands; one that others have pushed out meanwhile stands nowhere."""
        gone = KeptBundle(entry=entry, active=False, previous=False)
        return next((kept for kept in self._bundles.list() if kept.entry.digest == entry.digest), gone)

    @asynccontextmanager
    async def _records(self) -> AsyncIterator[Records]:
        """Open the records for the time of the block: in a thread, as a passphrase takes half a second to stretch."""
        with ExitStack() as opened:
            yield await in_thread(partial(opened.enter_context, self._ground.records()))

    @asynccontextmanager
    async def _asked(self, bundle: Bundle, *, in_force: bool) -> AsyncIterator[PolicyEngine]:
        """Return what answers from a bundle, for the time of the block.

        Never the workers that decide: a document is of any form here, and one that keeps a worker busy to its deadline
        would keep the decisions behind it waiting.
        """
        if in_force and self._ground.engine == "opa":
            with self._place():
                yield self._ground.policy
        else:
            async with self._tried(bundle) as engine:
                yield engine

    @asynccontextmanager
    async def _tried(self, bundle: Bundle) -> AsyncIterator[PolicyEngine]:
        """Return an engine for a bundle that is not in force, for the time of the block."""
        with self._place():
            engine = self._ground.candidate(bundle)
            try:
                await engine.start()
                yield engine
            finally:
                await engine.close()

    @contextmanager
    def _place(self) -> Iterator[None]:
        """Hold one of the few places of those who try something."""
        if self._trying >= CANDIDATES_MAX:
            raise OverloadedError(f"{CANDIDATES_MAX} others are trying bundles", code="policy.busy")
        self._trying += 1
        try:
            yield
        finally:
            self._trying -= 1

"""Answers for the same document again: within one bundle and one minute a decision is a function of its document.

`input.time` has the resolution of a minute and stands in the document, so whoever asks a minute later asks something
else. The key is the bundle's digest, the entrypoint and BLAKE2b-256 of the document under a random key of this process.

Of a call (`rpc`) the key is that of what the bundle reads of its document (`gateway.policy.reads`): where no rule looks
at the time or at the mission's id, the answer holds for another minute and another mission as well. Who asks, with
which roles, is in the document, and what roles mean is in the bundle: a change of either is another key. The documents
of the other entry points are taken whole: a number of theirs that OPA may spell otherwise changes what some builtins
say of another number (`gateway.policy.supplied.jsontext`), so no part of them is without effect. Those of calls have
no such numbers.

A client writes much of a document: with a digest that it could compute it would look for two documents of one digest,
have the harmless one allowed, and be answered for the other from here. 256 bits make that 2^128 tries; the key takes
even those away, since nobody outside can compute the digest at all.

Only what policy itself has answered is kept. A deny of the host's own (`policy.timeout`, `policy.crashed`,
`policy.undefined`, …) says that something was wrong, perhaps for a moment: the next asker tries again.
"""

import asyncio
import hashlib
import os
from typing import Final

from engine.lru import LruCache
from gateway.policy.decision import Decision
from gateway.policy.engine import ENTRYPOINTS, Entrypoint, PolicyEngine, StartedEngine
from gateway.policy.projection import projected
from gateway.policy.reads import EVERYTHING, Reads

BYTES_MAX: Final = 64 * 1024 * 1024
PROJECTED_BYTES_MAX: Final = 64 * 1024  # of a document: a longer one is hashed sooner than it is read
_DIGEST_BYTES: Final = 32
_PROJECTED: Final = b"projected"
_ENTRY_BYTES: Final = 1_024  # of a plain yes with its key and its place
_TEXT_BYTES: Final = 96  # of a text's object and of its place, its characters not counted
_CHAR_BYTES: Final = 4  # of one, where any is beyond the first 65,536

Key = tuple[str, Entrypoint, bytes]


class CachedPolicy:
    """Implements `gateway.policy.engine.PolicyEngine` around another one. Used on one event loop."""

    def __init__(
        self,
        inner: PolicyEngine,
        *,
        entries_max: int,
        deterministic: bool,
        rpc_reads: Reads = EVERYTHING,
        bytes_max: int = BYTES_MAX,
    ) -> None:
        """Prepare.

        Args:
            inner: decides what is not here.
            entries_max: answers that are kept; 0: none, every document is asked.
            deterministic: whether an answer depends on the document alone (`Bundle.deterministic`); where not, every
                document is asked.
            rpc_reads: what the answers about calls depend on.
            bytes_max: memory that answers may take, roughly.
        """
        self._inner = inner
        self._kept: LruCache[Key, Decision] | None = (
            LruCache(entries_max, bytes_max) if entries_max and deterministic else None
        )
        self._under_way: dict[Key, asyncio.Future[Decision | None]] = {}
        self._of = inner.digest
        secret = os.urandom(_DIGEST_BYTES)
        self._hashers = {name: hashlib.blake2b(digest_size=_DIGEST_BYTES, key=secret) for name in ENTRYPOINTS}
        self._reads = None if rpc_reads == EVERYTHING else rpc_reads
        self._projected = hashlib.blake2b(digest_size=_DIGEST_BYTES, key=secret, person=_PROJECTED)
        self.hits = 0
        self.misses = 0
        self.shared = 0  # hits that waited for an evaluation which was under way

    @property
    def digest(self) -> str:
        """`sha256:<hex>` of the bundle that answers."""
        return self._inner.digest

    @property
    def entries(self) -> int:
        """How many answers are kept."""
        return 0 if self._kept is None else len(self._kept)

    async def decide(self, entrypoint: Entrypoint, document: bytes) -> Decision:
        """Decide one document, or return what was decided on the same one (`PolicyEngine.decide`)."""
        kept = self._kept
        if kept is None:
            return await self._inner.decide(entrypoint, document)
        bundle = self._inner.digest
        if bundle != self._of:
            kept.clear()
            self._of = bundle
        key = (bundle, entrypoint, self._digest(entrypoint, document))
        decision = kept.get(key)
        if decision is not None:
            self.hits += 1
            return decision
        return await self._decide(kept, key, document)

    def _digest(self, entrypoint: Entrypoint, document: bytes) -> bytes:
        """Return what stands for all that an answer depends on."""
        hasher, told = self._hashers[entrypoint], document
        if entrypoint == "rpc" and self._reads is not None and len(document) <= PROJECTED_BYTES_MAX:
            parts = projected(document, self._reads)
            if parts is not None:
                hasher, told = self._projected, parts
        hasher = hasher.copy()
        hasher.update(told)
        return hasher.digest()

    async def _decide(self, kept: LruCache[Key, Decision], key: Key, document: bytes) -> Decision:
        """Wait for the evaluation of this key that is under way, or be it.

        One that is cancelled, or fails, ends nobody else: the first of those that waited takes its place.
        """
        while (under_way := self._under_way.get(key)) is not None:
            # Shielded, or a caller that leaves would cancel what the others wait for.
            if (told := await asyncio.shield(under_way)) is not None:
                self.hits += 1
                self.shared += 1
                return told
            if (found := kept.get(key)) is not None:  # another one that waited has been faster
                self.hits += 1
                return found
        self.misses += 1
        mine: asyncio.Future[Decision | None] = asyncio.get_running_loop().create_future()
        self._under_way[key] = mine
        decision: Decision | None = None
        try:
            decision = await self._inner.decide(key[1], document)
        finally:
            del self._under_way[key]
            mine.set_result(decision)
        # An answer of a bundle that came while this was evaluated is that bundle's, and not for this key.
        if decision.bundle == key[0] == self._of and not decision.by_host:
            kept.put(key, decision, _cost(decision))
        return decision


def _cost(decision: Decision) -> int:
    """Return roughly how many bytes of memory an answer takes; what it may hold is bounded by `parse_decision`."""
    reasons = (text for each in decision.reasons for text in (each.code, each.message, each.rule))
    labels = (text for pair in decision.labels.items() for text in pair)
    demand = decision.require_approval
    asked = () if demand is None else (demand.message, *demand.approvers)
    texts = (*reasons, *labels, *asked, *decision.redact)
    return _ENTRY_BYTES + sum(_TEXT_BYTES + _CHAR_BYTES * len(text) for text in texts)


class CachedEngine(CachedPolicy):
    """An engine and its cache, which begin and end together."""

    def __init__(
        self, engine: StartedEngine, *, entries_max: int, deterministic: bool, rpc_reads: Reads = EVERYTHING
    ) -> None:
        """Prepare; the arguments are those of `CachedPolicy`."""
        super().__init__(engine, entries_max=entries_max, deterministic=deterministic, rpc_reads=rpc_reads)
        self._engine = engine

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers that evaluate; none where they are not ours."""
        return self._engine.pids

    @property
    def engine(self) -> StartedEngine:
        """What answers where the cache does not."""
        return self._engine

    @property
    def able(self) -> bool:
        """Whether the engine could answer what is not here."""
        return self._engine.able

    async def turn(self) -> None:
        """Return once a question that is not answered from here would be with the engine (`StartedEngine.turn`)."""
        await self._engine.turn()

    async def start(self) -> None:
        """Return once the engine can answer.

        Raises:
            EngineError: it will not.
        """
        await self._engine.start()

    async def close(self) -> None:
        """Let decisions under way end, and give back what the engine has."""
        await self._engine.close()

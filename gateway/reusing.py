"""Results of pure runs that are used again: a module is not run twice on the same, where the site says so of its kind.

A run is a function of its module, its document, its constraints and what it is given for clock and chance (`Sandbox`).
Modules of such a kind are given the same always (`STILL`), so the document has nothing in it that no other run has: the
parameters, the step's id, name and type, the number of the attempt. All of that is the key, so a result that is used
again is the one that a run would come to. Everything else is as without: the sanitizer, policy, screens, masks and
rewrites are asked each time, and the quota is charged with a run.

Each tenant has results of its own. Whether something was kept shows in how long a step takes, so what one tenant has
run must not show to another: neither by a hit, nor by what makes room for what.
"""

import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import astuple, dataclass
from typing import Final

import orjson

from engine.constraints import ExecutionConstraints
from engine.lru import LruCache
from engine.values import JsonObject
from gateway.commitments import Evidence, Hidden
from gateway.constrained.runs import ConstrainedRuns
from gateway.events import EventType
from gateway.hookset import StepKind
from gateway.policy.redaction import NO_REDACTION
from gateway.sandbox.abi import StepAnswer, StepOutput, decode_step_output
from gateway.stages import Granted, ReadyStep
from gateway.vault.step_secrets import StepSecrets

_DIGEST_BYTES: Final = 32
_ENTRY_BYTES: Final = 512  # of an entry beside its output: key, place, mission


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a run has come to."""

    output: bytes
    until: float  # by the monotonic clock
    mission_id: str  # whose run it was


class KeptResults:
    """What runs have come to, in memory, by tenant. Used on one event loop."""

    def __init__(
        self,
        *,
        now: Callable[[], float],
        ttl_seconds: float,
        entries_max: int,
        bytes_max: int,
        tenants_max: int,
        by_use: bool = True,
    ) -> None:
        """Prepare.

        Args:
            now: a monotonic clock, in seconds.
            ttl_seconds: how long a result is used after its run.
            entries_max: of one tenant.
            bytes_max: of one tenant, roughly.
            tenants_max: that have results at a time; the one that has used its own longest ago loses them.
            by_use: whether what was used longest ago makes room first, or else what was kept longest ago.
        """
        self._now = now
        self._ttl_seconds = ttl_seconds
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self._tenants_max = tenants_max
        self._by_use = by_use
        self._by_tenant: OrderedDict[str, LruCache[bytes, _Kept]] = OrderedDict()
        self._secret = os.urandom(_DIGEST_BYTES)  # nobody outside can look for two documents of one digest

    def key(self, module: str, document: bytes, constraints: ExecutionConstraints) -> bytes:
        """Return what stands for a run: a keyed BLAKE2b of its module, its document, and its constraints."""
        hasher = hashlib.blake2b(module.encode(), digest_size=_DIGEST_BYTES, key=self._secret)
        hasher.update(orjson.dumps(astuple(constraints)))
        hasher.update(document)
        return hasher.digest()

    def get(self, tenant: str, key: bytes) -> bytes | None:
        """Return what a run of a tenant's has come to, if that is still to be used."""
        kept = self._by_tenant.get(tenant)
        if kept is None:
            return None
        self._by_tenant.move_to_end(tenant)
        found = kept.get(key)
        if found is not None and found.until <= self._now():
            kept.drop(lambda _, each: each.until <= self._now())
            return None
        return None if found is None else found.output

    def put(self, tenant: str, key: bytes, output: bytes, mission_id: str) -> None:
        """Keep what a run has come to."""
        kept = self._by_tenant.get(tenant)
        if kept is None:
            while len(self._by_tenant) >= self._tenants_max:
                self._by_tenant.popitem(last=False)
            kept = self._by_tenant[tenant] = LruCache(self._entries_max, self._bytes_max, by_use=self._by_use)
        self._by_tenant.move_to_end(tenant)
        kept.put(key, _Kept(output, self._now() + self._ttl_seconds, mission_id), _ENTRY_BYTES + len(output))

    def forget(self, missions: Collection[str]) -> int:
        """Let go of what runs of these missions have come to, and return how many results those were."""
        return sum(kept.drop(lambda _, each: each.mission_id in missions) for kept in self._by_tenant.values())


class Reusing:
    """Stage 6: runs the module of a step, or gives what the same run came to."""

    def __init__(
        self, runs: ConstrainedRuns, kept: KeptResults | None = None, kinds: Collection[str] = frozenset()
    ) -> None:
        """Run by `runs`; results of step kinds named in `kinds` are kept in `kept`."""
        self._runs = runs
        self._kept = kept
        self._kinds = frozenset(kinds) if kept is not None else frozenset[str]()

    def is_still(self, kind: StepKind, held: StepSecrets) -> bool:
        """Return whether a step's results may be used again: of a kind that acts on nothing, and without a secret.

        A handle is another one in each attempt, so a step that has one would never find anything.
        """
        return kind.hook.name in self._kinds and not kind.hook.effects and not held.by_name

    async def run(self, ready: ReadyStep, granted: Granted, journal: Sequence[JsonObject]) -> tuple[StepAnswer, int]:
        """Return a module's answer, and the fuel that it took.

        Raises:
            ConstraintViolationError, SandboxError: as `ConstrainedRuns.run_step`.
        """
        document, caller = ready.encoded(journal), ready.admitted.caller
        key, kept = b"", self._kept if ready.still else None
        if kept is not None:
            key = kept.key(ready.kind.hook.sha256, document, granted.constraints)
            if (output := kept.get(caller.tenant, key)) is not None:
                answer = decode_step_output(output)
                self._record(ready, granted, document, answer)
                self._runs.reused(caller)
                return answer, 0
        report = await self._runs.run_step(
            ready.hooks.sandbox, ready, document, granted.constraints, ready.module_given.for_run()
        )
        answer = decode_step_output(report.output)
        if kept is not None and isinstance(answer, StepOutput):
            kept.put(caller.tenant, key, report.output, ready.admitted.mission_id)
        return answer, report.fuel_used

    def _record(self, ready: ReadyStep, granted: Granted, document: bytes, answer: StepAnswer) -> None:
        """Tell the log that no module was run, and of what the result is; of one that is masked not its digest."""
        told: Evidence = {"module": ready.kind.hook.sha256, "input": Hidden(document)}
        if isinstance(answer, StepOutput) and granted.redaction is NO_REDACTION:
            told["output"] = Hidden(answer.output)
        ready.admitted.trail.require_open(ready.target)
        ready.admitted.trail.record(EventType.RESULT_REUSED, ready.target, told)

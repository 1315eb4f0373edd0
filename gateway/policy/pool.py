"""Policy in workers: every decision has a deadline, and a worker that misses it is killed and the answer is no.

Decisions of one tick of the event loop coalesce: the pool sends up to `depth` requests to a worker before it waits.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from gateway.errors import WorkerError
from gateway.policy import answer
from gateway.policy.bundle import Bundle
from gateway.policy.calls import WORKER
from gateway.policy.decision import ANSWER_BYTES_MAX, Decision, denied
from gateway.policy.engine import Entrypoint
from gateway.workers.limits import ResourceLimits
from gateway.workers.pool import Standing, WorkerPool
from gateway.workers.spec import WorkerSpec
from gateway.workers.supervisor import Zygote

PRELOAD: Final = ("gateway.policy.worker",)
ENTRY: Final = "gateway.policy.worker:serve"

DEADLINES_MS: Final[Mapping[Entrypoint, int]] = MappingProxyType(
    {"rpc": 1_000, "mission": 5_000, "step": 1_000, "effect": 1_000}
)
"""Milliseconds a decision may take once a worker begins with it; a mission's document may have 10,000 steps.

A decision takes a tenth of a millisecond: this is for one that does not end, and a busy host must not look like it."""

# 70 MB before the first decision, 75 MB with a mission of 10,000 steps, 200 MB with one of a million lists.
ADDRESS_SPACE_BYTES_MAX: Final = 512 * 1024 * 1024
SPARES: Final = 1  # an engine takes 30 ms to build: decisions do not wait for it when a worker dies
DEPTH: Final = 16  # requests under way at one worker
_DENY_CODES: Final = {"worker.deadline": "policy.timeout", "worker.crashed": "policy.crashed"}


class WorkerPolicy:
    """Answers from one vetted bundle, evaluated in worker processes. A new bundle is a new `WorkerPolicy`."""

    def __init__(
        self,
        zygote: Zygote,
        bundle: Bundle,
        size: int = 1,
        *,
        depth: int = DEPTH,
        deadlines_ms: Mapping[Entrypoint, int] = DEADLINES_MS,
        address_space_bytes_max: int = ADDRESS_SPACE_BYTES_MAX,
    ) -> None:
        spec = WorkerSpec(
            entry=ENTRY,
            config=bundle.packed,
            limits=ResourceLimits(address_space_bytes_max=address_space_bytes_max, processes_max=0),
            calls=WORKER,
            answer_bytes_max=ANSWER_BYTES_MAX + 1,
        )
        self._pool = WorkerPool(zygote, spec, size, depth, spares=SPARES)
        self._digest = bundle.digest
        self._deadlines_ms = {**DEADLINES_MS, **deadlines_ms}

    @property
    def digest(self) -> str:
        """`sha256:<hex>` of the bundle that answers."""
        return self._digest

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the ready workers."""
        return self._pool.pids

    @property
    def standing(self) -> Standing:
        """How it stands with the workers."""
        return self._pool.standing

    @property
    def able(self) -> bool:
        """Whether a worker is ready."""
        return bool(self.pids)

    async def turn(self) -> None:
        """Return once a worker has room for a question that is put now.

        Raises:
            WorkerError: as `WorkerPool.call`.
        """
        await self._pool.turn()

    async def start(self) -> None:
        """Start the workers; return once each has prepared the bundle.

        Raises:
            WorkerError: `worker.start_failed`.
        """
        await self._pool.start()

    async def close(self) -> None:
        """Let the decisions under way end, then end the workers."""
        await self._pool.close()

    async def decide(self, entrypoint: Entrypoint, document: bytes) -> Decision:
        """Decide one document; whatever goes wrong is a deny (`PolicyEngine.decide`)."""
        request = answer.encode_request(entrypoint, document)
        deadline_ms = self._deadlines_ms[entrypoint]
        try:
            frame = await self._pool.call(request, deadline_ms=deadline_ms)
        except WorkerError as error:
            code = _DENY_CODES.get(error.code, "policy.unavailable")
            why = f"no decision within {deadline_ms} ms" if code == "policy.timeout" else "no decision could be had"
            return denied(code, why, bundle=self._digest)
        return answer.decide(entrypoint, frame, bundle=self._digest)

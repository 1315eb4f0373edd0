"""Where an author's rules are evaluated: in a worker process, each evaluation with a deadline at which it is ended."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import orjson

from engine.values import JsonObject
from gateway.errors import WorkerError
from gateway.policy.answer import Status
from gateway.policy.authoring.explain import unexplained
from gateway.policy.authoring.interpreter import Answer
from gateway.policy.authoring.sources import packed
from gateway.policy.calls import WORKER
from gateway.policy.decision import denied
from gateway.policy.engine import Entrypoint
from gateway.policy.pool import ADDRESS_SPACE_BYTES_MAX
from gateway.policy.vetting import Module
from gateway.workers.limits import ResourceLimits
from gateway.workers.pool import WorkerPool
from gateway.workers.spec import WorkerSpec
from gateway.workers.supervisor import Zygote

PRELOAD: Final = ("gateway.policy.authoring.worker",)
ENTRY: Final = "gateway.policy.authoring.worker:serve"
EXPLAIN_DEADLINE_MS: Final = 10_000  # after which nothing more is begun
DEADLINE_MS: Final = 5_000  # of one evaluation: what `opa test` gives a test


class Laboratory:
    """Evaluates rules of one bundle. Bound to the event loop that made it."""

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool

    async def ask(self, rule: str, document: bytes | None = None, *, deadline_ms: int = DEADLINE_MS) -> Answer:
        """Return what `rule` (`data.gateway.step.decision`) is for an input.

        Raises:
            WorkerError: as `call`.
        """
        return _answer(await self.call({"op": "ask", "rule": rule}, document, deadline_ms=deadline_ms))

    async def cover(self, rule: str, *, deadline_ms: int = DEADLINE_MS) -> tuple[Answer, dict[str, list[int]]]:
        """Return what `rule` is without an input, and the lines that were looked at on the way, by file.

        Raises:
            WorkerError: as `call`.
        """
        answer = await self.call({"op": "cover", "rule": rule}, deadline_ms=deadline_ms)
        return _answer(answer), answer["covered"]

    async def locate(self, rule: str, *, deadline_ms: int = DEADLINE_MS) -> int | None:
        """Return the line of the first statement of a failing test that does not hold; None where it is not known."""
        request = {"op": "locate", "rule": rule, "deadline_ms": deadline_ms}
        try:
            answer = await self.call(request, deadline_ms=2 * deadline_ms)
        except WorkerError:
            return None
        line: int | None = answer["line"]
        return line

    async def explain(
        self, digest: str, entrypoint: Entrypoint, document: bytes, *, deadline_ms: int = EXPLAIN_DEADLINE_MS
    ) -> dict[str, Any]:
        """Return the document of an `Explanation`; one that does not end is ended, and then is a deny alone.

        Raises:
            WorkerError: there are no workers to be had.
        """
        request = {"op": "explain", "digest": digest, "entrypoint": entrypoint, "deadline_ms": deadline_ms}
        try:
            answer = await self.call(request, document, deadline_ms=deadline_ms + DEADLINE_MS)
        except WorkerError as error:
            if error.code not in {"worker.deadline", "worker.crashed"}:
                raise
            ended = error.code == "worker.deadline"
            why = "an evaluation did not end in time" if ended else "the engine broke, or took more memory than it may"
            decision = denied("policy.timeout" if ended else "policy.crashed", why, bundle=digest)
            return unexplained(entrypoint, decision).document()
        return dict(answer)

    async def call(self, request: dict[str, Any], document: bytes | None = None, *, deadline_ms: int) -> Any:
        """Send a request, with an input behind it; return the answer.

        Raises:
            WorkerError: `worker.deadline`, it took longer and was ended; `worker.crashed`, the engine broke.
        """
        frame = orjson.dumps(request) + b"\n" + (document or b"")
        return orjson.loads(await self._pool.call(frame, deadline_ms=deadline_ms))


def _answer(answer: Any) -> Answer:
    return Answer(Status(answer["status"]), answer["value"], answer["message"])


@asynccontextmanager
async def laboratory(
    modules: Sequence[Module], data: JsonObject, *, coverage: bool = False, zygote: Zygote | None = None
) -> AsyncIterator[Laboratory]:
    """Have a worker with modules that were vetted, and their data, for as long as the block lasts.

    Args:
        modules: of one bundle.
        data: the bundle's.
        coverage: whether `cover` will be asked for.
        zygote: forks the worker; None: one that lives as long as the block.

    Raises:
        WorkerError: `worker.start_failed`, there are no workers to be had.
    """
    async with AsyncExitStack() as stack:
        if zygote is None:
            zygote = await Zygote.start(PRELOAD)
            stack.push_async_callback(zygote.close)
        pool = WorkerPool(zygote, spec_of(modules, data, coverage=coverage), 1, spares=1)
        stack.push_async_callback(pool.close)
        await pool.start()
        yield Laboratory(pool)


def spec_of(modules: Sequence[Module], data: JsonObject, *, coverage: bool = False) -> WorkerSpec:
    """Return how to make such a worker."""
    return WorkerSpec(
        entry=ENTRY,
        config=packed(modules, data, coverage=coverage),
        limits=ResourceLimits(address_space_bytes_max=ADDRESS_SPACE_BYTES_MAX, processes_max=0),
        calls=WORKER,
    )

"""Shows observers what was allowed and what came out, behind the back of what is observed.

An observer never delays and never fails anything: it is run later, by a bounded number of tasks, in workers of its
own; where too much waits, it is not shown the rest, which is counted. Nothing of its answers is kept but the code of an
error that it reports.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from engine.errors import EngineError
from gateway.constrained.runs import ConstrainedRuns
from gateway.hook_failures import HookFailures
from gateway.hookset import HookSet, PlacedHook, Subject
from gateway.sandbox.abi_hooks import decode_observer
from gateway.sandbox.port import RunGiven, Sandbox
from gateway.stages import Given

WAITING_MAX: Final = 1_024
WAITING_BYTES_MAX: Final = 16 * 1024 * 1024
RUNNING_MAX: Final = 4  # runs under way at once


@dataclass(frozen=True, slots=True)
class _Sight:
    """One run that is to come."""

    placed: PlacedHook
    sandbox: Sandbox
    document: bytes
    given: RunGiven
    tenant: str


class Observers:
    """Runs the observers of one gateway. `counts` says how many runs were sampled out, dropped, ended and failed."""

    def __init__(self, runs: ConstrainedRuns, failures: HookFailures, *, waiting_max: int = WAITING_MAX) -> None:
        """Begin with nothing to show."""
        self._runs = runs
        self._failures = failures
        self._waiting_max = waiting_max
        self._waiting: deque[_Sight] = deque()
        self._waiting_bytes = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self.counts: Counter[str] = Counter()

    def observe(
        self,
        hooks: HookSet,
        place: str,
        subject: Subject,
        document: Callable[[], bytes],
        given: Given,
        tenant: str,
    ) -> None:
        """Let the observers of a place be shown a document, later; it is made only where one of them is. Never raises.

        A sampling rate of 0 shows nothing, one of 1 everything.
        """
        made: bytes | None = None
        for placed in hooks.at("observe", place):
            if not placed.is_about(subject):
                continue
            try:
                if self._runs.left_out(placed.hook, placed.profile):
                    self.counts["sampled_out"] += 1
                    continue
                made = document() if made is None else made
                self._queue(
                    _Sight(placed, hooks.sandbox, placed.framed(made, given.now, given.seed), given.for_run(), tenant)
                )
            except Exception:  # noqa: BLE001 - whatever it is, it is no matter of what is observed
                self._fail(placed, "internal")

    async def close(self, drain_seconds: float) -> None:
        """Show what waits, for so long at most; then tell the log what it has not heard. Once more is no error."""
        self._closed = True
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=drain_seconds)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        while self._waiting:
            self._drop(self._waiting.popleft().placed)
        self._waiting_bytes = 0
        self._failures.flush()

    def _queue(self, sight: _Sight) -> None:
        size = len(sight.document)
        full = len(self._waiting) >= self._waiting_max or self._waiting_bytes + size > WAITING_BYTES_MAX
        if full or self._closed:
            self._drop(sight.placed)
            return
        self._waiting.append(sight)
        self._waiting_bytes += size
        if len(self._tasks) < RUNNING_MAX:
            task = asyncio.create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self) -> None:
        """Show what waits until nothing does."""
        while self._waiting:
            sight = self._waiting.popleft()
            self._waiting_bytes -= len(sight.document)
            await self._show(sight)

    async def _show(self, sight: _Sight) -> None:
        placed = sight.placed
        try:
            report = await self._runs.run_hook(
                sight.sandbox,
                placed.hook,
                sight.document,
                placed.constraints,
                sight.given,
                tenant=sight.tenant,
                report=None,  # what an observer breaks is told of in sums
            )
            fault = decode_observer(report.output)
            code = placed.own_code(fault.code) if fault is not None else ""
        except EngineError as error:
            code = error.code
        except Exception:  # noqa: BLE001 - as above
            code = "internal"
        self.counts["ended"] += 1
        if code:
            self._fail(placed, code)

    def _fail(self, placed: PlacedHook, code: str) -> None:
        self.counts["failed"] += 1
        self._failures.failed(placed, code)

    def _drop(self, placed: PlacedHook) -> None:
        self.counts["dropped"] += 1
        self._failures.dropped(placed)

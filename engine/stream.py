"""Streaming: batches flow through one plan, a bounded number at a time, and results come as they are ready.

A batch is the variables of one run. What bounds memory is that the source is asked for the next batch only while fewer
than `in_flight_max` of them are being run, or wait to be taken: a slow consumer slows the source.
"""

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from engine.clock import Clock, SystemClock
from engine.context import ExecutionContext
from engine.errors import EngineError, StepError
from engine.mission import MissionLimits
from engine.plan import Plan
from engine.ports import ScheduleObserver, SilentObserver, StepRunner
from engine.reference import lookup
from engine.result import MissionResult, MissionState, OverallStatus, StepFailure, StepResult, StepState
from engine.scheduler import MissionRun
from engine.values import JsonObject

IN_FLIGHT_MAX: Final = 4

Batches: TypeAlias = AsyncIterable[JsonObject] | Iterable[JsonObject]


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of one batch."""

    index: int  # of the source, from 0
    variables: JsonObject  # the batch, as the source gave it
    result: MissionResult


async def stream_mission(
    plan: Plan,
    runner: StepRunner,
    batches: Batches,
    *,
    in_flight_max: int = IN_FLIGHT_MAX,
    ordered: bool = True,
    observer: ScheduleObserver | None = None,
    clock: Clock | None = None,
    limits: MissionLimits | None = None,
    check: Callable[[JsonObject], None] | None = None,
) -> AsyncGenerator[BatchResult]:
    """Run `plan` once for each batch, and yield what became of each.

    At most `in_flight_max` batches are in memory; each may run `parallel_limit` steps. `ordered` results come in the
    order of the source, others as they are ready. A batch that cannot be run, because it is no JSON object, lacks
    what the plan refers to, or `check` raises an `EngineError` for it, is a Failed result in which every step is
    Skipped; the stream goes on. An error of the source itself is raised when everything that was read is done.

    Leaving the generator early (`aclose`, which `contextlib.aclosing` calls) cancels what runs, waits for its end, and
    closes the source.

    Raises:
        ValueError: `in_flight_max` is less than 1.
    """
    if in_flight_max < 1:
        raise ValueError("in_flight_max must be at least 1")
    context = ExecutionContext.of(plan.mission, limits=limits or MissionLimits())
    each = _Each(plan, runner, context, observer or SilentObserver(), clock or SystemClock(), check)
    flow = _Flow(each, _Source(batches), in_flight_max, ordered=ordered)
    try:
        while (done := await flow.next()) is not None:
            yield done.pop()  # no name of this frame keeps what the consumer lets go of
    finally:
        await flow.close()


@dataclass(frozen=True, slots=True)
class _Each:
    """How one batch is run."""

    plan: Plan
    runner: StepRunner
    context: ExecutionContext
    observer: ScheduleObserver
    clock: Clock
    check: Callable[[JsonObject], None] | None

    async def run(self, index: int, batch: JsonObject) -> BatchResult:
        mission_id = str(uuid.uuid4())
        try:
            context = self._context_of(batch)
        except EngineError as error:
            return BatchResult(
                index, batch, self._refused(mission_id, StepFailure(code=error.code, message=str(error)))
            )
        run = MissionRun(self.plan, context, self.runner, self.observer, self.clock, mission_id)
        return BatchResult(index, batch, await run.execute())

    def _context_of(self, batch: JsonObject) -> ExecutionContext:
        """Return the context of a batch that has what the plan refers to."""
        if not isinstance(batch, Mapping):
            raise StepError("a batch is an object of variables", code="stream.not_an_object")
        if self.check is not None:
            self.check(batch)
        context = self.context.fork(batch)
        for template in self.plan.templates:
            for reference in template.references if template is not None else ():
                if reference.source == "variables":
                    lookup(reference, context)
        return context

    def _refused(self, mission_id: str, failure: StepFailure) -> MissionResult:
        """Return the result of a batch of which nothing was run."""
        now = self.clock.now()
        skipped = {
            step.id: StepResult(
                step_id=step.id, status=StepState.SKIPPED, error=failure, duration_ms=0.0, timestamp=now
            )
            for step in self.plan.mission.steps
        }
        return MissionResult(
            mission_id=mission_id,
            state=MissionState.FAILED,
            overall_status=OverallStatus.FAILED,
            step_results=skipped,
            start_time=now,
            end_time=now,
            total_duration_ms=0.0,
            steps_completed=0,
            steps_failed=0,
            steps_skipped=len(skipped),
            error=failure,
        )


class _Source:
    """Any source of batches, asked for one at a time; a plain iterable is asked on the event loop."""

    def __init__(self, batches: Batches) -> None:
        self._iterator: Any = aiter(batches) if isinstance(batches, AsyncIterable) else iter(batches)

    async def next(self) -> list[JsonObject]:
        """Return the next batch in a list, or an empty one at the end."""
        try:
            return [await anext(self._iterator) if hasattr(self._iterator, "__anext__") else next(self._iterator)]
        except (StopIteration, StopAsyncIteration):
            return []

    async def close(self) -> None:
        """Let the source release what it holds, if it is one that can."""
        if (aclose := getattr(self._iterator, "aclose", None)) is not None:
            await aclose()
        elif (close := getattr(self._iterator, "close", None)) is not None:
            close()


@dataclass
class _Flow:
    """The batches in memory: those that run or are ready, oldest first, and the one that is being read."""

    each: _Each
    source: _Source
    in_flight_max: int
    ordered: bool = field(kw_only=True)
    running: list[asyncio.Task[BatchResult]] = field(default_factory=list)
    reading: asyncio.Task[list[JsonObject]] | None = None
    exhausted: bool = False
    fault: Exception | None = None
    index: int = 0

    async def next(self) -> list[BatchResult] | None:
        """Return the next result, in a list that the caller empties; None at the end."""
        while True:
            self._read()
            if (ready := self._ready()) is not None:
                self.running.remove(ready)
                return [ready.result()]
            waiting: set[asyncio.Task[Any]] = {*self.running}
            if self.reading is not None:
                waiting.add(self.reading)
            if not waiting:
                if self.fault is not None:
                    raise self.fault
                return None
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)

    def _read(self) -> None:
        """Start what was read, and read on where there is room."""
        if self.reading is not None and self.reading.done():
            self._take(self.reading)
            self.reading = None
        if self.reading is None and not self.exhausted and len(self.running) < self.in_flight_max:
            self.reading = asyncio.create_task(self.source.next())

    def _take(self, reading: asyncio.Task[list[JsonObject]]) -> None:
        try:
            batches = reading.result()
        except Exception as error:  # noqa: BLE001 - whatever a source raises, what was read before is finished first
            self.fault = error
            batches = []
        self.exhausted = not batches
        for batch in batches:
            self.running.append(asyncio.create_task(self.each.run(self.index, batch)))
            self.index += 1

    def _ready(self) -> asyncio.Task[BatchResult] | None:
        candidates = self.running[:1] if self.ordered else self.running
        return next((task for task in candidates if task.done()), None)

    async def close(self) -> None:
        """Cancel what runs, wait for its end, and close the source; whoever is cancelled meanwhile is so after that."""
        tasks: list[asyncio.Task[Any]] = [*self.running, *([self.reading] if self.reading is not None else [])]
        for task in tasks:
            task.cancel()
        interruption: asyncio.CancelledError | None = None
        while pending := [task for task in tasks if not task.done()]:
            try:
                await asyncio.wait(pending)
            except asyncio.CancelledError as error:
                interruption = error
        for task in tasks:
            _ = task.cancelled() or task.exception()  # nobody will ask for what went wrong in them
        self.running.clear()
        await self.source.close()
        if interruption is not None:
            raise interruption

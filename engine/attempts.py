"""The attempts of a run: their tasks, deadlines and retries, from the first call of the runner to the last.

An attempt is known by a key: the index of its step or, for an item of a fan-out, a number beyond all indices. One key
has one task through all its attempts. What becomes of it is told to the listener, once: succeeded, failed, cancelled
(with the mission) or recalled (by `recall`). A task that ignores its cancellation is given up: its place stays taken
for as long as it lives, and nothing that it does later counts.

A task exists from Ready to the end of the step. Tasks are made directly, not by the loop's factory: under an eager
one, a step that ends would start the next inside itself, without end. Each gets a copy of the context variables of
`execute`, so that nothing leaks from the step that released it.
"""

import asyncio
import contextvars
import logging
from collections.abc import Callable, Iterator
from inspect import CORO_CREATED, getcoroutinestate, iscoroutine
from typing import Final, Protocol

from engine.attempt import StepAttempt
from engine.context import ExecutionContext
from engine.deadlines import Deadlines
from engine.mission import MissionStep
from engine.outcome import STEP_CANCELLED, Stop, failure_of, stop_of, timed_out, unresponsive
from engine.places import Places
from engine.ports import Retry, StepRunner
from engine.result import StepFailure
from engine.retry import is_retryable
from engine.supervisor import Supervisor
from engine.values import JsonValue

_LOGGER: Final = logging.getLogger(__name__)


class Listener(Protocol):
    """Who hears of attempts; `engine.dispatch.Dispatch`."""

    def step_of(self, key: int) -> MissionStep:
        """Return the step of an attempt."""

    def began(self, key: int) -> None:
        """The task has its first turn; the runner is called when this returns."""

    def retrying(self, key: int, retry: Retry) -> None:
        """An attempt has failed, and another is to follow."""

    def trying(self, key: int, number: int) -> None:
        """Another attempt, of that number, begins."""

    def succeeded(self, key: int, output: JsonValue) -> None:
        """The runner has returned."""

    def failed(self, key: int, failure: StepFailure, stop: Stop | None, *, again: bool) -> None:
        """No attempt is left; `stop` is why the mission is over as well, `again` whether starting anew may help."""

    def cancelled(self, key: int) -> None:
        """The attempt let the cancellation of its mission through."""

    def recalled(self, key: int, *, gone: bool) -> None:
        """A recalled attempt has ended, or, not `gone`, ignores it."""

    def pump(self) -> None:
        """A place may be free."""


class Attempts:
    """All attempts of one execution; made on the event loop that it runs on."""

    def __init__(
        self,
        listener: Listener,
        runner: StepRunner,
        context: ExecutionContext,
        places: Places,
        *,
        supervisor: Supervisor | None,
        grace_seconds: float,
        chance: Callable[[], float],
    ) -> None:
        self._listener = listener
        self._runner = runner
        self._context = context
        self._places = places
        self._supervisor = supervisor  # one for one: what has used up its retries is begun anew, within the intensity
        self._grace_seconds = grace_seconds
        self._chance = chance
        self._loop = asyncio.get_running_loop()
        self._variables = contextvars.copy_context()
        self._never_began = self._on_never_began  # one bound method, not one a step
        self._deadlines = Deadlines(self._loop, self._on_deadline)
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._overdue: set[int] = set()  # past their deadline
        self._recalled: set[int] = set()
        self._given_up: set[int] = set()  # alive still
        self._halted = False

    def __len__(self) -> int:
        """Attempts whose end is still to be told."""
        return len(self._tasks) - len(self._given_up)

    def __contains__(self, key: int) -> bool:
        return key in self._tasks and key not in self._given_up

    def __iter__(self) -> Iterator[int]:
        return (key for key in list(self._tasks) if key not in self._given_up)

    def start(self, key: int, step: MissionStep, item: int | None = None, value: JsonValue = None) -> None:
        """Make the task of an attempt, which has its place."""
        task = asyncio.Task(
            self._drive(key, step, item, value), loop=self._loop, name=step.id, context=self._variables.copy()
        )
        task.add_done_callback(self._never_began)
        self._tasks[key] = task

    def recall(self, key: int) -> bool:
        """Cancel an attempt whose end means nothing any more; return False where it had not begun, and is gone."""
        if self._is_fresh(key):
            self._dismiss(key)
            return False
        self._recalled.add(key)
        if key not in self._overdue:  # those are cancelled already, and have begun their grace
            self._tasks[key].cancel()
            self._deadlines.set(key, self._grace_seconds)
        return True

    def halt(self) -> list[int]:
        """Cancel everything, and let nothing be tried again; return what had not begun, and is gone."""
        self._halted = True
        self._deadlines.close()
        dismissed = [key for key in self if self._is_fresh(key)]
        for key in dismissed:
            self._dismiss(key)
        for key in self:
            if key not in self._overdue and key not in self._recalled:  # those are cancelled already
                self._tasks[key].cancel()
        self._recalled.clear()
        return dismissed

    def give_up_all(self) -> None:
        """Give up whatever is still running."""
        for key in sorted(self):
            self._give_up(key)

    def close(self) -> None:
        """Release the timer."""
        self._deadlines.close()

    # --- inside the task ---

    async def _drive(self, key: int, step: MissionStep, item: int | None, value: JsonValue) -> None:
        """Run one attempt, and those that follow it, in its own task."""
        self._tasks[key].remove_done_callback(self._never_began)
        self._listener.began(key)
        if self._halted:  # the observer's doing
            self._on_raised(key, step, asyncio.CancelledError())
            return
        try:
            if step.retry is None and self._supervisor is None:
                if step.timeout_seconds is not None:
                    self._deadlines.set(key, step.timeout_seconds)
                attempt = StepAttempt(self._context, item=item, value=value, seats=self._places, key=key)
                output = await self._runner.run_step(step, attempt)
            else:
                output = await self._persist(key, step, item, value)
        except BaseException as raised:
            if not self._loop.is_running():
                raise  # the loop was closed over the step; there is nothing left to tell
            interrupted = isinstance(raised, KeyboardInterrupt)
            if interrupted:  # it goes on to the program; asyncio need not report it as well
                self._tasks[key].add_done_callback(asyncio.Task.exception)
            self._on_raised(key, step, raised)
            if interrupted:
                raise
        else:
            self._on_returned(key, step, output)
        self._listener.pump()

    async def _persist(self, key: int, step: MissionStep, item: int | None, value: JsonValue) -> JsonValue:
        """Try until an attempt succeeds, or none is left; return or raise what the last one did."""
        number = 0
        while True:
            number += 1
            if step.timeout_seconds is not None:
                self._deadlines.set(key, step.timeout_seconds)
            attempt = StepAttempt(self._context, number=number, item=item, value=value, seats=self._places, key=key)
            raised: BaseException | None = None
            output: JsonValue = None
            try:
                output = await self._runner.run_step(step, attempt)
            except BaseException as error:  # noqa: BLE001 - it is raised again where it is final
                raised = error
            late = self._is_late(key)
            if raised is None and not late:
                return output
            delay_seconds = self._delay_seconds(key, step, number, raised, late=late)
            if delay_seconds is None:
                if raised is not None:
                    raise raised
                return output
            failure = timed_out(step) if late or raised is None else failure_of(step, raised)
            await self._rest(key, Retry(number, failure, delay_seconds, item))
            self._listener.trying(key, number + 1)

    async def _rest(self, key: int, retry: Retry) -> None:
        """Wait for the next attempt, without a place."""
        self._deadlines.forget(key)
        self._overdue.discard(key)
        task = self._tasks[key]
        while task.cancelling():
            task.uncancel()  # its deadline's, which the next attempt does not inherit
        self._listener.retrying(key, retry)
        if self._halted:
            raise asyncio.CancelledError  # the observer's doing
        self._places.leave(key)
        await asyncio.sleep(retry.delay_seconds)
        await self._places.come_back(key)

    def _delay_seconds(
        self, key: int, step: MissionStep, number: int, raised: BaseException | None, *, late: bool
    ) -> float | None:
        """Return how long to wait for the next attempt; None: there is none."""
        if self._halted or key in self._recalled or key in self._given_up:
            return None
        if raised is not None and (stop_of(step, raised) is not None or not (late or is_retryable(raised))):
            return None
        if step.retry is not None and number < step.retry.max_attempts:
            return step.retry.delay_seconds(number, self._chance())
        return 0.0 if self._supervisor is not None and self._supervisor.permits() else None

    def _is_late(self, key: int) -> bool:
        """Return whether the deadline of the attempt that ends was over; it has none from now on."""
        if self._deadlines.forget(key):
            self._overdue.add(key)
        return key in self._overdue

    # --- how a task ends ---

    def _on_returned(self, key: int, step: MissionStep, output: JsonValue) -> None:
        late = self._deadlines.forget(key) or key in self._overdue
        if self._leave(key):
            if late:
                self._listener.failed(key, timed_out(step), None, again=True)
            else:
                self._listener.succeeded(key, output)

    def _on_raised(self, key: int, step: MissionStep, raised: BaseException) -> None:
        late = self._is_late(key)
        if not self._leave(key):
            return
        if self._halted and isinstance(raised, asyncio.CancelledError) and not late:
            self._listener.cancelled(key)
            return
        stop = stop_of(step, raised)
        failure = failure_of(step, raised)
        if late and stop is None:
            failure = timed_out(step)
        self._listener.failed(key, failure, stop, again=late or is_retryable(raised))

    def _leave(self, key: int) -> bool:
        """Free the place of an attempt whose task ends; return whether its outcome counts."""
        del self._tasks[key]
        self._overdue.discard(key)
        self._places.give_back(key)
        if key in self._given_up:
            self._given_up.discard(key)
            return False
        if key in self._recalled:
            self._recalled.discard(key)
            self._listener.recalled(key, gone=True)
            return False
        return True

    def _is_fresh(self, key: int) -> bool:
        """Return whether a task has not had its first turn: asked rarely, so nothing is kept to know it."""
        coroutine = self._tasks[key].get_coro()
        return iscoroutine(coroutine) and getcoroutinestate(coroutine) == CORO_CREATED

    def _dismiss(self, key: int) -> None:
        """Cancel a task before its first turn: its coroutine never runs."""
        task = self._tasks.pop(key)
        task.remove_done_callback(self._never_began)
        task.cancel()
        self._places.give_back(key)

    # --- what happens outside a task ---

    def _on_deadline(self, key: int) -> None:
        """Time is over: first the attempt is cancelled, then given up."""
        if key in self._overdue or key in self._recalled:
            self._give_up(key)
            self._listener.pump()
            return
        self._overdue.add(key)
        self._tasks[key].cancel()
        self._deadlines.set(key, self._grace_seconds)

    def _give_up(self, key: int) -> None:
        """Let an attempt that ignores its cancellation be: its task keeps its place."""
        step = self._listener.step_of(key)
        _LOGGER.warning("step %s did not end within %g s of its cancellation", step.id, self._grace_seconds)
        self._given_up.add(key)
        if key in self._recalled:
            self._recalled.discard(key)
            self._listener.recalled(key, gone=False)
        elif key in self._overdue:
            self._listener.failed(key, timed_out(step), None, again=False)
        else:
            self._listener.failed(key, unresponsive(self._grace_seconds), None, again=False)

    def _on_never_began(self, task: asyncio.Task[None]) -> None:
        """A task was cancelled before its first turn, by someone else: its coroutine never ran, and cannot say so."""
        key = next(key for key, other in self._tasks.items() if other is task)
        if self._leave(key):
            self._listener.failed(key, STEP_CANCELLED, None, again=False)
        self._listener.pump()

"""The dispatch of a run: which step starts when, and what the end of one means for the others.

The invariants, and where they are held:
- a step starts only when nothing that it depends on is unfinished, in the order of the strategy: `engine.order`;
- at most `parallel_limit` attempts run: `engine.places`; `pump` is the only place that starts one;
- what an attempt comes to is heard once: `engine.attempts`;
- every step has exactly one outcome: `engine.ledger` records it, and drops a second; what it means for others is in
  `engine.settlement`;
- once `halt` was called, no further step starts.

A step that waits for others costs three entries of lists and arrays.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

from engine.attempts import Attempts
from engine.clock import Clock
from engine.context import ExecutionContext
from engine.errors import StepError
from engine.fanning import FanOut, FanOuts
from engine.ledger import Ledger
from engine.mission import MissionStep, RestartScope, Strategy
from engine.mission_timer import MissionTimer
from engine.order import DocumentOrder, LevelOrder
from engine.outcome import Stop, failure_of, stop_of, too_many_restarts
from engine.places import Places
from engine.plan import Plan
from engine.ports import Retry, ScheduleObserver, SharedPlaces, StepRunner
from engine.restarts import LevelRestarts
from engine.result import MissionResult, StepFailure, StepResult, StepState
from engine.settlement import Settlement
from engine.supervisor import Supervisor
from engine.values import JsonValue

_LOGGER: Final = logging.getLogger(__name__)


class Dispatch:
    """The moving parts of one execution; made on the event loop that it runs on."""

    def __init__(
        self,
        plan: Plan,
        context: ExecutionContext,
        runner: StepRunner,
        observer: ScheduleObserver,
        clock: Clock,
        *,
        grace_seconds: float,
        chance: Callable[[], float],
        slots: SharedPlaces | None = None,
        spent_seconds: float = 0.0,
    ) -> None:
        self._plan = plan
        self._context = context
        self._grace_seconds = grace_seconds
        self._steps = plan.mission.steps
        self._observer_failed = False
        self._loop = asyncio.get_running_loop()
        self._all_settled = self._loop.create_future()
        config = plan.mission.config
        seconds_left = max(0.0, config.timeout_seconds - spent_seconds)
        self._timer = MissionTimer(self._loop, seconds_left, self._on_mission_timeout)
        self._supervisor = None if config.supervision is None else Supervisor(config.supervision, clock)
        one_for_all = config.supervision is not None and config.supervision.strategy is RestartScope.ONE_FOR_ALL
        self._ledger = Ledger(
            self._steps, observer, clock, on_complete=self._on_complete, on_observer_error=self._on_observer_error
        )
        order = LevelOrder if config.strategy is Strategy.LEVELS else DocumentOrder
        self._order = order(plan.graph, self._ledger.results)
        self._settlement = Settlement(plan, context, self._ledger, self._order, self.halt, holds=one_for_all)
        self._order.on_level_done = self._settlement.commit
        self._special = {*plan.conditions, *plan.fan_outs}  # steps with something to find out before they start
        self._fans = FanOuts(len(self._steps), context)
        self._items_from = len(self._steps)  # keys below are those of the steps themselves
        self.places = Places(1 if config.strategy is Strategy.SEQUENTIAL else config.parallel_limit, slots, self.pump)
        self._attempts = Attempts(
            self,
            runner,
            context,
            self.places,
            supervisor=None if one_for_all else self._supervisor,
            grace_seconds=grace_seconds,
            chance=chance,
        )
        self._restarts: LevelRestarts | None = None
        if one_for_all and self._supervisor is not None and isinstance(self._order, LevelOrder):
            self._restarts = LevelRestarts(
                self._order, self._supervisor, self._ledger, self._settlement, self._attempts, self._fans
            )

    @property
    def settled(self) -> bool:
        """Whether every step has its outcome or, suspended, all that it will have."""
        return not self._ledger.unsettled or (self._suspended and not self._attempts)

    @property
    def suspended(self) -> bool:
        """Whether steps are left to a later execution."""
        return self._suspended and self._ledger.unsettled > 0

    @property
    def _stop(self) -> Stop | None:
        return self._settlement.stop

    @property
    def _suspended(self) -> bool:
        return self._stop is not None and self._stop.suspends

    def state_of(self, index: int) -> StepState:
        """Return the state of a step now."""
        result = self._ledger.results[index]
        if result is not None:
            return result.status
        if self._ledger.has_begun(index):
            return StepState.EXECUTING
        return StepState.PENDING if self._order.is_waiting(index) else StepState.READY

    # --- the mission: started, awaited, paused, halted, closed ---

    def start(self, stop: Stop | None, prior: Mapping[str, StepResult]) -> None:
        """Take over what an earlier execution has done, and start what is ready; with `stop`, skip all instead."""
        kept = {self._plan.graph.index[step_id]: result for step_id, result in prior.items()}
        for index, result in kept.items():
            self._ledger.keep(index, result)
        if stop is not None:
            self.halt(stop)
        for index, result in kept.items():
            self._settlement.take_over(index, result)
        if self._stop is None:
            self._order.begin()
            self.pump()
        if self.settled:
            self._on_complete()

    async def wait(self) -> None:
        """Return when every step has its outcome. Cancelling it changes nothing, and it can be called again."""
        if self._all_settled.cancelled():
            self._all_settled = self._loop.create_future()
        await self._all_settled

    def pause(self) -> bool:
        """Start nothing more, of the mission's time neither; return whether this call is what pauses it."""
        if self._stop is not None or not self.places.open:
            return False
        self.places.open = False
        self._timer.pause()
        return True

    def resume(self) -> bool:
        """Go on; return whether this call is what ends the pause."""
        if self._stop is not None or self.places.open:
            return False
        self.places.open = True
        self._timer.resume()
        self.pump()
        return True

    def halt(self, stop: Stop) -> bool:
        """Let nothing more start, and cancel what runs. Only the first call does anything: it returns True."""
        if self._stop is not None:
            return False
        self._settlement.stop = stop
        self._order.clear()
        self._timer.cancel()
        self._settlement.commit()
        self._fans.stop()
        for key in self._attempts.halt():
            self._fans.left(key)
        self.places.open = True  # for what cleans up after a wait; nothing is left that a pause could hold back
        self.places.readmit()
        if not stop.suspends:
            self._ledger.stopping(stop)
            self._settlement.skip_rest(stop.reason, self._is_running)
        if self.settled:
            self._on_complete()
        else:
            self._timer.arm(self._grace_seconds, self._on_grace_over)
        return True

    def close(self, mission_id: str) -> MissionResult | None:
        """Release timers and places, and return the result. Every step has its outcome by now, unless suspended."""
        self._attempts.close()
        self._timer.cancel()
        self.places.close()
        return None if self.suspended else self._ledger.close(mission_id, self._stop)

    def _is_running(self, index: int) -> bool:
        fan = self._fans.of(index)
        return index in self._attempts or (fan is not None and bool(fan.running))

    # --- ready steps ---

    def pump(self) -> None:
        """Give free places to attempts that come back, then to ready steps; settle those of which none will start."""
        places, order = self.places, self._order
        places.readmit()
        while (index := order.peek()) is not None:
            if index in self._special:
                if (fan := self._ready_fan(index)) is not None:
                    if not places.take():
                        return
                    key, item = self._fans.start(fan)
                    self._attempts.start(key, self._steps[index], item, fan.items[item])
            elif places.take():
                order.pop()
                self._attempts.start(index, self._steps[index])
            else:
                return

    def _ready_fan(self, index: int) -> FanOut | None:
        """Return the fan-out of a special step, an item of which may start; None: look again at what is next now."""
        fan = self._fans.of(index)
        if fan is None:
            self._look_at(index)
            return None
        if not fan.may_start:
            fan.queued = False
            self._order.pop()
            return None
        return fan

    def _look_at(self, index: int) -> None:
        """Find out whether a step runs at all, and of which items it consists."""
        step = self._steps[index]
        condition, source = self._plan.conditions.get(index), self._plan.fan_outs.get(index)
        holds, fan, error = False, None, None
        try:
            holds = condition is None or condition.holds(self._context)
            fan = self._fans.open(index, source) if holds and source is not None else None
        except Exception as raised:  # noqa: BLE001 - what cannot be found out, for whatever reason, is a failure
            error = raised
        if self._stop is not None:  # the doing of whoever was asked
            return
        if error is not None:
            self._order.pop()
            self._fail(index, failure_of(step, error), stop_of(step, error))
        elif not holds:
            self._order.pop()
            self._settlement.pass_over(index)
        elif fan is None:
            self._special.discard(index)
        elif not fan.items:
            self._order.pop()
            self._settlement.complete(index, [])

    # --- what attempts come to: this is their listener ---

    def step_of(self, key: int) -> MissionStep:
        """Return the step of an attempt."""
        return self._steps[self._fans.index_of(key)]

    def began(self, key: int) -> None:
        """Record that the step is Executing, once however often it is tried."""
        index = key if key < self._items_from else self._fans.index_of(key)
        if self._restarts is not None and self._ledger.has_begun(index):
            self._settlement.tried(index, 1)
        self._ledger.begin(index)

    def retrying(self, key: int, retry: Retry) -> None:
        """Record that an attempt is to follow."""
        self._ledger.retrying(self._fans.index_of(key), retry)

    def trying(self, key: int, number: int) -> None:
        """Count an attempt that follows another."""
        self._settlement.tried(self._fans.index_of(key), number)

    def succeeded(self, key: int, output: JsonValue) -> None:
        """Keep an output."""
        left = self._fans.left(key) if key >= self._items_from else None
        if left is None:
            self._settlement.complete(key, output)
        else:
            self._on_item_returned(*left, output)
            self._look_after(left[0])
        if self._settlement.stop is not None:
            self._check_suspended()

    def failed(self, key: int, failure: StepFailure, stop: Stop | None, *, again: bool) -> None:
        """Draw the consequences of a failure."""
        if again and self._stop is None and stop is None and self._restarts is None and self._supervisor is not None:
            stop = too_many_restarts(self._supervisor.supervision)  # one for one: else it would have been tried again
        left = self._fans.left(key)
        if left is None:
            self._fail(key, failure, stop, again=again)
        else:
            self._on_item_failed(*left, failure, stop, again=again)
            self._look_after(left[0])
        self._check_suspended()

    def cancelled(self, key: int) -> None:
        """Skip a step that ended because its mission did; a later execution takes up one that was suspended."""
        left = self._fans.left(key)
        if left is not None:
            self._look_after(left[0])
        elif self._stop is not None and not self._stop.suspends:
            self._settlement.skip(key, self._stop.reason)
        self._check_suspended()

    def recalled(self, key: int, *, gone: bool) -> None:
        """Go on once what was recalled has ended."""
        left = self._fans.left(key)
        if self._restarts is not None and self._restarts.under_way:
            if gone:
                self._restarts.go_on()
            else:
                self.halt(Stop.failed("step.unresponsive", "a step ignored the restart of its level"))
        elif left is not None:
            left[0].again &= gone  # two instances of one item must never run at once
            self._look_after(left[0])

    # --- items of a fan-out ---

    def _on_item_returned(self, fan: FanOut, item: int, output: JsonValue) -> None:
        """Keep the output of an item; one that cannot be kept is a failure."""
        try:
            fan.keep(item, output)
        except StepError as refused:
            self._on_item_failed(fan, item, failure_of(self._steps[fan.index], refused), None, again=False)
        else:
            self._ledger.item_finished(fan.index, item, len(fan.items), StepState.COMPLETED)

    def _on_item_failed(self, fan: FanOut, item: int, failure: StepFailure, stop: Stop | None, *, again: bool) -> None:
        """Note that an item failed; without `continue_on_error` the others end with it."""
        if self._suspended:  # a later execution takes the item up
            return
        fan.fail(item, failure, again=again)
        self._ledger.item_finished(fan.index, item, len(fan.items), StepState.FAILED)
        if self._stop is not None or (stop is None and self._steps[fan.index].continue_on_error):
            return
        fan.stopped = True
        for key in list(fan.running):
            if not self._attempts.recall(key):
                self._fans.left(key)
        if stop is not None:
            if not fan.running:
                self._fail(fan.index, fan.blame(), stop)
            self.halt(stop)

    def _look_after(self, fan: FanOut) -> None:
        """Settle a fan-out that is over, or let it be ready again."""
        index = fan.index
        if not fan.is_over:
            if fan.may_start and not fan.queued:
                fan.queued = True
                self._order.push(index)
            return
        if fan.queued:  # it stands among the ready still, and will be dropped there
            fan.stopped = True
        if fan.failure is not None:
            output = fan.output() if self._steps[index].continue_on_error else None
            self._fail(index, fan.blame(), again=fan.again, output=output)
        elif fan.is_whole:
            self._settlement.complete(index, fan.output())
        elif self._stop is not None and not self._stop.suspends:
            self._settlement.skip(index, self._stop.reason)

    def _fail(
        self, index: int, error: StepFailure, stop: Stop | None = None, *, again: bool = False, output: JsonValue = None
    ) -> None:
        """Settle a failure, unless starting anew may mend it, or a later execution will."""
        if self._suspended:
            return
        if again and self._stop is None and stop is None and self._restarts is not None:
            stop = self._restarts.restart(error)
            if stop is None:
                return
        self._settlement.fail(index, error, stop, output=output)

    # --- what happens by itself ---

    def _on_mission_timeout(self) -> None:
        limit = self._plan.mission.config.timeout_seconds
        self.halt(Stop.failed("mission.timeout", f"the mission took longer than {limit:g} s"))

    def _on_grace_over(self) -> None:
        self._attempts.give_up_all()
        self._check_suspended()

    def _check_suspended(self) -> None:
        if self._suspended and not self._attempts:
            self._on_complete()

    def _on_complete(self) -> None:
        if not self._all_settled.done():
            self._all_settled.set_result(None)

    def _on_observer_error(self, error: BaseException) -> None:
        if not self._observer_failed:  # once: it is told of every other step as well
            _LOGGER.error("the observer of a mission raised; the mission stops", exc_info=error)
        self._observer_failed = True
        self.halt(Stop.failed("mission.observer_failed", "what happens could not be recorded"))

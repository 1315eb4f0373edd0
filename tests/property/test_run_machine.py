"""One run, driven move by move: whatever people, steps and time do to it, every state is a legal one."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from engine.attempt import StepAttempt
from engine.errors import StepError, SuspendedError
from engine.mission import MissionConfig, MissionStep, RestartScope, Strategy, Supervision
from engine.plan import Plan
from engine.reference import Scope
from engine.result import MissionResult, StepResult, StepState
from engine.retry import RetryPolicy
from engine.slots import SharedSlots, SlotMember
from engine.values import JsonValue
from tests.property.test_schedule_laws import quiet
from tests.property.test_strategy_laws import FINAL, LEGAL
from tests.schedules import ASKED, Items, RecordingObserver, check_consistent, plan_of, run_of
from tests.virtual_time import VirtualTimeLoop

STEPS_MAX = 6
ITEMS_MAX = 3
GRACE_SECONDS = 2.0
STEP_TIMEOUT_SECONDS = 3.0
MISSION_TIMEOUT_SECONDS = 100_000.0
TURNS = 30  # of the loop, after which nothing is left that needs no time
ROUNDS_MAX = 400

ORDERS = {
    "return": lambda: {"done": True},
    "return null": lambda: None,
    "return no JSON": lambda: {1, 2},
    "fault": lambda: StepError("not yet", code="x.fault"),
    "refusal": lambda: StepError("no", code="x.refusal", retryable=False),
    "bug": lambda: ValueError("bug"),
    "violation": lambda: StepError("never", code="x.violation", halts_mission=True),
}


OFTEN = [*ORDERS, *["return"] * 6, *["wait"] * 4, *["bug", "fault"] * 2]
ASKS = [*["pause"] * 5, *["resume"] * 7, "cancel", "suspend", "cancel the caller"]


@dataclass
class Call:
    """One attempt that is under way, and does what it is told."""

    step_id: str
    item: int | None
    nature: str  # what it does when it is cancelled
    order: "asyncio.Future[Any]"
    at_work: bool = True  # has a place, and needs it
    away: bool = False  # waits for something outside
    coming_back: bool = False  # has waited, and wants a place
    cancelled: bool = False


@dataclass
class Hands:
    """The runner: every attempt waits for orders."""

    natures: dict[str, str]
    calls: list[Call] = field(default_factory=list)
    begun: Counter[tuple[str, int | None]] = field(default_factory=Counter)

    async def run_step(self, step: MissionStep, attempt: StepAttempt) -> JsonValue:
        same = [call for call in self.calls if (call.step_id, call.item) == (step.id, attempt.item)]
        assert not same, "two instances of one step, or item, at once"
        self.begun[step.id, attempt.item] += 1
        call = Call(step.id, attempt.item, self.natures[step.id], asyncio.get_running_loop().create_future())
        self.calls.append(call)
        try:
            return await self._obey(call, attempt)
        finally:
            self.calls.remove(call)

    async def _obey(self, call: Call, attempt: StepAttempt) -> JsonValue:
        while True:
            try:
                order = await self._next_order(call, attempt)
            except asyncio.CancelledError:
                call.cancelled, call.away, call.coming_back = True, False, False
                if call.nature != "deaf":
                    return await self._end(call)
                continue
            if isinstance(order, Exception):
                raise order
            return order  # type: ignore[no-any-return]

    async def _next_order(self, call: Call, attempt: StepAttempt) -> Any:
        order = await self._told(call)
        while order == "wait":
            call.at_work, call.away = False, True
            async with attempt.waiting():
                order = await self._told(call)
                call.away, call.coming_back = False, True
            call.at_work, call.coming_back = True, False
        return order

    async def _told(self, call: Call) -> Any:
        call.order = asyncio.get_running_loop().create_future()
        return await call.order

    async def _end(self, call: Call) -> JsonValue:
        match call.nature:
            case "undoes":
                await asyncio.sleep(1.0)
                raise StepError("undone", code="x.undone")
            case "finishes":
                await asyncio.sleep(0.5)
                return "finished"
            case _:
                raise asyncio.CancelledError


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    count = draw(st.integers(2, STEPS_MAX))
    rank = draw(st.permutations(range(count)))
    ids = [f"s{n}" for n in range(count)]
    edges = {
        f"s{n}": [f"s{m}" for m in range(count) if rank[m] < rank[n] and draw(st.integers(0, 2)) == 0]
        for n in range(count)
    }
    rarely = st.integers(0, 3).map(lambda n: n == 0)
    scope = draw(st.sampled_from([None, RestartScope.ONE_FOR_ONE, RestartScope.ONE_FOR_ALL]))
    strategy = Strategy.LEVELS if scope is RestartScope.ONE_FOR_ALL else draw(st.sampled_from(Strategy))
    supervision = None
    if scope is not None:
        supervision = Supervision(strategy=scope, max_restarts=draw(st.sampled_from([2, 9])), within_seconds=5.0)
    return plan_of(
        edges,
        config=MissionConfig(
            strategy=strategy,
            supervision=supervision,
            fail_fast=draw(rarely),
            parallel_limit=draw(st.integers(1, 3)),
            timeout_seconds=MISSION_TIMEOUT_SECONDS,
        ),
        timeouts={s: STEP_TIMEOUT_SECONDS for s in ids if draw(rarely)},
        tolerant=[s for s in ids if draw(rarely)],
        retries={s: RetryPolicy(max_attempts=3, base_ms=draw(st.sampled_from([0, 750]))) for s in ids if draw(rarely)},
        conditions={
            s: _condition(edges[s], draw(st.sampled_from(["given", "null", "raises"]))) for s in ids if draw(rarely)
        },
        items={
            s: _items(edges[s], draw(st.integers(0, ITEMS_MAX)), draw(st.sampled_from([None, 1, 2])))
            for s in ids
            if draw(rarely)
        },
    )


def _condition(parents: list[str], kind: str) -> Callable[[Scope], bool]:
    def holds(scope: Scope) -> bool:
        outputs = [scope.step_outputs[parent] for parent in parents]
        if kind == "raises" and outputs and None in outputs:
            raise StepError("cannot be told", code="x.condition", retryable=False)
        return (None in outputs) == (kind == "null")

    return holds


def _items(parents: list[str], count: int, limit: int | None) -> Items:
    def of(scope: Scope) -> list[JsonValue]:
        return [[n, *(scope.step_outputs[parent] for parent in parents)] for n in range(count)]

    return Items(of, limit)


class RunMachine(RuleBasedStateMachine):
    """Moves: what steps do, what people do, what other runs do, and time."""

    loop: VirtualTimeLoop | None = None

    @initialize(
        plan=plans(),
        natures=st.lists(
            st.sampled_from(["heeds", "heeds", "heeds", "deaf", "undoes", "finishes"]),
            min_size=STEPS_MAX,
            max_size=STEPS_MAX,
        ),
        places=st.sampled_from([None, None, 1, 2]),
    )
    def begin(self, plan: Plan, natures: list[str], places: int | None) -> None:
        self.loop = VirtualTimeLoop()
        self.plan = plan
        self.ids = plan.graph.ids
        config = plan.mission.config
        self.limit = 1 if config.strategy is Strategy.SEQUENTIAL else config.parallel_limit
        self.anew = config.supervision is not None and config.supervision.strategy is RestartScope.ONE_FOR_ALL
        self.hands = Hands({step_id: natures[n] for n, step_id in enumerate(self.ids)})
        self.slots = SharedSlots(places) if places is not None else None
        self.rival: SlotMember | None = None
        self.prior: dict[str, StepResult] = {}
        self.suspensions = 0
        self.outside: list[asyncio.Task[None]] = []
        note(f"{config} {[(s.id, s.depends_on, s.timeout_seconds, s.continue_on_error) for s in plan.mission.steps]}")
        self.in_loop(self._execute)

    # --- what steps do ---

    @rule(which=st.integers(0, 10), what=st.sampled_from(OFTEN))
    def order(self, which: int, what: str) -> None:
        if not self.hands.calls:
            return
        call = self.hands.calls[which % len(self.hands.calls)]

        async def tell() -> None:
            if not call.order.done():
                call.order.set_result(what if what == "wait" else ORDERS[what]())

        self.in_loop(tell)

    # --- what people do ---

    @rule(what=st.sampled_from(ASKS))
    def ask(self, what: str) -> None:
        async def do() -> None:
            match what:
                case "pause":
                    self.mission.pause()
                case "resume":
                    self.mission.resume()
                case "cancel":
                    self.mission.cancel(ASKED)
                case "suspend":
                    self.mission.suspend()
                case _:
                    self.caller.cancel()

        self.in_loop(do)

    @rule(which=st.integers(0, 10))
    def cancel_a_task(self, which: int) -> None:
        async def do() -> None:
            mine = {asyncio.current_task(), self.caller}
            tasks = sorted(asyncio.all_tasks() - mine, key=lambda task: task.get_name())
            _ = tasks and tasks[which % len(tasks)].cancel()

        self.in_loop(do)

    # --- what other runs do ---

    @rule(takes=st.booleans())
    def rival_moves(self, *, takes: bool) -> None:
        async def do() -> None:
            if self.rival is None:
                return
            if takes and self.rival.held == 0:
                self.rival.take()
            elif not takes and self.rival.held:
                self.rival.give_back()

        self.in_loop(do)

    # --- time ---

    @rule(seconds=st.sampled_from([0.25, 0.75, 1.0, 2.0, 3.0, 10.0]))
    def time_passes(self, seconds: float) -> None:
        async def do() -> None:
            await asyncio.sleep(seconds)

        self.in_loop(do)

    # --- what holds after every move ---

    @invariant()
    def every_state_is_legal(self) -> None:
        if self.loop is None:
            return
        for step_id in self.ids:
            before, now = self.seen.get(step_id, StepState.PENDING), self.mission.step_state(step_id)
            assert now == before or now in LEGAL[before], (step_id, before, now)
            assert (now in FINAL) == (step_id in self.prior or step_id in self.told), (step_id, now)
            self.seen[step_id] = now
        assert len(self.told) == len(self.observer.results), "one outcome a step"

    @invariant()
    def nobody_works_without_a_place(self) -> None:
        if self.loop is None:
            return
        at_work = sum(call.at_work for call in self.hands.calls)
        assert at_work <= self.limit * (1 + self.suspensions)  # deaf ones of an earlier execution live on
        if self.slots is not None:
            assert self.slots.held <= self.slots.limit
            assert self.ours.wait.name in {"NONE", "QUEUED"}, "nobody sits on a place that was granted"
            if not self.suspensions and not self.caller.done():
                assert at_work <= self.slots.held

    @invariant()
    def nobody_waits_while_a_place_is_free(self) -> None:
        if self.loop is None or self.caller.done() or self.mission.paused or self.observer.stops or self.suspended:
            return
        places = self.mission._dispatch.places  # type: ignore[union-attr]
        free = places.held < self.limit and (self.slots is None or self.slots.held < self.slots.limit)
        if not free or (self.anew and self.observer.restarts):
            return
        assert not [call for call in self.hands.calls if call.coming_back]
        levels = self.plan.level_ids() if self.plan.mission.config.strategy is Strategy.LEVELS else [list(self.ids)]
        here = next(level for level in levels if any(self.mission.step_state(s) not in FINAL for s in level))
        waiting = [s for s in here if self.mission.step_state(s) is StepState.READY]
        held = {s for s in waiting if self.anew and s in self._empty_fan_outs()}
        assert not set(waiting) - held

    # --- the end ---

    def teardown(self) -> None:
        """Let everybody finish: then the run ends, long before its timeout, and leaves nothing behind."""
        if self.loop is None:
            return
        try:
            for _ in range(ROUNDS_MAX):
                if self.caller.done() and not self.hands.calls:
                    break
                self.in_loop(self._finish)
                self.every_state_is_legal()
                self.nobody_works_without_a_place()
                self.nobody_waits_while_a_place_is_free()
            assert self.caller.done(), "the run hangs"
            self._check_end()
        finally:
            self.loop.close()
        assert self.loop.complaints == []

    async def _finish(self) -> None:
        self.mission.resume()
        if self.rival is not None and self.rival.held:
            self.rival.give_back()
        for call in self.hands.calls:
            if not call.order.done():
                call.order.set_result({"done": True})
        await asyncio.sleep(0.5)

    def _check_end(self) -> None:
        result = self.mission.result
        if result is None:
            assert self.suspended or self.caller.cancelled()
            return
        assert not self.mission._dispatch._attempts._tasks  # type: ignore[union-attr]
        places = self.mission._dispatch.places  # type: ignore[union-attr]
        assert places.held == 0
        assert not places._away
        if self.slots is not None:
            assert self.slots.held == (self.rival.held if self.rival is not None else 0)
        if self.suspensions:
            self._check_taken_up(result)
            return
        check_consistent(self.plan, result, self.observer)
        fan_outs = {self.ids[index] for index in self.plan.fan_outs}
        for step_id, step in result.step_results.items():
            if step_id not in fan_outs:
                assert step.attempts == self.hands.begun[step_id, None], step_id

    def _check_taken_up(self, result: MissionResult) -> None:
        """What was done before stands as it was; of everything else the observer has heard now."""
        for step_id, step in self.prior.items():
            assert result.step_results[step_id] == step
        assert {*self.prior} | self.told == {*self.ids}
        assert not {*self.prior} & self.told
        assert result.steps_completed + result.steps_failed + result.steps_skipped == len(self.ids)

    # --- the machinery ---

    @property
    def told(self) -> set[str]:
        return {result.step_id for result in self.observer.results}

    @property
    def suspended(self) -> bool:
        dispatch = self.mission._dispatch
        return dispatch is not None and dispatch.suspended

    def _empty_fan_outs(self) -> set[str]:
        return {self.ids[index] for index in self.plan.fan_outs if not self.hands.begun[self.ids[index], 0]}

    def in_loop(self, do: Callable[[], Awaitable[None]]) -> None:
        """Do something, and let the loop turn until nothing is left to do at this moment."""
        assert self.loop is not None

        async def turn() -> None:
            await do()
            for _ in range(TURNS):
                await asyncio.sleep(0)
            if self.caller.done() and not self.caller.cancelled() and self.caller.exception() is not None:
                assert isinstance(self.caller.exception(), SuspendedError)
                if not self.hands.calls and self.suspensions == 0:
                    self.suspensions += 1
                    self.prior = {result.step_id: result for result in self.observer.results}
                    await self._execute()
                    for _ in range(TURNS):
                        await asyncio.sleep(0)

        with quiet():
            self.loop.run_until_complete(turn())

    async def _execute(self) -> None:
        self.observer = RecordingObserver()
        self.seen: dict[str, StepState] = {}
        slots = None
        if self.slots is not None:
            slots = self.ours = self.slots.member("ours", 0, self._we_are_woken)
            if self.rival is None:
                self.rival = self.slots.member("theirs", 0, self._rival_is_woken)
                self.rival.take()
        self.mission = run_of(
            self.plan, self.hands, self.observer, grace_seconds=GRACE_SECONDS, prior=self.prior, slots=slots
        )
        self.caller = asyncio.create_task(self.mission.execute(), name="~caller")
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)

    def _we_are_woken(self) -> None:
        self.mission.wake()

    def _rival_is_woken(self) -> None:
        assert self.rival is not None
        self.rival.take()


TestRun = RunMachine.TestCase
TestRun.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)

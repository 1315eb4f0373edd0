"""The enforcer: which constraints a rule gets, when it is run, and what its violation comes to."""

import asyncio
from dataclasses import replace

import pytest

from engine.constraints import ExecutionConstraints
from engine.constraints.enforcer import ConstraintEnforcer
from engine.constraints.errors import ConstraintViolationError, EnforcementFailureError
from engine.constraints.rules import Breach, Rule, RuleType
from engine.constraints.violations import CpuExceeded, SampledOut, TimeoutExceeded
from engine.errors import FaultError, RefusalError
from tests.unit.engine.constraints.clocks import HandClock
from tests.virtual_time import run

OPEN = replace(ExecutionConstraints.fast_rule(), fail_closed=False)


class Desk:
    """An enforcer, its clock, and what was reported to it."""

    def __init__(self, drawn: float = 0.5) -> None:
        self.clock = HandClock()
        self.breaches: list[Breach] = []
        self.enforcer = ConstraintEnforcer(
            self.clock, chance=lambda: drawn, cpu_us=self.clock.cpu, pause=self.clock.sleep
        )

    def counted(self, rule: str) -> dict[str, object]:
        return self.enforcer.statistics.of(rule).document()


def test_each_type_has_its_preset_and_may_get_others() -> None:
    """`with_constraints` changes one type, in a new enforcer; a rule's own go before those of its type."""
    enforcer = Desk().enforcer
    assert enforcer.constraints_of(RuleType.FAST) == ExecutionConstraints.fast_rule()
    assert enforcer.constraints_of(RuleType.SEMANTIC) == ExecutionConstraints.semantic_rule()
    assert enforcer.constraints_of(RuleType.WASM) == ExecutionConstraints.wasm_hook()
    assert enforcer.constraints_of(RuleType.OBSERVATIONAL) == ExecutionConstraints.observational()
    other = enforcer.with_constraints(RuleType.WASM, OPEN)
    assert other.constraints_of(RuleType.WASM) is OPEN
    assert other.constraints_of(RuleType.FAST) == ExecutionConstraints.fast_rule()
    assert enforcer.constraints_of(RuleType.WASM) == ExecutionConstraints.wasm_hook()
    assert other.statistics is enforcer.statistics
    own = ExecutionConstraints.observational(0.1)
    assert enforcer.constraints_of(Rule("mine", RuleType.FAST, own)) is own


def test_a_rule_within_its_limits_gives_its_answer() -> None:
    """And what it used is counted, by its name."""
    desk = Desk()
    assert desk.enforcer.execute_with_constraints(RuleType.SEMANTIC, lambda _: desk.clock.work(3) or "yes") == "yes"
    counted = desk.counted("semantic")
    assert (counted["runs"], counted["cpu_us"], counted["violations"]) == (1, 3_000, {})


def test_a_closed_rule_that_breaks_its_limits_is_a_no() -> None:
    """Reported, counted and raised; its answer is not used, whatever default there is."""
    desk = Desk()
    with pytest.raises(ConstraintViolationError) as caught:
        desk.enforcer.execute_with_constraints(
            RuleType.FAST, lambda _: desk.clock.work(3), default=None, report=desk.breaches.append
        )
    assert caught.value.violation == CpuExceeded(500, 3_000)
    [breach] = desk.breaches
    assert breach.document() == {
        "rule": "fast",
        "kind": "constraint.cpu_exceeded",
        "limit_us": 500,
        "used_us": 3_000,
        "policy": "closed",
    }
    assert desk.counted("fast")["violations"] == {"constraint.cpu_exceeded": 1}


def test_an_open_rule_that_breaks_its_limits_gives_the_default() -> None:
    """Reported as open; without a default there is nothing to give, so that it is a no as well."""
    desk = Desk()
    rule = Rule("screen", RuleType.SEMANTIC, OPEN)
    answer = desk.enforcer.execute_with_constraints(
        rule, lambda _: desk.clock.work(9) or "late", default="abstain", report=desk.breaches.append
    )
    assert answer == "abstain"
    assert [breach.opened for breach in desk.breaches] == [True]
    assert desk.counted("screen")["opened"] == 1
    with pytest.raises(ConstraintViolationError):
        desk.enforcer.execute_with_constraints(rule, lambda _: desk.clock.work(9), report=desk.breaches.append)
    assert [breach.opened for breach in desk.breaches] == [True, False]


def test_what_cannot_be_recorded_is_not_passed_over() -> None:
    """A violation whose report fails ends in that failure, open or not."""
    desk = Desk()

    def dead(_breach: Breach) -> None:
        raise FaultError("the log is dead", code="audit.unavailable")

    with pytest.raises(FaultError) as caught:
        desk.enforcer.execute_with_constraints(
            Rule("screen", RuleType.FAST, OPEN), lambda _: desk.clock.work(9), default=None, report=dead
        )
    assert caught.value.code == "audit.unavailable"


@pytest.mark.parametrize("error", [RefusalError("no"), LookupError("a bug")])
def test_an_open_rule_still_may_refuse_and_fail(error: Exception) -> None:
    """Only violations are passed over: a rule's own no stands, and a bug is a no."""
    desk = Desk()

    def fails(_: object) -> None:
        raise error

    with pytest.raises(type(error)):
        desk.enforcer.execute_with_constraints(Rule("screen", RuleType.FAST, OPEN), fails, default=None)
    assert desk.counted("screen")["faults"] == 1


def test_what_is_sampled_out_is_not_run() -> None:
    """At 0 nothing is, at 1 everything; without a default the caller hears of it by a violation of its own."""
    desk = Desk(drawn=0.3)
    for rate, expected in ((0.0, []), (0.2, []), (0.4, [1]), (1.0, [1])):
        ran: list[int] = []
        rule = Rule("observer", RuleType.OBSERVATIONAL, ExecutionConstraints.observational(rate))
        desk.enforcer.execute_with_constraints(rule, lambda _, ran=ran: ran.append(1), default=None)
        assert ran == expected, rate
    assert desk.counted("observer")["sampled_out"] == 2
    never = Rule("observer", RuleType.OBSERVATIONAL, ExecutionConstraints.observational(0.0))
    with pytest.raises(ConstraintViolationError) as caught:
        desk.enforcer.execute_with_constraints(never, lambda _: None)
    assert caught.value.violation == SampledOut(0.0)
    assert caught.value.code == "constraint.sampled_out"


def test_transient_faults_are_tried_again_within_the_same_budget() -> None:
    """As often as the constraints say, with their backoff; the last failure is the caller's."""
    desk, tries = Desk(), []

    def fails(_: object) -> str:
        tries.append(1)
        if len(tries) < 3:
            raise FaultError("not now")
        return "at last"

    assert desk.enforcer.execute_with_constraints(RuleType.SEMANTIC, fails) == "at last"
    assert (len(tries), desk.clock.slept) == (3, [0.01, 0.01])
    tries[:] = [1] * -9
    with pytest.raises(FaultError):
        desk.enforcer.execute_with_constraints(RuleType.FAST, fails)
    assert len(tries) == 1


def test_a_refusal_and_a_violation_are_not_tried_again() -> None:
    """Neither would change: the one is an answer, the other has used up the budget."""
    desk, tries = Desk(), []

    def refuses(_: object) -> None:
        tries.append(1)
        raise RefusalError("no")

    with pytest.raises(RefusalError):
        desk.enforcer.execute_with_constraints(RuleType.SEMANTIC, refuses)
    assert len(tries) == 1
    with pytest.raises(ConstraintViolationError):
        desk.enforcer.execute_with_constraints(RuleType.SEMANTIC, lambda _: tries.append(1) or desk.clock.work(99))
    assert len(tries) == 2


def test_a_failing_generator_runs_nothing() -> None:
    """Whether a run takes place must not depend on a number that is none."""
    desk = Desk(drawn=2.0)
    rule = Rule("observer", RuleType.OBSERVATIONAL, ExecutionConstraints.observational(0.5))
    with pytest.raises(EnforcementFailureError):
        desk.enforcer.execute_with_constraints(rule, lambda _: pytest.fail("it was run"), default=None)


class TestAsync:
    """The same on an event loop, where time can end a rule."""

    def test_a_coroutine_is_cancelled_at_its_wall(self) -> None:
        """It does not go on behind its caller's back, and its violation says after how long."""
        desk, ended = Desk(), []

        async def hangs(_: object) -> None:
            try:
                await asyncio.sleep(3_600)
            finally:
                ended.append(1)

        async def main() -> None:
            with pytest.raises(ConstraintViolationError) as caught:
                await desk.enforcer.execute_async(RuleType.FAST, hangs, report=desk.breaches.append)
            assert isinstance(caught.value.violation, TimeoutExceeded)
            assert asyncio.get_running_loop().time() == pytest.approx(0.005)

        run(main())
        assert ended == [1]
        assert desk.counted("fast")["violations"] == {"constraint.timeout_exceeded": 1}

    def test_its_own_timeout_is_its_own_error(self) -> None:
        """A TimeoutError that the rule raises is a fault of the rule, not of its wall."""

        async def fails(_: object) -> None:
            raise TimeoutError("a socket's")

        async def main() -> None:
            with pytest.raises(TimeoutError):
                await Desk().enforcer.execute_async(RuleType.FAST, fails)

        run(main())

    def test_what_it_records_is_judged(self) -> None:
        """CPU and memory come from whoever runs it; open gives the default."""
        desk = Desk()

        async def greedy(budget: object) -> str:
            budget.record_memory(2 * 1024 * 1024)  # type: ignore[attr-defined]
            return "done"

        async def main() -> None:
            rule = Rule("screen", RuleType.FAST, OPEN)
            answer = await desk.enforcer.execute_async(rule, greedy, default="abstain", wall=False)
            assert answer == "abstain"
            with pytest.raises(ConstraintViolationError) as caught:
                await desk.enforcer.execute_async(RuleType.FAST, greedy, default="abstain", wall=False)
            assert caught.value.code == "constraint.memory_exceeded"

        run(main())
        assert desk.counted("screen")["memory_bytes_peak"] == 2 * 1024 * 1024

    def test_transient_faults_are_tried_again(self) -> None:
        """Which faults those are the caller may say."""
        desk, tries = Desk(), []

        async def fails(_: object) -> str:
            tries.append(1)
            if len(tries) == 1:
                raise FaultError("not now")
            return "at last"

        async def main() -> None:
            assert await desk.enforcer.execute_async(RuleType.SEMANTIC, fails) == "at last"
            tries.clear()
            with pytest.raises(FaultError):
                await desk.enforcer.execute_async(RuleType.SEMANTIC, fails, transient=lambda _: False)
            assert len(tries) == 1

        run(main())

    def test_a_cancellation_passes_through(self) -> None:
        """It is neither a violation nor tried again."""
        desk = Desk()

        async def hangs(_: object) -> None:
            await asyncio.sleep(3_600)

        async def main() -> None:
            task = asyncio.create_task(desk.enforcer.execute_async(RuleType.SEMANTIC, hangs, wall=False))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        run(main())
        assert desk.counted("semantic")["violations"] == {}

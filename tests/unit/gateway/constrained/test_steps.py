"""Constraints in the pipeline: a rule that breaks its own is in the log before it has a consequence."""

from typing import Any

import orjson
import pytest

from engine.audit.errors import AuditUnavailableError
from engine.constraints.errors import ConstraintViolationError
from engine.constraints.quotas import Quota
from gateway.errors import Reason, SandboxError
from gateway.policy.decision import denied
from tests.virtual_time import run
from tests.worlds import ANN, BUNDLE, World, mission, step, write

CONFIG = {"fail_fast": False, "parallel_limit": 1}


def results_of(world: World, *steps: Any, **config: Any) -> Any:
    """Run a mission of these steps, one after the other, and return the results by id."""
    view = run(world.run(mission(*steps, config={**CONFIG, **config})))
    world.laws_hold()
    return view.result["step_results"]


def code(result: Any) -> str:
    return result["error"]["code"]


class TestRuns:
    @pytest.mark.parametrize(
        ("broken", "details"),
        [
            ("constraint.cpu_exceeded", {"limit_us": 2_000, "used_us": 2_000}),
            ("constraint.timeout_exceeded", {"limit_ms": 10, "used_ms": 10.0}),
            ("constraint.memory_exceeded", {"limit_bytes": 5_242_880, "used_bytes": 5_242_880}),
        ],
    )
    def test_a_module_over_its_limit_is_recorded_and_fails(self, broken: str, details: dict[str, Any]) -> None:
        """The event stands before the end of the step, with the rule, the kind, limit and use."""
        world = World()
        world.faults.put("sandbox.run", SandboxError("over", code=broken))
        result = results_of(world, step("a"))["a"]
        assert result["error"] == {"code": broken, "message": "over"}
        assert world.log.types("/a") == ["step.allowed", "constraint.violated", "step.ended"]
        [event] = world.log.of("constraint.violated")
        assert event.details == {"rule": "pure@1.0.0", "kind": broken, **details, "policy": "closed"}
        [counted] = [world.held.document()["rules"]["pure@1.0.0"]]
        assert counted["violations"] == {broken: 1}

    def test_a_trap_is_no_violation(self) -> None:
        """What fails in another way is a fault of the run, and nothing was broken."""
        world = World()
        world.faults.put("sandbox.run", SandboxError("trapped", code="sandbox.trap"))
        assert code(results_of(world, step("a"))["a"]) == "sandbox.trap"
        assert world.log.of("constraint.violated") == []
        assert world.held.document()["rules"]["pure@1.0.0"]["faults"] == 1

    def test_fuel_over_all_rounds_is_a_violation_too(self) -> None:
        """The round that would be one too many is never run, and the log says why."""
        world = World()
        world.sandbox.fuel_used = 4_000_000
        result = results_of(world, step("a", kind="acting", batches=[[write("a")]]))["a"]
        assert code(result) == "constraint.cpu_exceeded"
        [event] = world.log.of("constraint.violated")
        assert event.details["limit_us"] == event.details["used_us"] == 2_000

    def test_a_step_never_fails_open_and_is_never_left_out(self) -> None:
        """Whatever its profile says: `observational` is open and may be sampled, and a step in it is a step."""
        world = World()
        world.faults.put("sandbox.run", SandboxError("over", code="constraint.cpu_exceeded"))
        assert code(results_of(world, step("a", profile="observational"))["a"]) == "constraint.cpu_exceeded"

    def test_what_cannot_be_recorded_ends_the_mission(self) -> None:
        """A violation that the log does not take is not passed over in silence."""
        world = World()
        world.faults.put("sandbox.run", SandboxError("over", code="constraint.cpu_exceeded"))
        world.faults.put("audit.append:constraint.violated", AuditUnavailableError("dead"))
        assert code(results_of(world, step("a"))["a"]).startswith("audit.")

    def test_what_a_run_used_is_in_the_statistics(self) -> None:
        """Fuel as CPU time, the peak of memory, time as the worker has measured it."""
        world = World()
        world.sandbox.fuel_used = 2_000_000
        results_of(world, step("a"), step("b"))
        counted = world.held.document()["rules"]["pure@1.0.0"]
        assert (counted["runs"], counted["cpu_us"], counted["memory_bytes_peak"]) == (2, 2_000, 65_536)
        assert counted["latency"]["max_us"] == 1


class TestHookBreaker:
    def test_a_hook_that_breaks_its_limits_again_and_again_is_disabled(self) -> None:
        """Later steps are refused before anything of theirs runs; the refusal is their verdict."""
        world = World(violations_max=3)
        world.faults.put("sandbox.run", SandboxError("over", code="constraint.cpu_exceeded"))
        results = results_of(world, *(step(f"s{n}") for n in range(5)))
        codes = sorted(code(result) for result in results.values())
        assert codes == ["constraint.cpu_exceeded"] * 3 + ["hook.disabled"] * 2
        assert len(world.sandbox.runs) == 3
        assert [event.details["code"] for event in world.log.of("step.refused")] == ["hook.disabled"] * 2

    def test_one_that_was_disabled_is_tried_again_with_care(self) -> None:
        """After its time one run is let through; when that keeps its limits, all are."""
        world = World(violations_max=1)
        world.faults.put("sandbox.run", SandboxError("over", code="constraint.cpu_exceeded"), nth=0)
        retry = {"max_attempts": 3, "base_ms": 6_000}
        results = results_of(world, step("a"), step("b", retry=retry, timeout_seconds=60))
        assert code(results["a"]) == "constraint.cpu_exceeded"
        assert results["b"]["status"] == "Completed"
        assert [event.details["code"] for event in world.log.of("step.refused")] == ["hook.disabled"] * 2

    def test_other_faults_disable_nothing(self) -> None:
        """A worker that cannot be had is not the hook's fault, and a trap is the breaker of the step's."""
        world = World(violations_max=1)
        world.faults.put("sandbox.run", SandboxError("gone", code="sandbox.trap"))
        results = results_of(world, step("a"), step("b"))
        assert {code(result) for result in results.values()} == {"sandbox.trap"}

    def test_one_hook_does_not_disable_another(self) -> None:
        """Each has a breaker of its own."""
        world = World(violations_max=1)
        world.faults.put("sandbox.run", SandboxError("over", code="constraint.cpu_exceeded"), nth=0)
        results = results_of(world, step("a"), step("b", kind="acting"))
        assert results["b"]["status"] == "Completed"


class TestQuotas:
    def test_runs_beyond_the_quota_are_refused_before_they_begin(self) -> None:
        """The refusal says which quota and when it is free; no security rule is broken, so the mission goes on."""
        world = World(quota=Quota(window_seconds=60, runs_max=2))
        results = results_of(world, *(step(f"s{n}") for n in range(4)))
        assert [result["status"] for result in results.values()] == ["Completed", "Completed", "Failed", "Failed"]
        error = results["s3"]["error"]
        assert error["code"] == "quota.exceeded"
        assert "2 runs" in error["message"]
        assert "60 seconds" in error["message"]
        assert len(world.sandbox.runs) == 2
        assert [event.details["code"] for event in world.log.of("step.refused")] == ["quota.exceeded"] * 2

    def test_a_quota_is_free_again_after_its_window(self) -> None:
        """So a step with a retry waits for it."""
        world = World(quota=Quota(window_seconds=60, runs_max=1))
        retry = {"max_attempts": 2, "base_ms": 61_000}
        results = results_of(world, step("a"), step("b", retry=retry))
        assert results["b"]["status"] == "Completed"

    def test_a_failed_run_is_charged_what_it_was_granted(self) -> None:
        """Otherwise a module that traps at the end of its fuel would cost its principal nothing."""
        world = World(quota=Quota(cpu_ms_max=3))
        world.faults.put("sandbox.run", SandboxError("trapped", code="sandbox.trap"))
        results = results_of(world, *(step(f"s{n}") for n in range(3)))
        assert [code(result) for result in results.values()] == ["sandbox.trap", "sandbox.trap", "quota.exceeded"]

    def test_what_never_ran_is_not_charged(self) -> None:
        """Where no worker can be had nothing was used."""
        world = World(quota=Quota(runs_max=1))
        world.faults.put("sandbox.run", SandboxError("none", code="sandbox.unavailable"), nth=0)
        results = results_of(world, step("a"), step("b"))
        assert code(results["a"]) == "sandbox.unavailable"
        assert results["b"]["status"] == "Completed"
        assert world.held.quotas.used((ANN.tenant, ANN.subject)) == (1, 0)


class TestSanitizer:
    def test_a_step_that_takes_too_much_to_sanitize_is_refused(self) -> None:
        """By CPU time, after the fact: its inputs are not used, and policy is never asked."""
        world = World()

        async def late() -> Any:
            submitted = world.submit(mission(step("a")))
            await submitted
            world.cpu_us_each = 1_000_001
            await world.settled()
            return world.log

        log = run(late())
        world.laws_hold()
        assert log.types("/a") == ["constraint.violated", "step.refused", "step.ended"]
        [event] = log.of("constraint.violated")
        assert event.details["rule"] == "sanitizer.step"
        assert event.details["kind"] == "constraint.cpu_exceeded"
        assert [point for point, _ in world.policy.asked] == ["mission"]

    def test_a_mission_that_takes_too_much_to_sanitize_is_refused(self) -> None:
        """Recorded as the rule's own, before the refusal of the mission."""
        world = World(cpu_us_each=10_000_001)
        with pytest.raises(ConstraintViolationError) as caught:
            run(world.submit(mission(step("a"))))
        assert caught.value.code == "constraint.cpu_exceeded"
        assert world.log.types() == ["constraint.violated", "mission.refused"]
        assert world.log.events[0].target == "sanitizer.mission"
        assert world.policy.asked == []

    def test_a_form_within_the_limit_is_not_in_the_way(self) -> None:
        """Exactly the limit is no violation."""
        world = World(cpu_us_each=10_000_000)
        assert world.admission.sanitize(orjson.dumps(mission(step("a")))).digest


class TestPolicy:
    def test_a_late_decision_is_a_deny_and_a_violation(self) -> None:
        """The violation is recorded with the wall that was passed, then the deny has its own consequence."""
        world = World()
        world.policy.answers["step"] = denied("policy.timeout", "no decision within 1000 ms", bundle=BUNDLE)
        result = results_of(world, step("a"))["a"]
        assert code(result) == "policy.timeout"
        [event] = world.log.of("constraint.violated")
        assert event.target == "policy.step"
        assert event.details == {
            "rule": "policy.step",
            "kind": "constraint.timeout_exceeded",
            "limit_ms": 1_000,
            "used_ms": 1_000.0,
            "policy": "closed",
        }
        order = [e.event_type for e in world.log.events]
        assert order.index("constraint.violated") < order.index("step.refused")
        assert world.held.document()["rules"]["policy.step"]["violations"] == {"constraint.timeout_exceeded": 1}

    def test_a_policy_that_says_so_itself_was_not_late(self) -> None:
        """Only the host knows what was late: a rule of the bundle with the same code is a plain no."""
        world = World()
        reason = Reason("policy.timeout", "said by Rego", "data.gateway.step.deny")
        world.policy.answers["step"] = denied("x.y", "x", bundle=BUNDLE).__class__(
            allow=False, bundle=BUNDLE, reasons=(reason,)
        )
        results_of(world, step("a"))
        assert world.log.of("constraint.violated") == []

    def test_every_decision_is_counted(self) -> None:
        """By its entry point."""
        world = World()
        results_of(world, step("a", kind="acting", batches=[[write()]]))
        rules = world.held.document()["rules"]
        assert [rules[f"policy.{name}"]["runs"] for name in ("mission", "step", "effect")] == [1, 1, 1]

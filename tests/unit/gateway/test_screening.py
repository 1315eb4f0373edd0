"""Screens and rewrites in the pipeline: when they run, on what, in which order, and what becomes of their answers."""

import asyncio
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import orjson
import pytest

from engine.result import MissionState
from gateway.errors import HookRefusedError, PolicyDeniedError, SandboxError
from gateway.events import digest
from gateway.hook_failures import TOLD_EVERY_SECONDS
from gateway.hookset import PLACED_MAX, HookSet, PlacedHook, Subject
from gateway.policy.decision import Decision
from tests.placed import ABSTAIN, ALLOW, DENY, observer, placed, rewrite, screen
from tests.subjects import commitments_of, own
from tests.virtual_time import run
from tests.worlds import ANN, BUNDLE, World, mission, step, write


def world_of(*hooks: PlacedHook, **answers: Any) -> World:
    """Return a world with these hooks, which answer as named, or what a function makes of the document."""
    world = World(placed=hooks)
    for name, answer in answers.items():
        world.sandbox.hooks[f"{name}@1.0.0"] = answer if callable(answer) else lambda _, answer=answer: answer
    return world


def results(world: World, *steps: Any, **fields: Any) -> Any:
    """Run a mission of these steps and return its results by step."""
    view = run(world.run(mission(*steps, **fields)))
    world.laws_hold()
    return view.result["step_results"]


def refused_mission(world: World, form: Any) -> PolicyDeniedError:
    async def main() -> PolicyDeniedError:
        with pytest.raises(PolicyDeniedError) as refused:
            await world.submit(form, "refused")
        return refused.value

    return run(main())


class TestOrder:
    def test_the_stages_of_a_step_are_in_this_order(self) -> None:
        """Rewrite, sanitize, policy, screen, run, rewrite of the output; what is first is before all the others."""
        order: list[str] = []

        def stage(name: str, answer: Any) -> Any:
            def run_(_: Any) -> Any:
                order.append(name)
                return answer

            return run_

        world = world_of(
            screen("s"),
            rewrite("p"),
            rewrite("o", "output"),
            s=stage("screen", ALLOW),
            p=stage("rewrite", {"parameters": {"path": "b.txt", "output": 1}}),
            o=stage("output", {"output": 2}),
        )
        world.policy.answers["step"] = stage("policy", Decision(allow=True, bundle=BUNDLE))
        world.sandbox.on_run = lambda _: order.append("run")
        assert results(world, step("a", path="a.txt"))["a"]["output"] == 2
        assert order == ["rewrite", "policy", "screen", "run", "output"]
        [asked] = [document for point, document in world.policy.asked if point == "step"]
        assert asked["parameters"] == world.sandbox.runs[0][1]["parameters"] == {"path": "b.txt", "output": 1}

    def test_a_rewrite_is_sanitized_as_a_stranger(self) -> None:
        """What a rewrite makes of parameters is checked after it, and policy is not asked about a bad one."""
        world = world_of(rewrite("p"), p={"parameters": {"path": "../../etc/passwd"}})
        assert results(world, step("a", path="a.txt"))["a"]["error"]["code"].startswith("sanitize.path.")
        assert [point for point, _ in world.policy.asked] == ["mission"]
        assert world.sandbox.runs == []

    def test_hooks_run_by_order_then_by_name_and_each_sees_what_the_one_before_made(self) -> None:
        """The order of the configuration's lines does not matter."""
        hooks = [rewrite("c", order=-1), rewrite("b"), rewrite("a"), rewrite("d", order=-2)]

        def append(name: str) -> Any:
            return lambda document: {"parameters": {"output": document["parameters"].get("output", "") + name}}

        for shuffled in (hooks, hooks[::-1]):
            world = world_of(*shuffled, **{name: append(name) for name in "abcd"})
            assert results(world, step("a"))["a"]["output"] == "dcab"

    def test_policy_s_no_ends_it_and_no_screen_is_asked(self) -> None:
        """A screen cannot lift a no; so it is not worth asking."""
        no = Decision(allow=False, bundle=BUNDLE)
        world = world_of(screen("m", "mission"), screen("s"), m=ALLOW, s=ALLOW)
        world.policy.answers["step"] = no
        assert results(world, step("a"))["a"]["status"] == "Failed"
        world.policy.answers["mission"] = no
        refused_mission(world, mission(step("b")))
        assert [key for key, _, _ in world.sandbox.hook_runs] == ["m@1.0.0"]

    def test_the_first_no_ends_it(self) -> None:
        """Those behind it are not asked, and the log shows how far it came."""
        world = world_of(screen("a"), screen("b"), screen("c"), a=ABSTAIN, b=DENY, c=ALLOW)
        assert results(world, step("x"))["x"]["error"]["code"] == "screen.b.site.no"
        [refused] = world.log.of("step.refused")
        assert [(each["hook"], each["verdict"]) for each in refused.details["screens"]] == [
            ("a@1.0.0", "abstain"),
            ("b@1.0.0", "deny"),
        ]


class TestScope:
    @pytest.mark.parametrize(
        ("scope", "kind", "labels", "runs"),
        [
            ({}, "pure", {}, True),
            ({"step_types": frozenset({"pure"})}, "pure", {}, True),
            ({"step_types": frozenset({"acting", "pure"})}, "pure", {}, True),
            ({"step_types": frozenset({"acting"})}, "pure", {}, False),
            ({"labels": {"team": "red"}}, "pure", {"team": "red", "x": "y"}, True),
            ({"labels": {"team": "red"}}, "pure", {"team": "blue"}, False),
            ({"labels": {"team": "red"}}, "pure", {}, False),
            ({"labels": {"team": "red", "x": "y"}}, "pure", {"team": "red"}, False),
            ({"labels": {"team": "red"}, "step_types": frozenset({"acting"})}, "pure", {"team": "red"}, False),
        ],
    )
    @pytest.mark.parametrize("at", ["mission", "step", "parameters", "output"])
    def test_a_hook_runs_for_its_step_types_and_labels_only(
        self, at: str, scope: Any, kind: str, labels: Mapping[str, str], *, runs: bool
    ) -> None:
        """All labels must match, one of the types must; of a mission, one of its steps must be of a type."""
        hook = placed("rewrite" if at in {"parameters", "output"} else "screen", at, "h", **scope)
        world = world_of(
            hook,
            h=lambda document: {at: document[at]} if at in {"parameters", "output"} else ALLOW,
        )
        assert results(world, step("a", kind=kind), labels=labels)["a"]["status"] == "Completed"
        assert bool(world.sandbox.hook_runs) is runs
        assert not runs or world.sandbox.hook_runs[0][0] == "h@1.0.0"

    def test_a_mission_is_what_any_of_its_steps_is(self) -> None:
        """A screen of missions with requests is asked about a mission in which one step of many may make some."""
        world = world_of(screen("m", "mission", step_types=frozenset({"posting"})), m=DENY)
        refused_mission(world, mission(step("a"), step("b", kind="posting")))
        assert results(world, step("a"))["a"]["status"] == "Completed"

    def test_a_set_is_bounded(self) -> None:
        """What ran is listed in one event, so there is a maximum, and whoever composes a set hears of it by name."""
        hooks = tuple(screen(f"s{n}") for n in range(PLACED_MAX))
        assert len(HookSet(kinds={}, sandbox=World().sandbox, placed=hooks).at("screen", "step")) == PLACED_MAX
        with pytest.raises(HookRefusedError, match="at most") as refused:
            HookSet(kinds={}, sandbox=World().sandbox, placed=(*hooks, screen("more")))
        assert refused.value.code == "hook.too_many"
        assert screen().is_about(Subject(step_types=frozenset(), labels={}))


class TestScreens:
    def test_a_mission_that_a_screen_denies_does_not_exist(self) -> None:
        """The caller hears the reason in the screen's name, the log has it, and which document it saw."""
        world = world_of(screen("m", "mission"), m=DENY)
        error = refused_mission(world, mission(step("a")))
        assert [(r.code, r.message, r.rule) for r in error.reasons] == [("screen.m.site.no", "because", "m@1.0.0")]
        [refused] = world.log.of("mission.refused")
        [told] = refused.details["screens"]
        assert told == {"hook": "m@1.0.0", "module": "a" * 64, "verdict": "deny"}
        [(_, document, _)] = world.sandbox.hook_runs
        frame = {"abi", "kind", "at", "now", "seed", "settings"}
        summary = orjson.dumps({key: value for key, value in document.items() if key not in frame})
        assert refused.details["summary"] == own(ANN).of(summary)
        assert (refused.details["now"], refused.details["seed"]) == (document["now"], document["seed"])
        assert world.store.missions == {}

    def test_what_a_mission_screen_gives_less_of_every_step_gets_less_of(self) -> None:
        """The strictest of policy and of all screens, name by name."""
        world = world_of(
            screen("m", "mission"),
            screen("n", "mission"),
            m={"verdict": "allow", "narrow": {"fuel_max": 500, "wall_ms_max": 3}},
            n={"verdict": "abstain", "narrow": {"fuel_max": 700, "memory_bytes_max": 2**53}},
        )
        world.policy.answers["mission"] = Decision(allow=True, bundle=BUNDLE, constraints={"wall_ms_max": 2})
        results(world, step("a"), step("b"))
        for _, _, constraints in world.sandbox.runs:
            assert (constraints.fuel_max, constraints.wall_ms_max) == (500, 2)
            assert constraints.memory_bytes_max == 5 * 1024 * 1024

    def test_a_step_screen_sees_what_policy_saw_and_its_own_settings(self) -> None:
        """The very bytes of policy's document, the attempt's clock and chance, and what the site gives the screen."""
        world = world_of(screen("s", settings={"n": [1]}), s=ALLOW)
        results(world, step("a", x=1))
        [(_, document, constraints)] = world.sandbox.hook_runs
        [asked] = [seen for point, seen in world.policy.asked if point == "step"]
        assert {key: document[key] for key in asked} == asked
        assert (document["kind"], document["at"], document["settings"]) == ("screen", "step", {"n": [1]})
        [allowed] = world.log.of("step.allowed")
        assert (document["now"], document["seed"]) == (allowed.details["now"], allowed.details["seed"])
        assert constraints == screen().constraints

    def test_what_a_step_screen_gives_less_of_its_run_gets_less_of(self) -> None:
        """Of all screens the strictest, below what policy gives, and in the verdict; more than that changes nothing."""
        world = world_of(
            screen("a"),
            screen("b"),
            a={"verdict": "allow", "narrow": {"fuel_max": 900, "memory_bytes_max": 2**53}},
            b={"verdict": "abstain", "narrow": {"fuel_max": 800, "wall_ms_max": 9_999}},
        )
        world.policy.answers["step"] = Decision(allow=True, bundle=BUNDLE, constraints={"wall_ms_max": 4})
        results(world, step("a"))
        [(_, _, constraints)] = world.sandbox.runs
        assert (constraints.fuel_max, constraints.wall_ms_max) == (800, 4)
        assert constraints.memory_bytes_max == 5 * 1024 * 1024
        [allowed] = world.log.of("step.allowed")
        assert allowed.details["fuel_max"] == 800
        assert [each["narrow"]["fuel_max"] for each in allowed.details["screens"]] == [900, 800]

    def test_a_denied_step_halts_the_mission_and_does_not_run(self) -> None:
        """As where policy denies it: a security violation, whatever the error mode."""
        world = world_of(screen("s", step_types=frozenset({"acting"})), s=DENY)
        config = {"fail_fast": False, "parallel_limit": 1}
        done = results(world, step("a", kind="acting", continue_on_error=True), step("b"), config=config)
        assert done["a"]["error"]["code"] == "screen.s.site.no"
        assert done["b"]["error"]["code"] == "mission.halted"
        assert world.sandbox.runs == []

    def test_a_no_without_a_reason_is_a_no(self) -> None:
        """The host gives it a code, in the screen's name."""
        world = world_of(screen("s"), s={"verdict": "deny"})
        assert results(world, step("a"))["a"]["error"]["code"] == "screen.s.denied"

    def test_after_a_wait_a_step_is_screened_again(self) -> None:
        """What a screen allowed before the wait it may deny after it, and the rest of the batch is not performed."""
        verdicts = iter([ALLOW, DENY])
        world = world_of(screen("s"), s=lambda _: next(verdicts))
        sleep = {"op": "timer.sleep", "args": {"ms": 10}}
        done = results(world, step("a", kind="sleeping", batches=[[sleep, write()]]))
        assert done["a"]["error"]["code"] == "screen.s.site.no"
        assert world.performer.performed == []
        [refused] = world.log.of("step.refused")
        assert refused.details["again"] is True

    def test_a_mission_that_goes_on_is_screened_again(self) -> None:
        """A retry and a later start of the gateway ask the screens anew."""
        verdicts = iter([ALLOW, DENY])
        world = world_of(screen("m", "mission"), m=lambda _: next(verdicts))

        async def main() -> None:
            view = await world.run(mission(step("a", error={"code": "x", "message": "m"})))
            with pytest.raises(PolicyDeniedError):
                await world.desk.retry(ANN, view.mission_id, repeat_in_doubt=False)

        run(main())
        assert len(world.log.of("mission.refused")) == 1

    def test_a_plan_is_screened_too(self) -> None:
        """Who asks what would happen is told of a screen's no, and nothing is recorded as refused."""
        world = world_of(screen("m", "mission"), m=DENY)
        preview = run(world.desk.plan(ANN, orjson.dumps(mission(step("a")))))
        assert preview.decision.allow is False
        assert [reason.code for reason in preview.decision.reasons] == ["screen.m.site.no"]
        assert world.log.types() == []


TRANSIENT = "constraint.timeout_exceeded"


class TestFailures:
    @pytest.mark.parametrize("at", ["mission", "step"])
    @pytest.mark.parametrize(
        ("fault", "code"),
        [
            (SandboxError("spent", code="constraint.cpu_exceeded"), "constraint.cpu_exceeded"),
            (SandboxError("crashed", code="sandbox.crashed"), "sandbox.crashed"),
            (b"nonsense", "sandbox.output_invalid"),
            ({"error": {"code": "broken", "message": "m"}}, "screen.s.broken"),
            ({"error": {"code": "Not A Code", "message": "m"}}, "sandbox.output_invalid"),
        ],
    )
    def test_a_screen_that_cannot_answer_is_a_no_or_abstains_as_its_profile_says(
        self, at: str, fault: Any, code: str
    ) -> None:
        """Closed: denied with the code of what went wrong. Open: allowed, recorded in the verdict and by an event."""

        def fail(_: Any) -> Any:
            if isinstance(fault, SandboxError):
                raise fault
            return fault

        form = mission(step("a"))
        closed = world_of(screen("s", at), s=fail)
        if at == "mission":
            assert refused_mission(closed, form).reasons[0].code == code
        else:
            assert results(closed, step("a"))["a"]["error"]["code"] == code
        assert closed.log.of("hook.failed_open") == []
        opened = world_of(screen("s", at, on_violation="open"), s=fail)
        assert run(opened.run(form)).state is MissionState.COMPLETED
        [verdict] = opened.log.of("mission.admitted" if at == "mission" else "step.allowed")
        assert verdict.details["screens"] == [
            {"hook": "s@1.0.0", "module": "a" * 64, "verdict": "abstain", "fault": code}
        ]
        [event] = opened.log.of("hook.failed_open")
        assert (event.target, event.details["code"], event.details["failed"]) == ("s@1.0.0", code, 1)

    @pytest.mark.parametrize(
        ("fault", "tries"),
        [
            (SandboxError("late", code=TRANSIENT), 3),
            (SandboxError("gone", code="sandbox.crashed"), 3),
            ({"error": {"code": "busy", "message": "m", "retryable": True}}, 3),
            ({"error": {"code": "busy", "message": "m"}}, 1),
            (SandboxError("spent", code="constraint.cpu_exceeded"), 1),
            (b"nonsense", 1),
            (DENY, 1),
        ],
    )
    def test_only_what_may_pass_is_tried_again(self, fault: Any, tries: int) -> None:
        """As often as the profile says, with its pause in between; a function of its input would do the same again."""
        times: list[float] = []

        def fail(_: Any) -> Any:
            times.append(world.clock.monotonic())
            if isinstance(fault, SandboxError):
                raise fault
            return fault

        world = world_of(screen("s", retries=2, backoff_ms=10), s=fail)
        assert results(world, step("a"))["a"]["status"] == "Failed"
        assert len(times) == tries
        assert [round(b - a, 3) for a, b in pairwise(times)] == [0.01] * (tries - 1)

    def test_a_screen_that_answers_the_second_time_has_answered(self) -> None:
        """A retry that succeeds leaves nothing behind but the verdict."""
        answers: list[Any] = [SandboxError("late", code=TRANSIENT), ALLOW]

        def answer(_: Any) -> Any:
            found = answers.pop(0)
            if isinstance(found, SandboxError):
                raise found
            return found

        world = world_of(screen("s", retries=1), s=answer)
        assert results(world, step("a"))["a"]["status"] == "Completed"
        [allowed] = world.log.of("step.allowed")
        assert allowed.details["screens"][0]["verdict"] == "allow"

    def test_the_log_is_told_of_open_failures_once_a_minute(self) -> None:
        """A screen that fails a thousand times does not fill the disk; how often it did is told later."""
        world = world_of(screen("s", on_violation="open"), s=b"nonsense")

        async def main() -> None:
            for number in range(5):
                await world.run(mission(step("a")), f"r{number}")
            await asyncio.sleep(TOLD_EVERY_SECONDS)
            await world.run(mission(step("a")), "last")

        run(main())
        assert [event.details["failed"] for event in world.log.of("hook.failed_open")] == [1, 5]


class TestRewrites:
    def test_the_verdict_says_what_was_rewritten(self) -> None:
        """Hook, module, settings, labels and bounds, and the digests of the parameters before and after."""
        world = world_of(rewrite("p"), p={"parameters": {"b": 2}})
        results(world, step("a", a=1))
        [allowed] = world.log.of("step.allowed")
        [entry] = allowed.details["rewrites"]
        committed = run(commitments_of(world.store, allowed.target.partition("/")[0]))
        assert entry == {
            "hook": "p@1.0.0",
            "module": "a" * 64,
            "settings": digest({}),
            "taint": [],
            **{name: entry[name] for name in ("fuel_max", "memory_bytes_max", "output_bytes_max")},
            "before": committed.of({"a": 1}),
            "after": committed.of({"b": 2}),
        }
        [(_, document, _)] = world.sandbox.hook_runs
        assert document["step"] == {"id": "a", "name": "a", "step_type": "pure", "attempt": 1, "item": None}
        assert (document["parameters"], document["taint"]) == ({"a": 1}, [])
        assert (document["now"], document["seed"]) == (allowed.details["now"], allowed.details["seed"])

    def test_a_rewritten_output_is_all_that_anybody_sees(self) -> None:
        """The result, the log's digest, the dependents and the store have the rewritten output and not the other."""
        world = world_of(rewrite("o", "output", step_types=frozenset({"posting"})), o={"output": {"n": 1}})
        done = results(
            world, step("a", kind="posting", output={"secret": "hunter2"}), step("b", "a", output="${steps.a.output}")
        )
        assert done["a"]["output"] == done["b"]["output"] == {"n": 1}
        [event] = world.log.of("step.output_rewritten")
        [ended] = [e for e in world.log.of("step.ended") if e.target.endswith("/a")]
        committed = run(commitments_of(world.store, event.target.partition("/")[0]))
        assert event.details["rewrites"][0]["before"] == committed.of({"secret": "hunter2"})
        assert event.details["rewrites"][0]["after"] == ended.details["output"] == committed.of({"n": 1})
        assert event.seq < ended.seq
        assert "hunter2" not in str(world.log.events)

    def test_a_rewrite_does_not_wash_a_step_clean(self) -> None:
        """Its output is as tainted as before: a rewrite may pass on what it was given."""
        world = world_of(rewrite("o", "output"), o={"output": 1})
        results(world, step("a", kind="posting"), step("b", "a", x="${steps.a.output}"))
        asked = {seen["step"]["id"]: seen["taint"] for point, seen in world.policy.asked if point == "step"}
        assert asked["b"] == ["network"]

    @pytest.mark.parametrize("at", ["parameters", "output"])
    def test_a_rewrite_that_says_no_halts_the_mission(self, at: str) -> None:
        """A no by a site's own rule; in the hook's name, whatever profile it has."""
        world = world_of(
            rewrite("r", at, on_violation="open"),
            r={"error": {"code": "not_allowed", "message": "no", "retryable": True}},
        )
        done = results(world, step("a"), step("b"), config={"parallel_limit": 1, "fail_fast": False})
        assert done["a"]["error"] == {"code": "rewrite.r.not_allowed", "message": "no"}
        assert done["b"]["error"]["code"] == "mission.halted"

    @pytest.mark.parametrize("at", ["parameters", "output"])
    @pytest.mark.parametrize("fault", [SandboxError("spent", code="constraint.cpu_exceeded"), b"nonsense", {"x": 1}])
    def test_a_rewrite_never_fails_open(self, at: str, fault: Any) -> None:
        """What it would have taken away is not let through because it could not."""

        def fail(_: Any) -> Any:
            if isinstance(fault, SandboxError):
                raise fault
            return fault

        world = world_of(rewrite("r", at, on_violation="open"), r=fail)
        done = results(world, step("a", output="secret"))
        assert done["a"]["status"] == "Failed"
        assert done["a"].get("output") is None
        assert "secret" not in str(done)
        assert bool(world.sandbox.runs) is (at == "output")

    def test_a_repeated_step_is_rewritten_by_the_same_clock_and_chance(self) -> None:
        """An attempt that finds effects of an earlier one is given what that one was given, and so are its rewrites."""
        world = world_of(rewrite("p"), p=lambda document: {"parameters": document["parameters"]})
        error = {"code": "busy", "message": "m", "retryable": True}
        results(
            world, step("a", kind="acting", batches=[[write()]], error=error, retry={"max_attempts": 2, "base_ms": 0})
        )
        first, second = (document for _, document, _ in world.sandbox.hook_runs)
        assert (first["now"], first["seed"]) == (second["now"], second["seed"])
        assert [first["step"]["attempt"], second["step"]["attempt"]] == [1, 2]
        assert len(world.performer.performed) == 1

    def test_an_attempt_that_outlives_its_step_tells_of_no_output(self) -> None:
        """A rewrite that ignores its cancellation comes too late: after the step's end nothing of it begins."""

        async def stubborn() -> None:
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError:
                await asyncio.sleep(5)

        async def main() -> None:
            world = world_of(rewrite("o", "output"), o={"output": 1})
            world.faults.put("hook.rewrite.output", stubborn)
            await world.run(mission(step("a", timeout_seconds=1)))
            await asyncio.sleep(20)
            assert world.log.of("step.output_rewritten") == []
            world.laws_hold()

        run(main())

    def test_a_module_cannot_speak_in_a_hook_s_voice(self) -> None:
        """A step that fails with the code of a screen has given no answer."""
        for code in ("screen.s.no", "rewrite.r.no", "observe.o.no", "hook.failed"):
            world = World()
            assert results(world, step("a", error={"code": code, "message": "m"}))["a"]["error"]["code"] == (
                "sandbox.output_invalid"
            )


def test_without_hooks_nothing_of_them_is_recorded() -> None:
    """A gateway without hooks of these kinds writes what it wrote before there were any."""
    world = world_of(observer("x", step_types=frozenset({"acting"})), x={})
    results(world, step("a"))
    for event in world.log.events:
        assert not {"screens", "rewrites", "summary"} & set(event.details)

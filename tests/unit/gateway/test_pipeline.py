"""The way of a step, stage by stage: what each lets through, what it refuses, and what the log says of it."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from engine.clock import rfc3339
from engine.constraints import ExecutionConstraints
from engine.errors import MissionInvalidError
from engine.result import MissionState
from gateway.admission import VIOLATIONS_MAX
from gateway.errors import EffectError, PolicyDeniedError, Reason, SanitizationError
from gateway.events import REASONS_MAX
from gateway.identity import ANONYMOUS, Principal, actor
from gateway.pipeline import EFFECTS_MAX, UNSIGNED_EVENTS_MAX
from gateway.policy.decision import Decision
from gateway.sandbox.profile import profiles_from
from tests.subjects import commitments_of, known, own
from tests.virtual_time import run
from tests.worlds import ANN, BUNDLE, YES, World, mission, step, write

PROFILES = profiles_from({})


def no(code: str = "site.no", **fields: Any) -> Decision:
    return Decision(allow=False, bundle=BUNDLE, reasons=(Reason(code, "because", "data.gateway"),), **fields)


def result_of(world: World, *steps: Any) -> Any:
    """Run a mission of these steps and return the first step's result."""
    view = run(world.run(mission(*steps)))
    world.laws_hold()
    return view.result["step_results"][steps[0]["id"]]


def sanitize(*steps: Any) -> Any:
    return World().admission.sanitize(orjson.dumps(mission(*steps)))


class TestSanitize:
    def test_a_parameter_of_the_wrong_type_is_refused_with_its_place(self) -> None:
        """Stage 1 names field and line of what breaks a type's rule."""
        with pytest.raises(SanitizationError) as refused:
            sanitize(step("a"), step("b", path="../../etc/passwd"))
        [violation] = refused.value.violations
        assert (violation.field, violation.line) == ("steps[1].parameters.path", 1)
        assert violation.code.startswith("sanitize.path.")

    def test_a_reference_is_checked_once_it_is_resolved(self) -> None:
        """At admission a reference may become anything; the value that it brings is checked as a stranger's."""
        world = World()
        evil = step("evil", output={"path": "../x"})
        after = step("b", "evil", path="${steps.evil.output.path}")
        result = run(world.run(mission(evil, after))).result["step_results"]["b"]
        assert result["status"] == "Failed"
        assert result["error"]["code"].startswith("sanitize.path.")
        [refused] = world.log.of("step.refused")
        assert refused.details["code"] == result["error"]["code"]
        assert [asked["step"]["id"] for point, asked in world.policy.asked if point == "step"] == ["evil"]

    @pytest.mark.parametrize(("path", "other"), [("../x", "mission.halted"), (7, None)])
    def test_a_wrong_value_halts_the_mission_and_a_wrong_shape_does_not(self, path: object, other: str | None) -> None:
        """`../x` for a path is an attack until shown otherwise; a number for a path is a mistake of the author."""
        world = World()
        steps = (
            step("evil", output={"path": path}),
            step("b", "evil", path="${steps.evil.output.path}"),
            step("c", "d"),
        )
        config = {"fail_fast": False, "parallel_limit": 1}
        results = run(world.run(mission(*steps, step("d", "evil"), config=config))).result["step_results"]
        assert results["b"]["status"] == "Failed"
        assert results["c"].get("error", {}).get("code") == other

    def test_violations_are_bounded_over_the_whole_mission(self) -> None:
        """However many parameters are wrong, the answer has a maximum."""
        with pytest.raises(SanitizationError) as refused:
            sanitize(*(step(f"s{i}", path="/etc/passwd") for i in range(500)))
        assert len(refused.value.violations) == VIOLATIONS_MAX

    def test_an_unknown_kind_is_no_mission(self) -> None:
        """A step type that no hook implements is refused before anything else looks at it."""
        with pytest.raises(MissionInvalidError) as refused:
            sanitize(step("a", kind="shell"))
        assert refused.value.code == "mission.unknown_step_type"

    def test_taint_is_that_of_the_effects_that_a_kind_declares(self) -> None:
        """A site's own kind that may make requests is `network`, whatever its name is."""
        sanitized = sanitize(
            step("a", kind="posting"), step("b", "a", x="${steps.a.output}"), step("c", kind="reading")
        )
        assert sanitized.taint == ({"network"}, {"network"}, {"workspace", "network"})


class TestStepPolicy:
    def test_a_no_halts_the_mission_before_the_module_runs(self) -> None:
        """Whatever its error mode is: no module is run, the others are skipped, the log has policy's reason."""
        world = World()
        world.policy.answers["step"] = no()
        config = {"fail_fast": False, "parallel_limit": 1}
        view = run(world.run(mission(step("a", continue_on_error=True), step("b"), config=config)))
        assert world.sandbox.runs == []
        assert view.result["step_results"]["a"]["error"] == {"code": "site.no", "message": "because"}
        assert view.result["step_results"]["b"]["error"]["code"] == "mission.halted"
        [refused] = world.log.of("step.refused")
        message = run(commitments_of(world.store, view.mission_id)).of("because")
        assert refused.details["reasons"] == [{"code": "site.no", "message": message, "rule": "data.gateway"}]
        assert refused.details["bundle"] == BUNDLE

    def test_an_unknown_profile_is_a_no(self) -> None:
        """Policy that names a profile which does not exist is not half obeyed, and the log never says allowed."""
        for answer in ("step", "mission"):
            world = World()
            world.policy.answers[answer] = Decision(allow=True, bundle=BUNDLE, profile="nowhere")
            assert result_of(world, step("a"))["error"]["code"] == "policy.unknown_profile"
            assert world.log.types("/a") == ["step.refused", "step.ended"]
            assert world.sandbox.runs == []

    @pytest.mark.parametrize("asker", ["mission", "step"])
    @pytest.mark.parametrize(
        ("decision", "expected"),
        [
            ({"profile": "observational"}, ("observational", {})),
            ({"constraints": {"fuel_max": 7}}, ("wasm", {"fuel_max": 7})),
            ({"profile": "semantic"}, ("wasm", {})),
            ({"constraints": {"wall_ms_max": 10**6}}, ("wasm", {})),
        ],
    )
    def test_a_decision_narrows_and_never_widens(self, asker: str, decision: Any, expected: Any) -> None:
        """What a run gets is the minimum of its kind's, the profile's and the constraints of both decisions."""
        world = World()
        world.policy.answers[asker] = Decision(allow=True, bundle=BUNDLE, **decision)
        assert result_of(world, step("a"))["status"] == "Completed"
        profile, limits = expected
        [(_, _, constraints)] = world.sandbox.runs
        assert constraints == PROFILES["wasm"].narrow(PROFILES[profile]).narrow_by(limits)
        [allowed] = world.log.of("step.allowed")
        assert allowed.details["fuel_max"] == constraints.fuel_max

    def test_a_profile_that_a_client_asks_for_does_not_widen_its_kind(self) -> None:
        """The kind's own limits hold, whatever profile the mission names."""
        world = World()
        assert result_of(world, step("a", profile="semantic"))["status"] == "Completed"
        assert world.sandbox.runs[0][2] == PROFILES["wasm"]
        asked = [document for point, document in world.policy.asked if point == "step"]
        assert asked[0]["step"]["profile"] == "semantic"

    def test_the_verdict_says_what_a_replay_needs(self) -> None:
        """`now` and `seed`, which the module gets instead of a clock and of chance, are in the log."""
        world = World()
        result_of(world, step("a"))
        [(module, document, constraints)] = world.sandbox.runs
        [allowed] = world.log.of("step.allowed")
        assert allowed.details["now"] == document["now"]
        assert allowed.details["seed"] == document["seed"]
        assert f"{allowed.details['kind']}@1.0.0" == module
        assert allowed.details["memory_bytes_max"] == constraints.memory_bytes_max

    def test_many_long_reasons_fit_the_log(self) -> None:
        """A policy that gives more reasons than a line of the log holds is still recorded; the caller gets all."""
        world = World()
        reasons = tuple(Reason("site.no", "\x00" * 8_192, "r" * 256) for _ in range(64))
        world.policy.answers["mission"] = Decision(allow=False, bundle=BUNDLE, reasons=reasons)

        async def main() -> None:
            with pytest.raises(PolicyDeniedError) as refused:
                await world.submit(mission(step("a")))
            assert refused.value.reasons == reasons

        run(main())
        [event] = world.log.of("mission.refused")
        assert len(event.details["reasons"]) == REASONS_MAX
        assert {reason["message"] for reason in event.details["reasons"]} == {own(ANN).of("\x00" * 8_192)}
        assert len(orjson.dumps(event.details)) < 60_000


class TestModule:
    @pytest.mark.parametrize(
        "answer",
        [
            b"",
            b"{",
            b"\xff",
            b"[]",
            {},
            {"output": 1, "effects": []},
            {"effects": []},
            {"effects": [{"op": "file.write"}]},
            {"verdict": "allow"},
        ],
    )
    def test_nonsense_is_a_failure(self, answer: Any) -> None:
        """An answer that is not exactly one of the ABI's is no output."""
        world = World()
        world.sandbox.answer = lambda _: answer
        assert result_of(world, step("a", kind="acting"))["error"]["code"] == "sandbox.output_invalid"
        assert world.performer.performed == []

    @pytest.mark.parametrize("code", ["list.empty", "parameters.invalid", "effect.file_exists", "memory"])
    def test_a_module_fails_with_a_code_of_its_own(self, code: str) -> None:
        """What a module reports is the step's failure."""
        error = result_of(World(), step("a", error={"code": code, "message": "m"}))["error"]
        assert error == {"code": code, "message": "m"}

    @pytest.mark.parametrize("code", ["policy.denied", "constraint.cpu_exceeded", "interrupted", "Oops", "a\nb", "a."])
    def test_a_module_cannot_speak_for_the_host(self, code: str) -> None:
        """A module that fails with the host's codes, or with no code at all, has answered nonsense."""
        error = result_of(World(), step("a", error={"code": code, "message": "m"}))["error"]
        assert error["code"] == "sandbox.output_invalid"

    def test_fuel_is_counted_over_all_rounds(self) -> None:
        """Each round gets what the ones before left, and with nothing left no further effect is allowed."""
        world = World()
        fuel = PROFILES["wasm"].fuel_max
        world.sandbox.fuel_used = fuel // 2
        batches = [[write("a")], [write("b")], [write("c")]]
        result = result_of(world, step("a", kind="acting", batches=batches))
        assert result["error"]["code"] == "constraint.cpu_exceeded"
        given = [constraints.fuel_max for _, _, constraints in world.sandbox.runs]
        assert given == [fuel, fuel - fuel // 2]
        assert len(world.performer.performed) == 1

    def test_every_round_of_an_attempt_has_the_same_now_and_seed(self) -> None:
        """The rounds are one function of one input and its journal; another step has another seed."""
        world = World()
        result_of(world, step("a", kind="acting", batches=[[write("a")], [write("b")]]), step("b", "a"))
        documents = [document for _, document, _ in world.sandbox.runs]
        assert [len(document["journal"]) for document in documents] == [0, 1, 2, 0]
        assert len({(document["now"], document["seed"]) for document in documents[:3]}) == 1
        assert documents[3]["seed"] != documents[0]["seed"]

    def test_what_wasi_says_is_what_the_document_says(self) -> None:
        """A module's clock begins at the document's `now`, and its randomness comes of the document's `seed`."""
        world = World()
        result_of(world, step("a", kind="acting", batches=[[write("a")]]))
        for (_, document, _), given in zip(world.sandbox.runs, world.sandbox.given, strict=True):
            now = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=given.now_us)
            assert (rfc3339(now), given.seed.hex()) == (document["now"], document["seed"])
            assert given.now_us > 1_600_000_000_000_000


class TestEffects:
    def test_an_effect_goes_all_the_way(self) -> None:
        """Allowed, intended under a checkpoint, performed with its outcome, and the module hears of it."""
        world = World()
        result = result_of(world, step("a", kind="acting", batches=[[write("a.txt")]]))
        assert result["status"] == "Completed"
        assert world.log.types("/a") == [
            "step.allowed",
            "effect.allowed",
            "effect.intended",
            "effect.performed",
            "step.ended",
        ]
        [request] = world.performer.performed
        assert request.args == {"path": "a.txt", "content": "x"}
        assert world.sandbox.runs[1][1]["journal"] == [{"ok": {"done": "file.write"}}]

    @pytest.mark.parametrize(
        ("effect", "code"),
        [
            ({"op": "timer.sleep", "args": {"ms": 1}}, "effect.undeclared"),
            ({"op": "file.delete", "args": {}}, "effect.undeclared"),
            ({"op": "nobody.performs", "args": {}}, "effect.unknown_op"),
            ({"op": "file.write", "args": {"path": "../a", "content": ""}}, "sanitize.path.traversal"),
            (
                {"op": "file.write", "args": {"path": "a", "content": "", "owner": "root"}},
                "schema.additionalProperties",
            ),
            ({"op": "file.write", "args": {"path": "a"}}, "schema.oneOf"),
            ({"op": "http.request", "args": {"url": "http://169.254.169.254/"}}, "sanitize.url.address"),
        ],
    )
    def test_what_is_not_declared_or_not_clean_is_refused_unasked(self, effect: Any, code: str) -> None:
        """The refusal halts the mission, is in the log with its code, and policy is not even asked."""
        world = World()
        view = run(world.run(mission(step("a", kind="acting", batches=[[effect]]), step("b"))))
        error = view.result["step_results"]["a"]["error"]
        assert error["code"].startswith(code.rpartition(".")[0])
        [refused] = world.log.of("effect.refused")
        assert refused.details["op"] == effect["op"]
        assert refused.details["code"] == error["code"]
        assert [point for point, _ in world.policy.asked if point == "effect"] == []
        assert world.log.of("effect.intended") == []

    def test_policy_sees_what_the_host_will_do(self) -> None:
        """The document of an http effect has host, port and method as the connection will use them."""
        world = World()
        effect = {"op": "http.request", "args": {"url": "https://api.example.com/v1"}}
        world.policy.answers["effect"] = no("site.closed")
        result = result_of(world, step("a", kind="acting", batches=[[effect]]))
        assert result["error"]["code"] == "site.closed"
        [asked] = [document["effect"] for point, document in world.policy.asked if point == "effect"]
        assert (asked["op"], asked["index"]) == ("http.request", 0)
        assert (asked["args"]["method"], asked["args"]["host"], asked["args"]["port"]) == (
            "GET",
            "api.example.com",
            443,
        )

    def test_one_no_in_a_batch_performs_nothing_of_it(self) -> None:
        """All effects of a batch are decided before one is intended; the yes of the others is in the log."""
        world = World()
        world.policy.answers["effect"] = lambda asked: no() if asked["effect"]["index"] == 1 else YES
        result = result_of(world, step("a", kind="acting", batches=[[write("a"), write("b"), write("c")]]))
        assert result["error"]["code"] == "site.no"
        assert world.log.types("/a") == ["step.allowed", "effect.allowed", "effect.refused", "step.ended"]
        assert world.performer.performed == []

    def test_a_failed_effect_ends_the_batch_and_the_module_hears_of_it(self) -> None:
        """What comes after the first error is not performed, and its intent says so."""
        world = World()
        world.faults.put("effects.perform", EffectError("full", code="effect.disk_full"), 1)
        result = result_of(world, step("a", kind="acting", batches=[[write("a"), write("b"), write("c")]]))
        assert result["error"]["code"] == "effect.disk_full"
        ends = [(e.event_type, e.details.get("code")) for e in world.log.events if e.event_type.startswith("effect.")][
            -3:
        ]
        assert ends == [
            ("effect.performed", None),
            ("effect.failed", "effect.disk_full"),
            ("effect.failed", "effect.not_performed"),
        ]
        assert len(world.performer.performed) == 1

    @pytest.mark.parametrize("bug", [False, True])
    def test_what_is_in_doubt_fails_the_step_and_is_told_to_no_module(self, bug: bool) -> None:
        """Nobody decides on behalf of a person whether an act in doubt is repeated."""
        world = World()
        doubt = RuntimeError("bug") if bug else EffectError("lost", code="effect.connection_lost", in_doubt=True)
        world.faults.put("effects.perform", doubt)
        result = result_of(world, step("a", kind="acting", batches=[[write("a")]]))
        assert result["error"]["code"] == "effect.in_doubt"
        assert len(world.sandbox.runs) == 1
        assert world.log.of("effect.failed")[0].details["code"] == "effect.in_doubt"

    def test_a_step_has_so_many_effects_and_no_more(self) -> None:
        """The limit is over all rounds; the batch that would exceed it is not begun."""
        world = World()
        batches = [[write(f"{b}-{i}") for i in range(40)] for b in range(2)]
        result = result_of(world, step("a", kind="acting", batches=batches))
        assert result["error"]["code"] == "sandbox.too_many_effects"
        assert len(world.performer.performed) == 40 <= EFFECTS_MAX

    def test_a_journal_has_a_maximum(self) -> None:
        """Outcomes that are more than a module may be given end the step."""
        world = World()

        async def perform(_request: Any, _scope: Any) -> dict[str, object]:
            return {"content": "x" * 200_000}

        world.performer.perform = perform  # type: ignore[method-assign]
        view = run(world.run(mission(step("a", kind="acting", batches=[[write("a"), write("b")]]))))
        assert view.result["step_results"]["a"]["error"]["code"] == "sandbox.journal_too_large"
        assert len(world.sandbox.runs) == 1

    def test_no_payload_is_in_the_log(self) -> None:
        """Parameters, arguments, outcomes and outputs are there as digests only."""
        world = World()
        secret = base64.b64encode(b"top secret payload").decode()
        effect = {"op": "file.write", "args": {"path": "a", "content": secret}}
        result_of(world, step("a", kind="acting", batches=[[effect]], output={"echo": secret}, note=secret))
        assert secret not in str(world.log.events)


class TestPace:
    def test_steps_wait_for_a_log_that_is_behind(self) -> None:
        """With more to sign than is allowed, a step waits for a checkpoint before its module runs."""
        world = World()

        async def main() -> None:
            for _ in range(UNSIGNED_EVENTS_MAX + 100):
                world.log.append("filler.event", actor="x", target="x", details={})
            world.sandbox.on_run = lambda _: sizes.append(world.log.size)
            sizes: list[int] = []
            await world.submit(mission(*(step(f"s{i}") for i in range(10))))
            durable_at_admission = world.log.size
            for _ in range(UNSIGNED_EVENTS_MAX + 100):
                world.log.append("filler.event", actor="x", target="x", details={})
            await world.settled()
            assert min(sizes) > durable_at_admission

        run(main())


class TestNames:
    def test_no_two_principals_have_one_name_in_the_log(self) -> None:
        """A slash in a tenant's name cannot make one principal look like another, nor can a subject be anonymous."""
        people = [
            known(Principal(subject="b/c", tenant="a")),
            known(Principal(subject="c", tenant="a/b")),
            known(Principal(subject="anonymous", tenant="default")),
            known(ANONYMOUS),
        ]
        assert len({actor(person) for person in people}) == len(people)

    def test_only_a_plain_yes_is_one(self) -> None:
        """Truthy is not true."""
        YES.require()
        for decision in (no(), Decision(allow=1, bundle="")):  # type: ignore[arg-type]
            with pytest.raises(PolicyDeniedError):
                decision.require()


def test_a_mission_that_runs_well_is_completed() -> None:
    """Outputs flow along references, and the summary counts every event of the mission."""
    world = World()
    first = step("a", kind="acting", batches=[[write("a")]], output={"n": [1, 2]})
    view = run(world.run(mission(first, step("b", "a", output="${steps.a.output.n.1}"))))
    assert view.state is MissionState.COMPLETED
    assert view.result["step_results"]["b"]["output"] == 2
    assert view.result["audit_summary"] == {"events_logged": len(world.log.events), "integrity_verified": True}
    assert isinstance(world.sandbox.runs[0][2], ExecutionConstraints)

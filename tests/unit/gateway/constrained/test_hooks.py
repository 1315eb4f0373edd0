"""Screens, rewrites and observers under their constraints, in the pipeline: told, counted, disabled, given a clock."""

from typing import Any

import pytest

from engine.audit.errors import AuditUnavailableError
from engine.clock import rfc3339
from engine.result import MissionState
from gateway.errors import PolicyDeniedError, SandboxError
from gateway.hookset import PlacedHook
from gateway.sandbox.port import RunGiven
from gateway.stages import Given
from tests.placed import ALLOW, observer, rewrite, screen
from tests.virtual_time import run
from tests.worlds import ANN, World, mission, step

OVER = SandboxError("over", code="constraint.cpu_exceeded")
ONE_BY_ONE = {"fail_fast": False, "parallel_limit": 1}


def over(_: Any) -> Any:
    raise OVER


def world_of(placed: PlacedHook, answer: Any = over, **fields: Any) -> World:
    """Return a world with one hook, which breaks its limits unless it has an answer."""
    world = World(placed=(placed,), **fields)
    world.sandbox.hooks[placed.hook.key] = answer
    return world


def ended(world: World, *steps: Any) -> Any:
    """Run a mission of these steps, one after the other, and let observers see the rest; return its view."""

    async def main() -> Any:
        view = await world.run(mission(*steps, config=ONE_BY_ONE))
        await world.observers.close(5)
        return view

    view = run(main())
    world.laws_hold()
    return view


@pytest.mark.parametrize("at", ["mission", "step"])
def test_an_open_screen_that_breaks_a_constraint_is_told_twice_and_passed_over(at: str) -> None:
    """As a violation with the policy `open`, before the verdict that abstains, and as a hook that failed open."""
    world = world_of(screen("s", at, on_violation="open"))
    view = ended(world, step("a"))
    assert view.state is MissionState.COMPLETED
    [violated] = world.log.of("constraint.violated")
    assert (violated.details["rule"], violated.details["policy"]) == ("s@1.0.0", "open")
    assert violated.details["kind"] == OVER.code
    assert violated.target == ("s@1.0.0" if at == "mission" else f"{view.mission_id}/a")
    [verdict] = world.log.of("mission.admitted" if at == "mission" else "step.allowed")
    assert violated.seq < verdict.seq
    assert [each["verdict"] for each in verdict.details["screens"]] == ["abstain"]
    [failed] = world.log.of("hook.failed_open")
    assert (failed.target, failed.details["code"]) == ("s@1.0.0", OVER.code)


@pytest.mark.parametrize("at", ["mission", "step"])
def test_a_closed_screen_that_breaks_a_constraint_is_a_no(at: str) -> None:
    """Told as a violation with the policy `closed`, before the refusal; nothing has failed open."""
    world = world_of(screen("s", at))
    if at == "mission":
        with pytest.raises(PolicyDeniedError) as refused:
            run(world.submit(mission(step("a"))))
        assert refused.value.reasons[0].code == OVER.code
    else:
        assert ended(world, step("a")).result["step_results"]["a"]["error"]["code"] == OVER.code
    [violated] = world.log.of("constraint.violated")
    [verdict] = world.log.of(f"{at}.refused")
    assert violated.details["policy"] == "closed"
    assert violated.seq < verdict.seq
    assert world.log.of("hook.failed_open") == []
    assert world.sandbox.runs == []


@pytest.mark.parametrize("at", ["parameters", "output"])
def test_a_rewrite_that_breaks_a_constraint_is_closed_in_an_open_profile(at: str) -> None:
    """The log says `closed`, since that is what happens: the step fails."""
    world = world_of(rewrite("r", at, on_violation="open"))
    assert ended(world, step("a")).result["step_results"]["a"]["error"]["code"] == OVER.code
    [violated] = world.log.of("constraint.violated")
    assert (violated.details["rule"], violated.details["policy"]) == ("r@1.0.0", "closed")
    assert world.log.of("hook.failed_open") == []


def test_a_violation_of_an_open_screen_that_cannot_be_told_is_not_passed_over() -> None:
    """What the log does not take has no consequence that somebody could use: the step fails."""
    world = world_of(screen("s", on_violation="open"))
    world.faults.put("audit.append:constraint.violated", AuditUnavailableError("dead"))
    assert ended(world, step("a")).result["step_results"]["a"]["error"]["code"].startswith("audit.")
    assert world.sandbox.runs == []


def test_what_an_observer_breaks_is_told_in_sums() -> None:
    """An observer may be shown a thousand outputs a second: the log hears how often it failed, once a minute."""
    world = world_of(observer("o"))
    assert ended(world, *(step(f"s{n}") for n in range(3))).state is MissionState.COMPLETED
    assert world.log.of("constraint.violated") == []
    told = world.log.of("hook.failed_open")
    assert sum(event.details["failed"] for event in told) == 3
    assert world.held.document()["rules"]["o@1.0.0"]["violations"] == {OVER.code: 3}


def test_an_open_screen_is_asked_each_time() -> None:
    """However often it broke its limits: with those steps a tenant could switch it off for the one that it denies."""
    world = world_of(screen("s", on_violation="open"), violations_max=2)
    assert ended(world, *(step(f"s{n}") for n in range(4))).state is MissionState.COMPLETED
    faults = [event.details["screens"][0]["fault"] for event in world.log.of("step.allowed")]
    assert faults == [OVER.code] * 4
    assert len(world.sandbox.hook_runs) == len(world.log.of("constraint.violated")) == 4


def test_a_closed_screen_that_is_disabled_is_a_no() -> None:
    """A screen that is not asked has not said yes."""
    world = world_of(screen("s"), violations_max=1)
    codes = [ended(world, step("a")).result["step_results"]["a"]["error"]["code"]]

    async def again() -> None:
        await world.submit(mission(step("a")), "again")
        await world.settled()

    run(again())
    codes += [event.details["code"] for event in world.log.of("step.refused")][1:]
    assert codes == [OVER.code, "hook.disabled"]
    assert len(world.sandbox.hook_runs) == 1


def test_an_observer_that_is_disabled_is_in_nobodys_way() -> None:
    """It is not run, and that is counted as its failure."""
    world = world_of(observer("o"), violations_max=2)
    assert ended(world, *(step(f"s{n}") for n in range(5))).state is MissionState.COMPLETED
    assert len(world.sandbox.hook_runs) == 2
    assert world.observers.counts == {"ended": 5, "failed": 5}


@pytest.mark.parametrize(
    ("placed", "answer", "runs"),
    [
        (screen("h", "mission"), ALLOW, 1),
        (screen("h"), ALLOW, 2),
        (rewrite("h"), {"parameters": {}}, 2),
        (rewrite("h", "output"), {"output": 1}, 2),
        (observer("h"), {}, 2),
    ],
    ids=lambda value: f"{value.hook.kind}.{value.hook.at}" if isinstance(value, PlacedHook) else "",
)
def test_runs_of_hooks_are_in_the_statistics_and_in_no_quota(placed: PlacedHook, answer: Any, runs: int) -> None:
    """Each under its key; the principal pays for the two steps, and not for what its site looks at them with."""
    world = world_of(placed, lambda _: answer)
    ended(world, step("a"), step("b"))
    counted = world.held.document()["rules"]["h@1.0.0"]
    assert (counted["runs"], counted["memory_bytes_peak"], counted["latency"]["max_us"]) == (runs, 65_536, 1)
    assert world.held.quotas.used((ANN.tenant, ANN.subject))[0] == 2


@pytest.mark.parametrize(
    ("placed", "answer"),
    [
        (screen("h", "mission"), ALLOW),
        (screen("h"), ALLOW),
        (rewrite("h"), {"parameters": {}}),
        (rewrite("h", "output"), {"output": 1}),
        (observer("h", "mission"), {}),
        (observer("h", "step"), {}),
        (observer("h"), {}),
    ],
    ids=lambda value: f"{value.hook.kind}.{value.hook.at}" if isinstance(value, PlacedHook) else "",
)
def test_the_clock_and_the_chance_of_wasi_are_those_of_the_document(placed: PlacedHook, answer: Any) -> None:
    """What a hook reads from the calls of WASI is what its document says and the log has: a run can be repeated."""
    world = world_of(placed, lambda _: answer)
    ended(world, step("a"))
    [(_, document, _)] = world.sandbox.hook_runs
    given = Given(document["now"], document["seed"]).for_run()
    assert given.now_us > 0
    assert len(given.seed) == 16
    assert document["now"] == rfc3339(world.clock.now())
    assert given in world.sandbox.given
    if placed.hook.at != "mission":
        assert world.sandbox.given == [given, given], "the step and its hook have the same"


def test_every_mission_is_screened_by_another_chance() -> None:
    """A screen that draws a sample does not draw the same for every mission."""
    world = world_of(screen("h", "mission"), lambda _: ALLOW)

    async def main() -> None:
        await world.run(mission(step("a")), "one")
        await world.run(mission(step("a")), "two")

    run(main())
    seeds = {document["seed"] for _, document, _ in world.sandbox.hook_runs}
    assert len(seeds) == 2
    hooks = [given for given in world.sandbox.given if given.seed.hex() in seeds]
    assert all(isinstance(given, RunGiven) for given in hooks)
    assert len(hooks) == 2

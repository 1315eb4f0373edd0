"""Results that are used again: of the same run, of the same tenant, for a time; and everything else as without."""

from typing import Any

import pytest

from engine.constraints import ExecutionConstraints
from gateway.policy.decision import Decision
from gateway.reusing import KeptResults
from gateway.sandbox.profile import profiles_from
from gateway.stages import STILL
from tests.worlds import ANN, BUNDLE, EVE, World, mission, step

FAST = profiles_from({})["fast"]


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def kept(now: Clock | None = None, **bounds: Any) -> KeptResults:
    default: dict[str, Any] = {"ttl_seconds": 10, "entries_max": 10, "bytes_max": 100_000, "tenants_max": 3}
    return KeptResults(now=now or Clock(), **{**default, **bounds})


async def test_the_same_run_is_made_once() -> None:
    """Of two missions with one step, the second has the first one's output; policy and sanitizer see both."""
    world = World(reuse=("pure",))
    first = await world.run(mission(step("a", output={"x": 1})), "r1")
    second = await world.run(mission(step("a", output={"x": 1})), "r2")
    assert first.result["step_results"]["a"]["output"] == second.result["step_results"]["a"]["output"] == {"x": 1}
    assert len(world.sandbox.runs) == 1
    assert [entrypoint for entrypoint, _ in world.policy.asked].count("step") == 2
    world.laws_hold()


async def test_the_log_says_that_no_module_was_run() -> None:
    """With the module, the input and the output, between the verdict and the end; and what its clock was in both."""
    world = World(reuse=("pure",))
    for request_id in ("r1", "r2"):
        await world.run(mission(step("a", output={"x": 1})), request_id)
    (reused,) = world.log.of("step.result_reused")
    types = [e.event_type for e in world.log.events if e.target == reused.target]
    assert types == ["step.allowed", "step.result_reused", "step.ended"]
    allowed, ended = (next(e for e in world.log.of(t) if e.target == reused.target) for t in (types[0], types[2]))
    assert reused.details["module"] == allowed.details["module"]
    assert reused.details["output"] == ended.details["output"]
    assert reused.details["input"].startswith("hmac-sha256:")
    assert [e.details.get("still") for e in world.log.of("step.allowed")] == [True, True]


async def test_a_module_whose_results_are_kept_is_told_no_time_and_no_chance() -> None:
    """Else no document would be there twice; hooks, secrets and the log have the real ones."""
    world = World(reuse=("pure",))
    await world.run(mission(step("a", output=1)))
    (_, asked, _), (given,) = world.sandbox.runs[0], world.sandbox.given
    assert (asked["now"], asked["seed"]) == (STILL.now, STILL.seed)
    assert (given.now_us, given.seed) == (0, bytes(16))
    (allowed,) = world.log.of("step.allowed")
    assert allowed.details["now"] != STILL.now
    assert allowed.details["seed"] != STILL.seed


@pytest.mark.parametrize(
    "other",
    [
        step("a", output=2),
        step("b", output=1),
        step("a", output=1, profile="fast"),
        step("a", kind="acting", output=1),
    ],
)
async def test_another_run_is_made(other: dict[str, Any]) -> None:
    """Other parameters, another step, other constraints; and a kind that is not named, or that acts, never is kept."""
    world = World(reuse=("pure",))
    await world.run(mission(step("a", output=1)), "r1")
    await world.run(mission(other), "r2")
    assert len(world.sandbox.runs) == 2
    assert world.log.of("step.result_reused") == []


async def test_where_no_kind_is_named_nothing_is_kept() -> None:
    """And modules are told the time."""
    world = World()
    for request_id in ("r1", "r2"):
        await world.run(mission(step("a", output=1)), request_id)
    assert len(world.sandbox.runs) == 2
    assert "still" not in world.log.of("step.allowed")[0].details


async def test_a_refusal_is_a_refusal_whatever_is_kept() -> None:
    """Policy is asked before anything is looked up."""
    world = World(reuse=("pure",))
    await world.run(mission(step("a", output=1)), "r1")
    world.policy.answers["step"] = Decision(allow=False, bundle=BUNDLE)
    view = await world.run(mission(step("a", output=1)), "r2")
    assert view.result["step_results"]["a"]["status"] == "Failed"
    assert world.log.of("step.result_reused") == []


async def test_failures_are_not_kept() -> None:
    """The next attempt may have what this one lacked."""
    world = World(reuse=("pure",))
    for request_id in ("r1", "r2"):
        await world.run(mission(step("a", error={"code": "x", "message": "m", "retryable": False})), request_id)
    assert len(world.sandbox.runs) == 2


async def test_what_policy_masks_is_masked_again_and_its_digest_told_to_nobody() -> None:
    """What is kept is what the module gave; each decision masks its own."""
    world = World(reuse=("pure",))
    await world.run(mission(step("a", output={"x": 1})), "r1")
    world.policy.answers["step"] = Decision(allow=True, bundle=BUNDLE, redact=("/x",))
    view = await world.run(mission(step("a", output={"x": 1})), "r2")
    assert view.result["step_results"]["a"]["output"] != {"x": 1}
    (reused,) = world.log.of("step.result_reused")
    assert "output" not in reused.details
    world.laws_hold()


async def test_tenants_share_neither_results_nor_room() -> None:
    """What one has run the other runs too; and however much one keeps, the other's stays."""
    world = World(reuse=("pure",))
    await world.run(mission(step("a", output=1)), "r1")
    await world.submit(mission(step("a", output=1)), "r2", EVE)
    await world.settled()
    assert len(world.sandbox.runs) == 2
    results = kept(bytes_max=2_000)
    key = results.key("m", b"{}", FAST)
    results.put("red", key, b"red", "m1")
    for number in range(100):
        results.put("blue", results.key("m", b"%d" % number, FAST), b"x" * 100, "m2")
    assert results.get("red", key) == b"red"
    assert results.get("blue", key) is None


async def test_erasing_a_mission_lets_go_of_what_it_has_run() -> None:
    """Its results go, and nobody else's."""
    world = World(reuse=("pure",))
    first = await world.submit(mission(step("a", output=1)), "r1")
    await world.run(mission(step("b", output=1)), "r2")
    await world.desk.erase(ANN, first.mission_id, "")
    await world.run(mission(step("a", output=1), step("b", output=1)), "r3")
    assert [asked["step"]["id"] for _, asked, _ in world.sandbox.runs] == ["a", "b", "a"]


async def test_a_reused_result_is_charged_as_a_run() -> None:
    """Else a quota would tell what was kept."""
    world = World(reuse=("pure",))
    for request_id in ("r1", "r2"):
        await world.run(mission(step("a", output=1)), request_id)
    assert world.held.runs._quotas.used((ANN.tenant, ANN.subject))[0] == 2


def test_a_result_ends_with_its_time() -> None:
    """To the second; what is over makes room at once."""
    now = Clock()
    results = kept(now)
    key = results.key("m", b"{}", FAST)
    results.put("red", key, b"1", "m1")
    now.seconds = 9.9
    assert results.get("red", key) == b"1"
    now.seconds = 10.0
    assert results.get("red", key) is None
    assert results.forget({"m1"}) == 0


@pytest.mark.parametrize(("by_use", "left"), [(True, b"a"), (False, None)])
def test_room_is_made_as_the_site_says(by_use: bool, left: bytes | None) -> None:
    """What was used longest ago goes first, or what was kept longest ago."""
    results = kept(entries_max=2, by_use=by_use)
    keys = [results.key("m", text, FAST) for text in (b"a", b"b", b"c")]
    results.put("red", keys[0], b"a", "m")
    results.put("red", keys[1], b"b", "m")
    results.get("red", keys[0])
    results.put("red", keys[2], b"c", "m")
    assert results.get("red", keys[0]) == left


def test_tenants_that_have_results_are_bounded() -> None:
    """The one that has asked longest ago loses its own."""
    results = kept(tenants_max=2)
    key = results.key("m", b"{}", FAST)
    for tenant in ("red", "blue"):
        results.put(tenant, key, tenant.encode(), "m")
    results.get("red", key)
    results.put("green", key, b"green", "m")
    assert [results.get(tenant, key) for tenant in ("red", "blue", "green")] == [b"red", None, b"green"]


def test_a_key_is_all_that_a_run_depends_on() -> None:
    """The module, each byte of the document, and each of the constraints."""
    results = kept()
    less = ExecutionConstraints(
        wall_ms_max=FAST.wall_ms_max, fuel_max=FAST.fuel_max - 1, memory_bytes_max=FAST.memory_bytes_max
    )
    keys = {
        results.key(module, document, constraints)
        for module in ("m1", "m2")
        for document in (b"{}", b"{} ")
        for constraints in (FAST, less)
    }
    assert len(keys) == 8
    assert kept().key("m1", b"{}", FAST) not in keys  # nobody outside can compute one

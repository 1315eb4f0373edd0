"""Replays of steps that were held, narrowed after a wait, or masked: they come to what the log says."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from engine.constraints import ExecutionConstraints
from gateway.policy.decision import Decision
from gateway.replay.outcome import StepOutcome, Verdict
from gateway.sandbox.port import RunReport
from tests.placed import rewrite
from tests.replay_worlds import WorldModules, replay
from tests.unit.gateway.consents import decide, story, waiting, wanting
from tests.worlds import BUNDLE, YES, World, mission, step, write

NAP = {"op": "timer.sleep", "args": {"ms": 5}}
Tell = Callable[[World, str], Awaitable[None]]


class Limits(WorldModules):
    """Notes what each run of a step gets."""

    async def run(self, _sha256: str, document: bytes, constraints: ExecutionConstraints, given: Any) -> RunReport:
        if b'"kind":"step"' in document:
            self.fuel = [*getattr(self, "fuel", []), constraints.fuel_max]
        return await super().run(_sha256, document, constraints, given)


async def assert_same(world: World, mission_id: str) -> list[StepOutcome]:
    """Replay; every step comes out the same, in runs that get what they got."""
    modules = Limits(world)
    found = await replay(world, mission_id, modules=modules)
    assert {each.verdict for each in found} == {Verdict.SAME}, found
    assert modules.fuel == [limits.fuel_max for _, _, limits in world.sandbox.runs]
    return found


def test_a_masked_output_is_masked_again() -> None:
    """By every verdict of the attempt, before the rewrites and after; the digests are those of the log."""
    looked: list[Any] = []

    def fill(asked: Any) -> Any:
        looked.append(asked["output"])
        return {"output": {**asked["output"], "late": "again"}}

    async def tell(world: World) -> None:
        world.sandbox.hooks["r@1.0.0"] = fill
        world.policy.answers["step"] = lambda _: replace(
            YES, redact=("/output/late",) if world.performer.performed else ("/output/ssn",)
        )
        form = mission(step("a", kind="sleeping", batches=[[write()], [NAP]], output={"ssn": 1, "late": 2, "id": 3}))
        view = await world.run(form)
        assert view.result["step_results"]["a"]["output"] == {"ssn": "[redacted]", "late": "[redacted]", "id": 3}
        await assert_same(world, view.mission_id)
        assert looked == [{"ssn": "[redacted]", "late": "[redacted]", "id": 3}] * 2
        first, second = world.log.of("step.output_redacted")
        assert (first.details["count"], second.details["count"]) == (2, 1)
        [ended] = world.log.of("step.ended")
        assert second.details["after"] == ended.details["output"]

    story(tell, placed=(rewrite("r", "output"),))


def test_a_step_that_was_held_is_the_same() -> None:
    """Its verdict is the one after the wait."""

    async def tell(world: World) -> None:
        world.policy.answers["step"] = wanting()
        mission_id = await waiting(world, mission(step("a", kind="acting", batches=[[write()]], output=1)))
        await decide(world)
        await world.settled()
        await assert_same(world, mission_id)

    story(tell)


def test_bounds_that_were_narrowed_while_effects_waited_are_those_of_the_next_run() -> None:
    """Neither of the run before, nor forgotten."""

    async def tell(world: World) -> None:
        world.policy.answers["effect"] = lambda asked: wanting() if asked["effect"]["index"] == 1 else YES
        world.policy.answers["step"] = lambda _: (
            replace(YES, constraints={"fuel_max": 1_000}) if len(world.sandbox.runs) > 1 else YES
        )
        form = mission(
            step("a", kind="guarded", batches=[[write("x")], [write("y"), write("z")], [write("q")]], output=1)
        )
        mission_id = await waiting(world, form)
        await decide(world)
        await world.settled()
        await assert_same(world, mission_id)
        assert [limits.fuel_max for _, _, limits in world.sandbox.runs][2:] == [1_000, 999]

    story(tell)


@pytest.mark.parametrize("refused", ["step", "effect"])
def test_a_batch_that_was_refused_after_the_wait_is_refused_again(refused: str) -> None:
    """Nothing of it was performed, and the replay says so with the same code."""

    async def tell(world: World) -> None:
        world.policy.answers["effect"] = lambda asked: wanting() if asked["effect"]["index"] == 1 else YES
        mission_id = await waiting(world, mission(step("a", kind="acting", batches=[[write("x"), write("y")]])))
        no = Decision(allow=False, bundle=BUNDLE, reasons=())
        if refused == "step":
            world.policy.answers["step"] = no
        else:
            answered = world.policy.answers["effect"]
            world.policy.answers["effect"] = lambda asked: (
                no if asked["effect"]["index"] == 0 and asked["approval"] is None else answered(asked)  # type: ignore[operator]
            )
        await decide(world)
        await world.settled()
        assert world.performer.performed == []
        await assert_same(world, mission_id)

    story(tell)


def test_a_denied_effect_is_denied_again() -> None:
    """With the code that the log has."""

    async def tell(world: World) -> None:
        world.policy.answers["effect"] = wanting()
        mission_id = await waiting(world, mission(step("a", kind="acting", batches=[[write("x")]])))
        await decide(world, approve=False)
        await world.settled()
        await assert_same(world, mission_id)

    story(tell)


def test_a_step_that_was_refused_while_it_was_held_never_ran() -> None:
    """Which proves nothing either way."""

    async def tell(world: World) -> None:
        world.policy.answers["step"] = wanting()
        mission_id = await waiting(world, mission(step("a")))
        await decide(world, approve=False)
        await world.settled()
        [found] = await replay(world, mission_id)
        assert found.verdict is Verdict.NOT_REPRODUCIBLE
        assert "approval.denied" in found.message

    story(tell)

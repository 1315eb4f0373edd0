"""A tenant that feeds hooks until they give up: what follows for its next mission, and for everybody else's."""

from typing import Any

from engine.result import MissionState
from gateway.errors import SandboxError
from tests.placed import screen
from tests.virtual_time import run
from tests.worlds import World, mission, step

LATE = SandboxError("late", code="constraint.timeout_exceeded")


def test_a_screen_that_fails_open_cannot_be_switched_off() -> None:
    """Documents that are too much for it are passed over, one by one; what it can judge, it judges all the same."""
    world = World(placed=(screen("s", on_violation="open"),), violations_max=3)
    answers: list[Any] = []

    def answer(_: Any) -> Any:
        if not answers:
            raise LATE
        return answers[0]

    world.sandbox.hooks["s@1.0.0"] = answer

    async def main() -> None:
        for number in range(world.violations_max + 1):
            heavy = await world.run(mission(step("a")), f"heavy-{number}")
            assert heavy.state is MissionState.COMPLETED
        answers.append({"verdict": "deny"})
        evil = await world.run(mission(step("a")), "evil")
        assert evil.result["step_results"]["a"]["error"]["code"] == "screen.s.denied"

    run(main())

"""The engine as a library: the example runs, and the documentation shows the code that runs."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import engine
from engine.values import JsonValue

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLE = ROOT / "examples" / "engine_library.py"


def test_the_example_runs() -> None:
    """It prints what became of each step: references resolved, a tolerated failure, a Partial mission."""
    printed = subprocess.run([sys.executable, str(EXAMPLE)], capture_output=True, check=True, text=True, cwd=ROOT)
    assert printed.stdout.splitlines() == [
        "weather-report: Partial",
        "  oslo    Completed  {'degrees': -4}",
        "  rome    Completed  {'degrees': 12}",
        "  mars    Failed     there is no instrument on Mars",
        "  report  Completed  {'degrees': [-4, 12], 'mars': None, 'title': 'Degrees in C'}",
    ]
    assert printed.stderr == ""


def test_the_documentation_shows_the_example() -> None:
    """The code that docs/engine.md quotes stands in the example, line by line."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "engine.md").read_text(), re.DOTALL)
    example = {line.strip() for line in EXAMPLE.read_text().splitlines()}
    assert len(blocks) == 3
    for block in blocks[:2]:
        assert [line for line in block.splitlines() if line.strip() not in example] == []


def test_a_run_is_controlled_as_documented() -> None:
    """The third block of the documentation: states, cancellation, result."""

    class Waits:
        async def run_step(self, _step: engine.MissionStep, _attempt: engine.StepAttempt) -> JsonValue:
            await asyncio.Event().wait()
            return None

    async def main() -> engine.MissionResult:
        data = b'{"version":"1.0","name":"m","steps":[{"id":"a","name":"a","step_type":"wait","parameters":{}}]}'
        plan = engine.load_mission(data, limits=engine.MissionLimits(), step_types={"wait"})
        context = engine.ExecutionContext.of(plan.mission)
        run = engine.MissionRun(plan, context, Waits(), engine.SilentObserver(), engine.SystemClock(), "id")
        task = asyncio.create_task(run.execute())
        await asyncio.sleep(0.01)
        assert run.step_state("a") is engine.StepState.EXECUTING
        assert run.cancel(engine.StepFailure(code="mission.cancelled", message="asked for"))
        return await task

    result = asyncio.run(main())
    assert result.state is engine.MissionState.CANCELLED
    assert result.document()["step_results"]["a"]["error"]["code"] == "mission.cancelled"

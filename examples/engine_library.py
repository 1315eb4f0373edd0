"""The engine as a library: a mission from YAML, steps in Python, no gateway.

Run it: `python examples/engine_library.py`
"""

import asyncio
from collections.abc import Awaitable, Callable

import engine

MISSION = b"""
version: "1.0"
name: weather-report
config: {fail_fast: false, parallel_limit: 4}
variables: {unit: C}
steps:
  - {id: oslo,   name: Measure in Oslo,  step_type: measure, parameters: {place: Oslo}}
  - {id: rome,   name: Measure in Rome,  step_type: measure, parameters: {place: Rome}, timeout_seconds: 2}
  - {id: mars,   name: Measure on Mars,  step_type: measure, parameters: {place: Mars}, continue_on_error: true}
  - id: report
    name: Write the report
    step_type: report
    depends_on: [oslo, rome, mars]
    parameters:
      degrees: ["${steps.oslo.output.degrees}", "${steps.rome.output.degrees}"]
      mars: "${steps.mars.output}"
      title: "Degrees in ${variables.unit}"
"""

Operation = Callable[[engine.JsonObject], Awaitable[engine.JsonValue]]


async def measure(parameters: engine.JsonObject) -> engine.JsonValue:
    """Pretend to ask an instrument."""
    await asyncio.sleep(0.01)
    degrees = {"Oslo": -4, "Rome": 12}.get(str(parameters["place"]))
    if degrees is None:
        raise engine.StepError(f"there is no instrument on {parameters['place']}", code="measure.nowhere")
    return {"degrees": degrees}


async def report(parameters: engine.JsonObject) -> engine.JsonValue:
    """Put what the other steps found into one object."""
    return dict(parameters)


class PythonSteps:
    """Runs each step type as a function of its resolved parameters."""

    def __init__(self, plan: engine.Plan, operations: dict[str, Operation]) -> None:
        self._plan = plan
        self._operations = operations

    async def run_step(self, step: engine.MissionStep, attempt: engine.StepAttempt) -> engine.JsonValue:
        """Run one step; the scheduler decides when."""
        parameters = engine.resolved_parameters(self._plan, step, attempt)
        return await self._operations[step.step_type](parameters)


async def main() -> None:
    """Load the mission, run it, and print what became of it."""
    operations: dict[str, Operation] = {"measure": measure, "report": report}
    plan = engine.load_mission(MISSION, limits=engine.MissionLimits(), step_types=operations)
    result = await engine.run_mission(plan, PythonSteps(plan, operations))
    print(f"{plan.mission.name}: {result.overall_status}")
    for step_id, step in result.step_results.items():
        print(f"  {step_id:<8}{step.status:<11}{step.error.message if step.error else step.output}")


if __name__ == "__main__":
    asyncio.run(main())

"""What the log has to say so that a mission can be replayed: digests of inputs, and every limit of a run."""

import hashlib
from typing import Any

from gateway.errors import EffectError
from tests.placed import rewrite
from tests.subjects import commitments_of
from tests.virtual_time import run
from tests.worlds import World, mission, step, write


async def ran(world: World, *steps: Any, **fields: Any) -> World:
    await world.run(mission(*steps, **fields))
    return world


def test_a_verdict_names_the_parameters_and_all_bounds() -> None:
    """The digest is that of what the module is given, with references resolved and rewritten."""

    async def main() -> None:
        world = World(placed=(rewrite("r", settings={"k": 1}),))
        world.sandbox.hooks["r@1.0.0"] = lambda asked: {"parameters": {**asked["parameters"], "more": 1}}
        await ran(world, step("a", output="${variables.v}"), variables={"v": [1]})
        [(_, given, constraints)] = world.sandbox.runs
        [allowed] = world.log.of("step.allowed")
        assert given["parameters"] == {"output": [1], "more": 1}
        committed = await commitments_of(world.store, allowed.target.partition("/")[0])
        assert allowed.details["parameters"] == committed.of(given["parameters"])
        bounds = ("fuel_max", "memory_bytes_max", "output_bytes_max")
        assert {name: allowed.details[name] for name in bounds} == {name: getattr(constraints, name) for name in bounds}
        [entry] = allowed.details["rewrites"]
        [(_, asked, limits)] = world.sandbox.hook_runs
        assert entry["settings"] == "sha256:" + hashlib.sha256(b'{"k":1}').hexdigest()
        assert (entry["taint"], entry["fuel_max"]) == (asked["taint"], limits.fuel_max)

    run(main())


def test_an_effect_names_its_arguments_and_a_failure_what_was_told() -> None:
    """The verdict about an effect does, not only its intent; a failure that ends the step says that it does."""

    async def main() -> None:
        world = World()
        world.faults.put("effects.perform", EffectError("no", code="effect.no"), 0)
        world.faults.put("effects.perform", EffectError("bad", code="effect.bad", violation=True), 1)
        form = (step("a", kind="acting", batches=[[write("a")]], continue_on_error=True),
                step("b", "a", kind="acting", batches=[[write("b")]]))  # fmt: skip
        await ran(world, *form)
        allowed, intended = world.log.of("effect.allowed"), world.log.of("effect.intended")
        assert [each.details["args"] for each in allowed] == [each.details["args"] for each in intended]
        committed = await commitments_of(world.store, allowed[0].target.partition("/")[0])
        assert allowed[0].details["args"] == committed.of(write("a")["args"])
        told, stopped = (each.details for each in world.log.of("effect.failed"))
        assert told["entry"] == committed.of({"error": {"code": "effect.no", "message": "no"}})
        assert ("violation" in told, stopped["violation"]) == (False, True)

    run(main())

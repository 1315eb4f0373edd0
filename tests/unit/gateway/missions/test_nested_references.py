"""What a step that runs a mission brings into its document stays text there."""

from tests.worlds import KINDS, World, kind_of, mission, step


async def test_a_value_is_no_reference_of_the_sub_mission() -> None:
    """A kind that may run missions gets values escaped for the second parse; any other kind gets them as they are."""
    world = World()
    kinds = {**KINDS, "nesting": kind_of("nesting", ["mission.run"])}
    world.pipeline._kinds = kinds
    world.admission._kinds = kinds
    world.admission._effects = {name: kind.hook.effects for name, kind in kinds.items()}
    texts = {"own": "$${variables.x}", "brought": "${variables.hostile}"}
    view = await world.run(
        mission(
            step("plain", **texts),
            step("nested", "plain", kind="nesting", **texts),
            variables={"hostile": "${secrets.K}"},
        )
    )
    assert view.result["overall_status"] == "Success", view.result
    seen = {run["step"]["id"]: run["parameters"] for _, run, _ in world.sandbox.runs}
    assert seen["plain"] == {"own": "${variables.x}", "brought": "${secrets.K}"}
    assert seen["nested"] == {"own": "${variables.x}", "brought": "$${secrets.K}"}

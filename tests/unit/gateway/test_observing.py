"""Observers: shown what was allowed and what came out, sampled, and never in anybody's way."""

import asyncio
from typing import Any

import pytest

from engine.audit.errors import AuditUnavailableError
from engine.result import MissionState
from gateway.errors import SandboxError
from gateway.hookset import Subject
from gateway.observing import RUNNING_MAX, WAITING_BYTES_MAX, Observers
from gateway.stages import Given
from tests.placed import observer, rewrite, screen
from tests.virtual_time import run
from tests.worlds import World, hang, mission, step

GIVEN = Given("2026-01-31T12:00:00.000000Z", "0" * 32)


def seen(world: World) -> list[Any]:
    return [document for key, document, _ in world.sandbox.hook_runs if key.startswith("o@")]


async def ended(world: World, form: Any) -> Any:
    """Run a mission, then close the observers as a gateway that stops does."""
    view = await world.run(form)
    await world.observers.close(5)
    world.laws_hold()
    return view


def answering(world: World, answer: Any = None) -> World:
    world.sandbox.hooks["o@1.0.0"] = lambda _: {} if answer is None else answer
    return world


@pytest.mark.parametrize(("at", "field"), [("mission", {"steps": 1}), ("step", {"output": [1]}), ("output", [2])])
def test_an_observer_sees_what_was_allowed_and_what_came_out(at: str, field: Any) -> None:
    """A mission's summary, a step's document, an output as it is stored."""
    world = answering(World(placed=(observer("o", at, settings={"n": 1}), rewrite("r", "output"))))
    world.sandbox.hooks["r@1.0.0"] = lambda _: {"output": [2]}
    run(ended(world, mission(step("a", output=[1]))))
    [document] = seen(world)
    assert (document["kind"], document["at"], document["settings"]) == ("observe", at, {"n": 1})
    found = {"mission": document.get("mission"), "step": document.get("parameters"), "output": document.get("output")}[
        at
    ]
    assert (field.items() <= found.items()) if isinstance(field, dict) else (found == field)
    assert world.observers.counts == {"ended": 1}


def test_what_was_refused_is_not_shown() -> None:
    """A refusal is in the log; an observer is for what happens."""
    world = answering(World(placed=(observer("o", "step"), observer("p", "output"), screen("s"))))
    world.sandbox.hooks["s@1.0.0"] = lambda _: {"verdict": "deny"}
    run(ended(world, mission(step("a"))))
    assert seen(world) == []


@pytest.mark.parametrize(
    ("rate", "chance", "shown"),
    [(0, 0.0, 0), (0, 0.999, 0), (1, 0.999, 1), (1, 0.0, 1), (0.25, 0.249, 1), (0.25, 0.25, 0)],
)
def test_sampling_is_certain_at_its_ends(rate: float, chance: float, shown: int) -> None:
    """0 shows nothing and 1 everything, whatever the generator says; between them it decides."""
    world = answering(World(placed=(observer("o", sampling_rate=rate),), chance=chance))
    run(ended(world, mission(step("a"))))
    assert len(seen(world)) == shown
    assert world.observers.counts["sampled_out"] == 1 - shown
    counted = world.held.document()["rules"]["o@1.0.0"]
    assert (counted["runs"], counted["sampled_out"]) == (shown, 1 - shown)


@pytest.mark.parametrize("at", ["mission", "step", "output"])
@pytest.mark.parametrize(
    "fault",
    [
        SandboxError("spent", code="constraint.cpu_exceeded"),
        RuntimeError("a bug"),
        asyncio.CancelledError(),
        b"nonsense",
        {"error": {"code": "found", "message": "m"}},
        {"error": {"code": "Found!", "message": "m"}},
        "hangs",
    ],
    ids=repr,
)
def test_whatever_an_observer_does_changes_nothing(at: str, fault: Any) -> None:
    """It fails, lies, crashes, hangs: the mission ends as without it, in the same time, with the same events of it."""

    def misbehave(_: Any) -> Any:
        if isinstance(fault, BaseException):
            raise fault
        return fault

    async def main(world: World) -> tuple[Any, float, list[str]]:
        begun = asyncio.get_running_loop().time()
        if fault == "hangs":
            world.faults.put(f"hook.observe.{at}", hang)
        view = await world.run(mission(step("a"), step("b", "a")))
        spent = asyncio.get_running_loop().time() - begun
        await world.observers.close(1)
        return view, spent, [kind for kind in world.log.types() if kind != "hook.failed_open"]

    plain = run(main(World()))
    world = answering(World(placed=(observer("o", at),)))
    world.sandbox.hooks["o@1.0.0"] = misbehave
    watched = run(main(world))
    assert watched[0].state is plain[0].state is MissionState.COMPLETED
    assert watched[1:] == plain[1:]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"error": {"code": "found", "message": "secret"}}, "observe.o.found"),
        ({"error": {"code": "Found!", "message": "secret"}}, "sandbox.output_invalid"),
    ],
)
def test_what_an_observer_reports_is_recorded_by_its_code(answer: Any, code: str) -> None:
    """In the observer's name, once a minute, with how often; the message is not."""
    world = answering(World(placed=(observer("o"),)), answer)
    run(ended(world, mission(step("a"), step("b"), step("c"))))
    events = world.log.of("hook.failed_open")
    assert [event.details["code"] for event in events] == [code, code]  # at once, and what was left at the end
    assert [event.details["failed"] for event in events] == [1, 2]
    assert "secret" not in str(events)


def test_a_flood_is_dropped_and_counted() -> None:
    """What waits is bounded in number and in bytes; the rest is not shown, and the log says how much that was."""

    async def main() -> None:
        world = answering(World(placed=(observer("o"),)))
        world.faults.put("hook.observe.output", hang)
        observers = Observers(world.held.runs, world.failures, waiting_max=10)
        hooks, subject = world.hooks.current, observer_subject()
        for _ in range(50):
            observers.observe(hooks, "output", subject, lambda: b'{"output":1}', GIVEN, "acme")
            await asyncio.sleep(0)
        assert observers.counts["dropped"] == 50 - RUNNING_MAX - 10
        await observers.close(1)
        assert observers.counts["dropped"] == 50 - RUNNING_MAX
        assert sum(event.details["dropped"] for event in world.log.of("hook.failed_open")) == 50 - RUNNING_MAX

        large = Observers(world.held.runs, world.failures)
        large.observe(
            hooks, "output", subject, lambda: b'{"output":"' + b"x" * WAITING_BYTES_MAX + b'"}', GIVEN, "acme"
        )
        assert large.counts == {"dropped": 1}
        await large.close(1)

    run(main())


def observer_subject() -> Any:
    return Subject(step_types=frozenset({"pure"}), labels={})


def test_a_gateway_that_stops_shows_what_waits_and_no_more() -> None:
    """Within its time; what comes after it has closed is dropped, and closing twice is no error."""

    async def main() -> None:
        world = answering(World(placed=(observer("o"),)))
        await world.run(mission(*(step(f"s{n}") for n in range(20))))
        await world.observers.close(5)
        assert len(seen(world)) == 20
        world.observers.observe(
            world.hooks.current, "output", observer_subject(), lambda: b'{"output":1}', GIVEN, "acme"
        )
        assert world.observers.counts == {"ended": 20, "dropped": 1}
        await world.observers.close(5)

    run(main())


def test_a_log_that_takes_nothing_does_not_stop_an_observer() -> None:
    """The count waits for a log that does; the mission has long ended."""

    async def main() -> None:
        world = answering(World(placed=(observer("o"),)), b"nonsense")
        world.sandbox.hooks["o@1.0.0"] = lambda _: {"error": {"code": "found", "message": "m"}}
        world.faults.put("audit.append:hook.failed_open", AuditUnavailableError("full"))
        assert (await world.run(mission(step("a")))).state is MissionState.COMPLETED
        await world.observers.close(1)
        assert world.log.of("hook.failed_open") == []
        world.faults.plan.clear()
        world.failures.flush()
        [event] = world.log.of("hook.failed_open")
        assert event.details["failed"] == 1

    run(main())

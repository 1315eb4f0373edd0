"""What a replay says of a mission of the fake world when something is not as it was."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gateway.errors import ConflictError, NotFoundError, SandboxError, SecretError
from gateway.replay.outcome import DifferenceFound, Reason, StepOutcome, Verdict
from gateway.replay.replayer import Replayer
from gateway.sandbox.port import RunReport
from gateway.sandbox.version import EngineVersion
from tests.payload_keys import resealed
from tests.replay_worlds import ENGINE, WorldModules, replay, trace_of
from tests.virtual_time import run
from tests.worlds import World, mission, step, write

FORM = mission(
    step("a", kind="acting", batches=[[write("a"), write("b")]], output={"k": 1}),
    step("b", "a", output=["${steps.a.output.k}", "${variables.v}"]),
    step("each", output="${item}", foreach={"items": [1, 2]}),
    variables={"v": 1},
)


def outcomes_of(change: Callable[[World, str], object], form: Any = FORM, **parts: Any) -> dict[str, StepOutcome]:
    """Run a mission, change something, and return by step what a replay says."""
    found: dict[str, StepOutcome] = {}

    async def main() -> None:
        world = World()
        view = await world.run(form)
        change(world, view.mission_id)
        made = {name: part(world) for name, part in parts.items()}
        found.update({each.step_id: each for each in await replay(world, view.mission_id, **made)})

    run(main())
    return found


def sql(text: str, *values: object) -> Callable[[World, str], object]:
    return lambda world, mission_id: world.store.connection.execute(resealed(text), (*values, mission_id))


def reasons(found: dict[str, StepOutcome]) -> dict[str, str]:
    return {step_id: str(each.reason) for step_id, each in found.items() if each.verdict is Verdict.DIFFERS}


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("UPDATE step_results SET output = ? WHERE step_id = 'b' AND mission_id = ?", b"[1,2]", {"b": "output"}),
        ("UPDATE step_results SET output = ? WHERE step_id = 'a' AND mission_id = ?", b'{"k":2}',
         {"a": "output", "b": "input"}),
        ("UPDATE step_results SET output = ? WHERE step_id = 'a' AND mission_id = ?", b"{}",
         {"a": "output", "b": "input"}),
        ("UPDATE step_results SET output = ? WHERE step_id = 'each' AND mission_id = ?", b"[1,3]", {"each": "output"}),
        ("UPDATE effects SET entry = ? WHERE idx = 1 AND mission_id = ?", b'{"ok":{"done":"x"}}', {"a": "journal"}),
        ("UPDATE effects SET entry = ? WHERE idx = 1 AND mission_id = ?", b"{", {"a": "journal"}),
        ("UPDATE effects SET entry = ? WHERE idx = 0 AND mission_id = ?", b'{"error":{"code":"x","message":"y"}}',
         {"a": "journal"}),
        ("UPDATE mission_documents SET document = ? WHERE mission_id = ?", b"no mission", {"": "input"}),
    ],
)  # fmt: skip
def test_each_change_of_the_records_has_its_reason(text: str, value: bytes, expected: dict[str, str]) -> None:
    """And concerns the steps that it concerns."""
    assert reasons(outcomes_of(sql(text, value))) == expected


class Answering(WorldModules):
    """Answers something else than the recorded module."""

    answer: bytes | Exception = b""

    async def run(self, *_: object) -> RunReport:
        if isinstance(self.answer, Exception):
            raise self.answer
        return RunReport(self.answer, fuel_used=1, memory_bytes=1, wall_us=1)


def answering(answer: bytes | Exception) -> Callable[[World], Answering]:
    def make(world: World) -> Answering:
        modules = Answering(world)
        modules.answer = answer
        return modules

    return make


WRITE = b'{"op":"file.write","args":{"path":"a","content":"x"}}'


@pytest.mark.parametrize(
    ("answer", "reason", "message"),
    [
        (b'{"output":{"k":2}}', None, "does not ask for file.write"),
        (b'{"effects":[%b]}' % WRITE, Reason.EFFECTS, "a round asks for 1 effects, and the log has 2"),
        (b'{"effects":[%b,%b]}' % (WRITE, WRITE), Reason.EFFECTS, "other arguments"),
        (b'{"effects":[{"op":"http.request","args":{}}]}', Reason.EFFECTS, "is http.request, and not the file.write"),
        (b"no JSON", None, "does not ask for file.write"),
        (DifferenceFound(Reason.MODULE, "gone", recorded="s"), Reason.MODULE, "gone"),
        (SandboxError("slow", code="constraint.timeout_exceeded"), None, "says nothing of then"),
        (SandboxError("fuel", code="constraint.cpu_exceeded"), Reason.EFFECTS, "does not ask"),
    ],
)
def test_a_module_that_answers_otherwise_is_found_out(answer: Any, reason: Reason | None, message: str) -> None:
    """Other effects, fewer, other arguments, another end: or this machine that ends it, which proves nothing."""
    found = outcomes_of(lambda *_: None, modules=answering(answer))["a"]
    assert message in found.message
    if isinstance(answer, SandboxError) and answer.code == "constraint.timeout_exceeded":
        assert found.verdict is Verdict.NOT_REPRODUCIBLE
    else:
        assert found.verdict is Verdict.DIFFERS
        assert found.reason is (reason or Reason.EFFECTS)


def test_of_a_fan_out_the_item_is_named() -> None:
    """With both digests."""
    found = outcomes_of(lambda *_: None, modules=answering(b'{"output":1}'))["each"]
    assert (found.reason, found.item) == (Reason.OUTPUT, 1)
    assert found.recorded != found.replayed != ""


def test_another_version_of_the_engine_explains_a_difference_and_nothing_else() -> None:
    """The same output is the same under any version."""

    def started(world: World, _mission_id: str) -> None:
        first = world.log.events[0]
        details = {"engine": {"wasmtime": "0.9", "abi": 1}}
        world.log.events.insert(0, replace(first, event_type="gateway.started", target="gateway", details=details))
        world.log.size += 1

    found = outcomes_of(started, modules=answering(b'{"output":1}'))
    assert (found["b"].reason, found["a"].reason) == (Reason.ENGINE, Reason.ENGINE)
    assert "ran with wasmtime 0.9, ABI 1, and this is wasmtime 1.0.0, ABI 1" in found["b"].message
    assert {each.verdict for each in outcomes_of(started).values()} == {Verdict.SAME}
    assert EngineVersion("0.9", 1) != ENGINE


def test_what_is_no_function_of_its_input_is_not_judged() -> None:
    """A step that met the wall, was refused, or never ran says which."""

    async def main() -> None:
        world = World()
        world.faults.put("sandbox.run", SandboxError("late", code="constraint.timeout_exceeded"), 0)
        form = mission(step("a"), step("b", "a"), step("c", kind="acting", batches=[[write("../x")]]),
                       config={"fail_fast": False, "strategy": "sequential"})  # fmt: skip
        view = await world.run(form)
        said = {each.step_id: each for each in await replay(world, view.mission_id)}
        assert said["a"].message == "it ended with constraint.timeout_exceeded, which is no function of its inputs"
        assert said["b"].message.startswith("it never ran: ")
        assert {each.verdict for each in said.values()} <= {Verdict.NOT_REPRODUCIBLE, Verdict.SAME}

    run(main())


def test_a_refused_effect_ends_the_replay_where_it_ended_the_step() -> None:
    """With the same code; nothing behind it is asked for."""

    def change(*_: object) -> None:
        """Change nothing."""

    form = mission(step("a", kind="acting", batches=[[write("a")], [{"op": "timer.sleep", "args": {"ms": 1}}]]))
    found = outcomes_of(change, form)
    assert (found["a"].verdict, found["a"].rounds) == (Verdict.SAME, 2)


def test_only_named_steps_are_replayed_and_unknown_ones_refused() -> None:
    """So is a mission of which the log knows nothing."""

    async def main() -> None:
        world = World()
        view = await world.run(FORM)
        replayer = Replayer(records=world.store, modules=WorldModules(world), handles=None, engine=ENGINE)
        trace = trace_of(world, view.mission_id)
        assert [each.step_id async for each in replayer.replay(trace, ["b"])] == ["b"]
        with pytest.raises(NotFoundError, match="no step 'x'"):
            [each async for each in replayer.replay(trace, ["x"])]
        world.log.size = 0
        with pytest.raises(NotFoundError) as refused:
            [each async for each in replayer.replay(trace_of(world, view.mission_id))]
        assert refused.value.code == "mission.not_recorded"

    run(main())


def test_a_mission_that_was_deleted_is_told_from_one_that_never_was() -> None:
    """The log has its digests still."""

    async def main() -> None:
        world = World()
        view = await world.run(FORM)
        world.log.append("mission.pruned", actor="g", target="missions", details={"missions": [view.mission_id]})
        world.log.size = len(world.log.events)
        world.store.connection.execute("UPDATE missions SET pruned = 1, request_id = NULL")
        with pytest.raises(NotFoundError) as refused:
            await replay(world, view.mission_id)
        assert refused.value.code == "mission.pruned"
        with pytest.raises(NotFoundError) as refused:
            await replay(world, "never")
        assert refused.value.code == "mission.not_found"

    run(main())


@pytest.mark.parametrize("handles", [None, SecretError("gone", code="secret.unknown")])
def test_without_the_vault_a_step_with_secrets_is_not_judged(handles: Any) -> None:
    """Its handles are made with a key of the vault: no key, no parameters."""

    class Refusing:
        def handles(self, *_: object) -> dict[str, str]:
            raise handles

    form = mission(step("a", output="plain"))

    async def main() -> None:
        world = World()
        view = await world.run(form)
        document = await world.store.get_document(view.mission_id)
        world.store.connection.execute(
            resealed("UPDATE mission_documents SET document = ?"),
            (document.replace(b'"plain"', b'"${secrets.TOKEN}"'),),
        )
        [about, said] = await replay(world, view.mission_id, handles=Refusing() if handles else None)
        assert (about.step_id, said.verdict) == ("", Verdict.NOT_REPRODUCIBLE)
        assert said.message.startswith("it uses secrets, and")

    run(main())


def test_records_that_mean_nothing_are_refused_or_differ() -> None:
    """Bytes that are no JSON, or bottomless: never a traceback, and never the same."""
    deep = b"[" * 300 + b"]" * 300
    assert reasons(outcomes_of(sql("UPDATE step_results SET output = ? WHERE step_id = 'b' AND mission_id = ?", deep)))
    entry = b'{"ok":' + deep + b"}"
    found = outcomes_of(sql("UPDATE effects SET entry = ? WHERE idx = 0 AND mission_id = ?", entry))
    assert reasons(found) == {"a": "journal"}
    with pytest.raises(ConflictError) as refused:
        outcomes_of(sql("UPDATE step_results SET output = ? WHERE step_id = 'b' AND mission_id = ?", b"{"))
    assert refused.value.code == "mission.damaged"
    hollow = sql("UPDATE mission_documents SET document = ? WHERE mission_id = ?", b'{"steps":[{"step_type":{}}]}')
    assert reasons(outcomes_of(hollow)) == {"": "input"}


def test_a_log_of_an_earlier_version_is_not_judged() -> None:
    """It has no digest of the parameters."""

    def earlier(world: World, _mission_id: str) -> None:
        for at, event in enumerate(world.log.events):
            details = {name: value for name, value in event.details.items() if name != "parameters"}
            world.log.events[at] = replace(event, details=details)

    assert {each.verdict for each in outcomes_of(earlier).values()} == {Verdict.NOT_REPRODUCIBLE}

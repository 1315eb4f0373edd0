"""The execution context: bounded, JSON only, and independent of what steps do to their values."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from engine.context import ContextState, ExecutionContext
from engine.errors import FaultError, StepError
from engine.mission import Mission, MissionLimits, MissionStep
from engine.values import JsonValue


def active(**limits: int) -> ExecutionContext:
    context = ExecutionContext(MissionLimits(**limits))
    context.initialize({}, {})
    context.activate()
    return context


def test_its_life_has_four_states_in_order() -> None:
    """Created, Initialized, Active, Archived, and no other way."""
    context = ExecutionContext()
    seen = [context.state]
    for advance in (lambda: context.initialize({"a": 1}, {"user": "u"}), context.activate, context.archive):
        advance()
        seen.append(context.state)
    assert seen == list(ContextState)


@pytest.mark.parametrize("advance", ["initialize", "activate", "archive"])
def test_no_state_comes_twice(advance: str) -> None:
    """A context that serves one execution cannot be made to serve another."""
    context = active()
    context.archive()
    with pytest.raises(FaultError) as refused:
        context.initialize({}, {}) if advance == "initialize" else getattr(context, advance)()
    assert refused.value.code == "context.state"


def test_it_takes_the_variables_of_its_mission() -> None:
    """`of` gives an Initialized context that shares nothing with the mission."""
    variables = {"a": {"b": [1, 2]}}
    step = MissionStep(id="s", name="s", step_type="t")
    context = ExecutionContext.of(Mission(name="m", steps=(step,), variables=variables), metadata={"user": "u"})
    variables["a"]["b"].append(3)
    assert context.state is ContextState.INITIALIZED
    assert context.variables == {"a": {"b": [1, 2]}}
    assert context.metadata == {"user": "u"}


def test_variables_must_be_json() -> None:
    """A variable that has no JSON form is refused when the context is initialized."""
    with pytest.raises(FaultError) as refused:
        ExecutionContext().initialize({"a": float("nan")}, {})
    assert refused.value.code == "context.invalid"


@pytest.mark.parametrize("state", ["before", "after"])
def test_outputs_are_taken_only_while_a_mission_runs(state: str) -> None:
    """Neither an Initialized nor an Archived context changes."""
    context = ExecutionContext()
    context.initialize({}, {})
    if state == "after":
        context.activate()
        context.archive()
    with pytest.raises(FaultError):
        context.store_output("a", 1)
    assert dict(context.step_outputs) == {}


@pytest.mark.parametrize(
    "output",
    [
        None,
        True,
        0,
        -(2**63),
        2**63 - 1,
        1.5,
        "",
        "é\U0001f600",
        [],
        {},
        {"a": [None, {"b": "c"}]},
        (1, (2,), {"a": ()}),
    ],
)
def test_json_is_kept_as_it_is(output: JsonValue) -> None:
    """Every JSON value comes back equal; a tuple comes back as the array that it is in JSON."""
    context = active()
    kept = context.store_output("a", output)
    assert context.step_outputs["a"] == kept
    if output == (1, (2,), {"a": ()}):
        assert kept == [1, [2], {"a": []}]
    else:
        assert kept == output
        assert type(kept) is type(output)


@dataclass
class Record:
    a: int


circle: list[object] = []
circle.append(circle)
deep: list[object] = []
for _ in range(255):
    deep = [deep]


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ({"a": [1, float("nan")]}, "$.a[1]"),
        ({"a": (1, float("inf"))}, "$.a[1]"),
        ({"id": uuid.UUID(int=1)}, "$.id"),
        ({1: 2}, "key"),
        (2**64, "Integer"),
        ("\ud800", "UTF-8"),
        (b"bytes", "bytes"),
        ({1, 2}, "set"),
        (datetime(2026, 1, 1, tzinfo=UTC), "datetime"),
        (Record(1), "Record"),
        (circle, "Recursion"),
        (deep, "Recursion"),
        ({"k" * 5_000: float("nan")}, "kkk"),
    ],
)
def test_what_is_not_json_is_refused(output: JsonValue, says: str) -> None:
    """Nothing is turned into JSON by a rule that the step did not ask for; the refusal says where, briefly."""
    context = active()
    with pytest.raises(StepError) as refused:
        context.store_output("a", output)
    assert refused.value.code == "context.output_invalid"
    assert says in refused.value.message
    assert len(refused.value.message) < 400
    assert "a" not in context.step_outputs
    assert context.bytes_used == 0


def test_a_kept_output_shares_nothing_with_the_step() -> None:
    """A step that goes on changing what it returned changes nothing here."""
    context = active()
    output = {"list": [1]}
    context.store_output("a", output)
    output["list"].append(2)
    assert context.step_outputs["a"] == {"list": [1]}


def test_an_output_over_its_limit_is_refused_whole() -> None:
    """`output_bytes_max` counts bytes of compact JSON: exactly that many are kept, one more is refused."""
    context = active(output_bytes_max=10)
    context.store_output("fits", "é" * 4)
    with pytest.raises(StepError) as refused:
        context.store_output("over", "é" * 4 + "x")
    assert refused.value.code == "context.output_too_large"
    assert dict(context.step_outputs) == {"fits": "éééé"}


def test_all_outputs_together_are_bounded() -> None:
    """`context_bytes_max` bounds the sum; what was refused is not counted, and what still fits is kept."""
    context = active(output_bytes_max=10, context_bytes_max=25)
    context.store_output("a", "x" * 8)
    context.store_output("b", "x" * 8)
    with pytest.raises(StepError) as refused:
        context.store_output("c", "x" * 8)
    assert refused.value.code == "context.full"
    context.store_output("d", "xxx")
    assert context.bytes_used == 25


def test_outputs_cannot_be_written_through_the_view() -> None:
    """`step_outputs` is for reading."""
    context = active()
    with pytest.raises(TypeError):
        context.step_outputs["a"] = 1  # type: ignore[index]


def _of(**variables: JsonValue) -> ExecutionContext:
    step = MissionStep(id="s", name="s", step_type="t")
    mission = Mission(name="m", steps=(step,), variables={"kept": [1], "given": 0})
    return ExecutionContext.of(mission, variables=variables, metadata={"user": "u"})


def test_variables_can_be_given_over_those_of_the_mission() -> None:
    """`of` takes them; what is not given stays."""
    assert _of(given=5, new=6).variables == {"kept": [1], "given": 5, "new": 6}


def test_a_fork_shares_what_it_does_not_change() -> None:
    """Values are the same objects, metadata too; what is given lies over them, for the fork alone."""
    parent = _of()
    fork = parent.fork({"given": [2]})
    assert fork.variables == {"kept": [1], "given": [2]}
    assert parent.variables == {"kept": [1], "given": 0}
    assert fork.variables["kept"] is parent.variables["kept"]
    assert fork.metadata == {"user": "u"}
    assert fork.state is ContextState.INITIALIZED


def test_a_fork_has_the_outputs_that_were_there_and_neither_sees_what_comes_after() -> None:
    """Outputs are shared by value, in both directions nothing leaks, and both count them."""
    parent = _of()
    parent.activate()
    parent.store_output("a", [1])
    fork = parent.fork()
    fork.activate()
    fork.store_output("b", 2)
    parent.store_output("c", 3)
    assert dict(fork.step_outputs) == {"a": [1], "b": 2}
    assert dict(parent.step_outputs) == {"a": [1], "c": 3}
    assert fork.step_outputs["a"] is parent.step_outputs["a"]
    assert fork.bytes_used == parent.bytes_used == len(b"[1]") + 1
    parent.archive()
    assert dict(parent.fork().step_outputs) == {"a": [1], "c": 3}


def test_a_fork_takes_nothing_that_is_no_json() -> None:
    """What is given to it is copied and checked, and a context without data has nothing to share."""
    mine: list[JsonValue] = [1]
    fork = _of().fork({"given": mine})
    mine.append(2)
    assert fork.variables["given"] == [1]
    with pytest.raises(FaultError) as refused:
        _of().fork({"given": float("nan")})
    assert refused.value.code == "context.invalid"
    with pytest.raises(FaultError) as early:
        ExecutionContext().fork()
    assert early.value.code == "context.state"

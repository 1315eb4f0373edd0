"""The log of a mission, read into its last attempts."""

from typing import Any

from gateway.replay.trace import AttemptTrace, LogEvent, MissionTrace
from gateway.sandbox.version import EngineVersion

M = "m-1"


def traced(*events: tuple[str, str, dict[str, Any]]) -> MissionTrace:
    """Return the trace of events, given as type, place and details."""
    trace = MissionTrace(M)
    for kind, place, details in events:
        trace.take(LogEvent(kind, place if place.startswith("=") else f"{M}/{place}" if place else M, details))
    return trace


def allowed(place: str, **details: Any) -> tuple[str, str, dict[str, Any]]:
    return "step.allowed", place, details


def by_place(trace: MissionTrace) -> dict[tuple[str, int | None], AttemptTrace]:
    return {(step_id, item): each for step_id, items in trace.attempts.items() for item, each in items.items()}


def asked(place: str, index: int, op: str = "file.write", **details: Any) -> tuple[str, str, dict[str, Any]]:
    return "effect.allowed", place, {"index": index, "op": op, "args": f"args{index}", **details}


def test_of_each_step_and_item_the_last_attempt_counts() -> None:
    """A retry replaces what was before; another step, another item and another mission do not."""
    trace = traced(allowed("a", n=1), allowed("b[0]", n=2), allowed("b[1]", n=3), allowed("a", n=4))
    trace.take(LogEvent("step.allowed", "m-2/a", {"n": 5}))
    assert {key: each.verdict.details["n"] for key, each in by_place(trace).items()} == {
        ("a", None): 4, ("b", 0): 2, ("b", 1): 3,
    }  # fmt: skip
    assert trace.events == 4


def test_rounds_are_told_apart_by_what_came_of_effects() -> None:
    """A batch is a round; after an error the places of those that were forgotten are asked for anew."""
    trace = traced(
        allowed("a"), asked("a", 0), asked("a", 1),
        ("effect.intended", "a", {}), ("effect.intended", "a", {}),
        ("effect.failed", "a", {"op": "file.write", "code": "effect.no"}),
        ("effect.failed", "a", {"op": "file.write", "code": "effect.not_performed"}),
        asked("a", 1, "http.request"),
        ("effect.replayed", "a", {"op": "http.request", "entry": "d"}),
    )  # fmt: skip
    attempt = trace.attempts["a"][None]
    assert [[each.op for each in one] for one in attempt.rounds] == [["file.write", "file.write"], ["http.request"]]
    assert [told.details["op"] for told in attempt.told] == ["file.write", "http.request"]


def test_verdicts_after_a_wait_belong_to_their_attempt() -> None:
    """They say what is left from there on, or where it ended."""
    trace = traced(
        allowed("a"), asked("a", 0, "timer.sleep"), asked("a", 1),
        ("effect.performed", "a", {"op": "timer.sleep"}),
        ("step.allowed", "a", {"again": True, "fuel_max": 7}),
        asked("a", 1, again=True),
        ("effect.refused", "a", {"index": 2, "op": "x", "again": True, "code": "site.no"}),
    )  # fmt: skip
    attempt = trace.attempts["a"][None]
    assert attempt.again[1].details["fuel_max"] == 7
    assert (len(attempt.rounds), attempt.refused_later) == (1, {2: "site.no"})


def test_a_kill_cuts_what_had_not_ended() -> None:
    """What had ended stands; the attempts of the next execution take the place of all before, items too."""
    events = [allowed("a"), ("step.ended", "a", {"status": "Completed"}), allowed("b[0]"), allowed("b[1]"),
              ("mission.resumed", "", {"mission": "d2"})]  # fmt: skip
    trace = traced(*events)
    assert {key: each.cut for key, each in by_place(trace).items()} == {
        ("a", None): False, ("b", 0): True, ("b", 1): True,
    }  # fmt: skip
    assert trace.mission_digest == "d2"
    assert set(by_place(traced(*events, allowed("b[1]", n=1)))) == {("a", None), ("b", 1)}


def test_what_was_kept_and_what_was_skipped_are_ends() -> None:
    """A step of which the log lost the end has it from `mission.steps_kept`; one that never ran has its code."""
    kept = {"steps": [{"id": "a", "status": "Completed", "output": "d"},
                      {"id": "b", "status": "Skipped", "output": "n", "code": "step.condition_false"}]}  # fmt: skip
    trace = traced(
        ("mission.steps_kept", "", kept), ("step.skipped", "", {"steps": ["c"], "code": "mission.cancelled"})
    )
    assert set(trace.ends) == {"a"}
    assert trace.skipped == {"b": "step.condition_false", "c": "mission.cancelled"}
    retried = traced(("step.skipped", "", {"steps": ["c"], "code": "x"}), allowed("c"))
    assert retried.skipped == {}


def test_each_attempt_knows_the_engine_of_its_process() -> None:
    """`gateway.started` names it, whoever it is about."""
    trace = MissionTrace(M)
    for version in ("1.0", "2.0"):
        trace.take(LogEvent("gateway.started", "gateway", {"engine": {"wasmtime": version, "abi": 1}}))
        trace.take(LogEvent("step.allowed", f"{M}/{'a' if version == '1.0' else 'b'}", {}))
    assert [each.engine for each in by_place(trace).values()] == [EngineVersion("1.0", 1), EngineVersion("2.0", 1)]

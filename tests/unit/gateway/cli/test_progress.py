"""What a watcher knows of a mission from its events."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clock import rfc3339
from gateway.cli.progress import Progress, note_of
from tests.fakes import MOMENT

FAILURE = {"code": "effect.connect_failed", "message": "no connection"}
TOLD = "no connection  [effect.connect_failed]"


def event(kind: str, step_id: str = "", *, at: float = 0, **details: Any) -> dict[str, Any]:
    moment = MOMENT + timedelta(seconds=at)
    return {"index": 0, "timestamp": rfc3339(moment), "kind": kind, "step_id": step_id, "details": details}


def chain(*ids: str) -> Progress:
    """Return the progress of a mission whose steps wait for each other."""
    steps = [
        {"id": each, "step_type": "transform", "depends_on": list(ids[at - 1 : at])} for at, each in enumerate(ids)
    ]
    view = {"name": "m", "mission_id": "m-1", "steps_total": len(ids), "mission": {"steps": steps}}
    return Progress(view)


def told(progress: Progress, *events: dict[str, Any]) -> Progress:
    for each in events:
        progress.apply(each)
    return progress


def states(progress: Progress) -> dict[str, str]:
    return {step.step_id: step.state for step in progress.steps.values()}


def test_a_mission_begins_with_every_step_pending() -> None:
    """In the order of the document, with kinds and levels."""
    progress = chain("a", "b", "c")
    assert states(progress) == dict.fromkeys("abc", "Pending")
    assert [(step.kind, step.level) for step in progress.steps.values()] == [("transform", n) for n in range(3)]
    assert (progress.state, progress.steps_ended) == ("Validated", 0)


def test_steps_go_through_their_states() -> None:
    """Executing, then the outcome with its time; the end of the mission is its state."""
    progress = told(chain("a", "b", "c"), event("mission.executing"), event("step.executing", "a"))
    assert (progress.state, states(progress)["a"], progress.steps["a"].attempts) == ("Executing", "Executing", 1)
    told(
        progress,
        event("step.completed", "a", duration_ms=1500, status="Completed"),
        event("step.executing", "b"),
        event("step.failed", "b", duration_ms=5, status="Failed", error=FAILURE),
        event("step.skipped", "c", duration_ms=0, status="Skipped", error={"code": "step.x", "message": "m"}),
        event("mission.failed", status="Failed"),
    )
    assert states(progress) == {"a": "Completed", "b": "Failed", "c": "Skipped"}
    assert progress.steps["a"].duration_ms == 1500
    assert progress.steps["b"].note == "effect.connect_failed: no connection"
    assert (progress.state, progress.ended, progress.steps_ended) == ("Failed", True, 3)


def test_a_retry_is_waited_for_until_its_time() -> None:
    """No event tells that the next attempt begins: the delay does."""
    progress = told(
        chain("a"), event("step.executing", "a"), event("step.retrying", "a", attempt=1, delay_ms=2_000, error=FAILURE)
    )
    step = progress.steps["a"]
    assert (step.state_at(MOMENT + timedelta(seconds=1)), step.attempts) == ("Retrying", 2)
    assert step.state_at(MOMENT + timedelta(seconds=2)) == "Executing"
    assert step.note == "again in 2 s, effect.connect_failed: no connection"


def test_a_fan_out_counts_its_items() -> None:
    """How many of how many, and how many failed; an item that is tried again does not stop the others."""
    progress = told(
        chain("a"),
        event("step.executing", "a"),
        event("step.item", "a", item=1, total=100, status="Completed"),
        event("step.retrying", "a", item=2, attempt=1, delay_ms=1_000, error=FAILURE),
    )
    assert progress.steps["a"].state == "Executing"
    told(progress, event("step.item", "a", item=0, total=100, status="Failed"))
    assert progress.steps["a"].note == "2/100, 1 failed"
    told(progress, event("step.completed", "a", duration_ms=1, status="Completed"))
    assert progress.steps["a"].note == "2/100, 1 failed"


def test_who_is_waited_for_is_known_until_the_step_goes_on() -> None:
    """One approval a step, or one an item; the outcome, or the item's end, takes it away."""
    asked = {"for": "approval", "approval_id": "x", "message": "Publish?"}
    progress = told(chain("a", "b"), event("step.executing", "a"), event("step.waiting", "a", **asked))
    assert states(progress)["a"] == "Waiting"
    assert [(step.step_id, details["approval_id"]) for step, details in progress.approvals] == [("a", "x")]
    told(progress, event("step.completed", "a", duration_ms=1, status="Completed"), event("step.executing", "b"))
    assert progress.approvals == []
    told(progress, *(event("step.waiting", "b", **asked, item=item) for item in (0, 1)))
    assert (len(progress.approvals), progress.steps["b"].note) == (2, "for 2 approvals")
    told(progress, event("step.item", "b", item=0, total=2, status="Completed"))
    assert (states(progress)["b"], len(progress.approvals)) == ("Waiting", 1)
    told(progress, event("step.waited", "b", **{"for": "approval"}, item=1, state="approved"))
    assert (states(progress)["b"], progress.steps["b"].note, progress.approvals) == ("Executing", "approved", [])
    told(progress, event("step.waiting", "b", **{"for": "mission"}, mission_id="m-2"))
    assert progress.steps["b"].note == "for mission m-2"
    told(progress, event("step.waited", "b", **{"for": "mission"}, mission_id="m-2", state="Completed"))
    assert (states(progress)["b"], progress.steps["b"].note) == ("Executing", "mission m-2 is Completed")


def test_pauses_and_waits_of_the_mission_are_flags() -> None:
    """They come and go while its state stays."""
    progress = told(chain("a"), event("mission.waiting", **{"for": "concurrency_key"}))
    assert progress.waits_for == "concurrency_key"
    told(progress, event("mission.executing"), event("mission.paused"))
    assert (progress.waits_for, progress.paused, progress.state) == ("", True, "Executing")
    assert not told(progress, event("mission.unpaused")).paused
    assert told(progress, event("mission.stopping", error=FAILURE)).stopping
    told(progress, event("mission.cancelled", status="Failed"))
    assert (progress.stopping, progress.state) == (False, "Cancelled")


def test_a_retried_mission_keeps_what_is_completed() -> None:
    """And what its condition skipped; all else is Pending again, and the run is the next."""
    unmet = {"code": "step.condition_false", "message": "m"}
    progress = told(
        chain("a", "b", "c", "d"),
        event("mission.executing"),
        event("step.completed", "a", status="Completed"),
        event("step.skipped", "b", status="Skipped", error=unmet),
        event("step.failed", "c", status="Failed", error=FAILURE),
        event("step.skipped", "d", status="Skipped", error={"code": "step.dependency_failed", "message": "m"}),
        event("mission.failed", status="Failed"),
        event("mission.retried"),
    )
    assert states(progress) == {"a": "Completed", "b": "Skipped", "c": "Pending", "d": "Pending"}
    assert (progress.run, progress.ended, progress.steps["c"].note) == (2, False, "")


def test_a_run_counts_its_own_tries() -> None:
    """As its result will: those of the run before are over, and what is kept has its own."""
    failed = event("step.failed", "b", status="Failed", error=FAILURE)
    began = [event("step.executing", each) for each in ("a", "b")]
    progress = told(chain("a", "b"), *began, event("step.completed", "a", status="Completed"), failed)
    told(progress, event("mission.failed", status="Failed"), event("mission.retried"), event("step.executing", "b"))
    assert [step.attempts for step in progress.steps.values()] == [1, 1]


def test_a_restarted_gateway_begins_what_ran_again() -> None:
    """What was Executing is Pending; attempts go on counting."""
    progress = told(chain("a"), event("step.executing", "a"), event("mission.resumed"))
    assert states(progress) == {"a": "Pending"}
    assert told(progress, event("step.executing", "a")).steps["a"].attempts == 2


def test_a_restarted_level_has_no_outcomes() -> None:
    """Its steps alone are Pending again."""
    done = [event("step.completed", each, status="Completed") for each in ("a", "b")]
    progress = told(chain("a", "b"), *done, event("mission.level_restarting", level=1, error=FAILURE))
    assert states(progress) == {"a": "Completed", "b": "Pending"}


def test_steps_of_an_unknown_mission_are_learnt_from_events() -> None:
    """A gateway that does not give the document still has a table; what is not known yet is counted as pending."""
    progress = Progress({"name": "m", "mission_id": "m-1", "steps_total": 3})
    told(progress, event("step.executing", "late"), event("something.new"), event("step.new", "late"))
    assert states(progress) == {"late": "Executing"}
    assert progress.counts["Pending"] == 2


@pytest.mark.parametrize(
    ("kind", "details", "note"),
    [
        ("step.retrying", {"delay_ms": 500, "error": FAILURE}, f"again in 0.5 s: {TOLD}"),
        ("step.retrying", {"delay_ms": 500, "item": 3, "error": FAILURE}, f"item 3 again in 0.5 s: {TOLD}"),
        ("step.item", {"item": 3, "total": 9, "status": "Failed"}, "3 of 9: Failed"),
        ("step.waiting", {"for": "approval", "message": "Publish?"}, "for approval: Publish?"),
        ("step.waiting", {"for": "mission", "mission_id": "m-2"}, "for mission m-2"),
        ("mission.waiting", {"for": "concurrency_key"}, "for concurrency key"),
        ("step.executing", {}, ""),
    ],
)  # fmt: skip
def test_an_event_in_a_line_says_what_it_has_to_say(kind: str, details: dict[str, Any], note: str) -> None:
    """For watchers without a table."""
    assert note_of(event(kind, "a", **details)) == note


KINDS = st.sampled_from(["executing", "completed", "failed", "skipped", "retrying", "waiting", "item"])


@given(st.lists(st.tuples(KINDS, st.sampled_from("abcx")), max_size=40))
def test_counts_agree_with_the_steps_whatever_comes(happenings: list[tuple[str, str]]) -> None:
    """In any order of events, also impossible ones, and of steps that the document does not have."""
    progress = chain("a", "b", "c")
    for kind, step_id in happenings:
        progress.apply(event(f"step.{kind}", step_id, item=0, total=2, status="Failed", attempt=1, delay_ms=1))
    for state in set(states(progress).values()) - {"Pending"}:
        assert progress.counts[state] == list(states(progress).values()).count(state)
    assert sum(progress.counts.values()) == 3

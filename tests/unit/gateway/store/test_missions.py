"""Missions that are parts of others, that pause, that go on after a restart, and that begin anew."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from engine.result import StepState
from gateway.errors import ConflictError, NotFoundError, StoreError
from gateway.missions.ports import MissionFacts
from gateway.store.records import NewMission
from gateway.store.store import Store
from tests.unit.gateway.store.store_worlds import START, approval, effect, ending, fill, mission, part, step


async def code_of(call: Any) -> str:
    with pytest.raises((ConflictError, NotFoundError, StoreError)) as refused:
        await call
    code: str = refused.value.code
    return code


# --- trees ---


async def test_whose_mission_it_is_survives(store: Store) -> None:
    """Roles in their order and anonymity are read back: a gateway that restarts goes on in the submitter's name."""
    await store.create_mission(mission("m", roles=("submitter", "lead", "ü"), anonymous=True))
    record = await store.get_mission("m")
    assert (record.roles, record.anonymous, record.run, record.paused) == (("submitter", "lead", "ü"), True, 1, False)
    facts: MissionFacts = record  # approvals and sub-missions read it as this
    assert (facts.parent_id, facts.root_id, facts.depth) == (None, "m", 0)


async def test_a_part_knows_its_tree(store: Store) -> None:
    """Parents give their children in the order of admission, one level deep."""
    await store.create_mission(mission("root"))
    await store.create_mission(part("b", "root", "root"))
    await store.create_mission(part("a", "root", "root"))
    await store.create_mission(part("leaf", "b", "root", depth=2))
    assert [m.id for m in await store.children("root")] == ["b", "a"]
    (leaf,) = await store.children("b")
    assert (leaf.parent_id, leaf.root_id, leaf.depth) == ("b", "root", 2)
    assert await store.children("leaf") == await store.children("no") == ()


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (part("x", "no", "root"), "mission.not_found"),
        (part("x", "child", "root", depth=1), "store.constraint"),
        (part("x", "child", "child", depth=2), "store.constraint"),
        (part("x", "root", "root", tenant="u"), "store.constraint"),
        (mission("x", parent_id="root", depth=1), "store.constraint"),
        (mission("x", root_id="root"), "store.constraint"),
        (mission("x", depth=1), "store.constraint"),
    ],
    ids=["no parent", "depth", "root", "tenant", "part without root", "root of another", "deep root"],
)
async def test_a_part_is_where_its_parent_says(store: Store, wrong: NewMission, code: str) -> None:
    """What prune deletes as a whole must be one: a mission in a wrong place is not recorded."""
    await store.create_mission(mission("root"))
    await store.create_mission(part("child", "root", "root"))
    assert await code_of(store.create_mission(wrong)) == code
    assert await code_of(store.get_mission("x")) == "mission.not_found"


async def test_an_ended_mission_gets_no_parts(store: Store) -> None:
    """A part that comes after the end is refused, and one that was there is found by its request all the same."""
    await store.create_mission(mission("root"))
    first = await store.create_mission(part("child", "root", "root"))
    await store.finish_mission(ending("root"))
    assert await code_of(store.create_mission(part("late", "root", "root"))) == "mission.ended"
    again = await store.create_mission(part("again", "root", "root", request_id="r-child"))
    assert (again.created, again.mission) == (False, first.mission)


async def test_unfinished_missions_come_parents_first(store: Store) -> None:
    """Of every tenant, oldest first; what has ended is none of them, what began anew is."""
    for new in (
        mission("a"),
        mission("b", tenant="u"),
        part("a1", "a", "a"),
        mission("c"),
        part("b1", "b", "b", tenant="u"),
    ):
        await store.create_mission(new)
    await store.mark_executing("a")
    for name in ("b", "c"):
        await store.finish_mission(ending(name))
    await store.reopen_mission("b")
    assert [m.id for m in await store.unfinished()] == ["a", "b", "a1", "b1"]


# --- pause, restart, retry ---


async def test_a_pause_lasts_until_it_ends(store: Store) -> None:
    """It is remembered over a restart of the mission, told twice or not, and ends with the mission."""
    await store.create_mission(mission("m"))
    for paused in (True, True, False, True):
        await store.set_paused("m", paused)
        assert (await store.get_mission("m")).paused is paused
    await store.mark_executing("m")
    assert (await store.get_mission("m")).paused
    await store.finish_mission(ending("m"))
    assert not (await store.get_mission("m")).paused
    assert await code_of(store.set_paused("m", True)) == "mission.state"
    assert await code_of(store.set_paused("no", True)) == "mission.not_found"


async def test_a_mission_that_goes_on_began_when_it_began(store: Store) -> None:
    """Marking it again after a restart changes nothing."""
    await store.create_mission(mission("m"))
    await store.mark_executing("m")
    before = await store.get_mission("m")
    await store.mark_executing("m")
    assert await store.get_mission("m") == before
    assert before.started_at == START + timedelta(seconds=2)
    assert await code_of(store.mark_executing("no")) == "mission.state"


async def test_a_mission_begins_anew_with_what_stays_true(store: Store) -> None:
    """Completed steps and those whose condition was false keep their results; the end is gone, the run is counted."""
    await store.create_mission(mission("m", roles=("submitter",)))
    new = await store.get_mission("m")
    await store.mark_executing("m")
    await fill(store, "m")
    others: Mapping[str, tuple[StepState, str]] = {
        "failed": (StepState.FAILED, "step.failed"),
        "skipped": (StepState.SKIPPED, "step.dependency_failed"),
        "false": (StepState.SKIPPED, "step.condition_false"),
        "odd": (StepState.FAILED, "step.condition_false"),
    }
    last = [step(name, *how) for name, how in others.items()]
    await store.finish_mission(ending("m"), step_results=last, audit_summary=b"{}")

    again = await store.reopen_mission("m")
    assert again == await store.get_mission("m")
    assert again.run == 2
    assert {n: getattr(again, n) for n in again.__slots__ if n != "run"} == {
        n: getattr(new, n) for n in new.__slots__ if n != "run"
    }
    assert [r.step_id for r in await store.step_results("m")] == ["s0", "s1", "false"]
    assert len(await store.events("m", 0)) == 2
    assert len(await store.effects("m", "s", None)) == 2
    assert len(await store.list_approvals("t", "m", pending_only=False)) == 2

    await store.mark_executing("m")
    assert (await store.get_mission("m")).started_at is not None
    await store.finish_mission(ending("m"), step_results=[step("failed"), step("skipped"), step("odd")])
    assert (await store.reopen_mission("m")).run == 3


@pytest.mark.parametrize("begun", [False, True])
async def test_only_an_ended_mission_begins_anew(store: Store, begun: bool) -> None:
    """One that waits or runs is left alone, results included."""
    await store.create_mission(mission("m"))
    if begun:
        await store.mark_executing("m")
    await store.save_step_results("m", [step("a", StepState.FAILED)])
    before = await store.get_mission("m")
    assert await code_of(store.reopen_mission("m")) == "mission.state"
    assert await code_of(store.reopen_mission("no")) == "mission.not_found"
    assert await store.get_mission("m") == before
    assert len(await store.step_results("m")) == 1


async def test_attempts_are_counted_and_events_follow_each_other(store: Store) -> None:
    """How often a step was begun is read back, and the number of events is the index of the next."""
    await store.create_mission(mission("m"))
    await store.save_step_results("m", [step("a", attempts=3), step("b")])
    assert [r.attempts for r in await store.step_results("m")] == [3, 0]
    assert await store.events("m", 0) == await store.events("no", 0) == ()
    await store.append_events("m", 0, [b"0", b"1"])
    await store.append_events("m", len(await store.events("m", 0)), [b"2"])
    assert [event.index for event in await store.events("m", 0)] == [0, 1, 2]


async def test_what_was_kept_of_an_effect_or_approval_needs_a_mission(store: Store) -> None:
    """Neither is recorded for a mission that is not there."""
    assert await code_of(store.create_approval(approval("a", "no"))) == "mission.not_found"
    assert await code_of(store.intend_effects("no", [effect(0)])) == "mission.state"


async def test_what_policy_calls_a_mission_is_kept(store: Store) -> None:
    """The last decision's labels stand; one that is not there has none."""
    await store.create_mission(mission("m"))
    assert (await store.get_mission("m")).decision_labels == {}
    await store.set_decision_labels("m", {"risk": "high"})
    await store.set_decision_labels("m", {"risk": "accepted"})
    assert (await store.get_mission("m")).decision_labels == {"risk": "accepted"}
    with pytest.raises(NotFoundError):
        await store.set_decision_labels("n", {})

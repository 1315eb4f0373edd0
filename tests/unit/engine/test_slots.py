import asyncio
from collections import deque
from collections.abc import Callable

import pytest

from engine.errors import FaultError
from engine.result import MissionState
from engine.scheduler import MissionRun
from engine.slots import SharedSlots, SlotMember
from tests.schedules import ScriptedRunner, plan_of, run_of, sleeps
from tests.virtual_time import run


class Later:
    """The part of an event loop that slots need, turned by hand."""

    def __init__(self) -> None:
        self.calls: deque[Callable[[], None]] = deque()

    def turn(self) -> None:
        while self.calls:
            self.calls.popleft()()


class World:
    """Places, and a record of who was woken."""

    def __init__(self, limit: int, **options: int) -> None:
        self.later = Later()
        self.slots = SharedSlots(limit, call_soon=self.later.calls.append, **options)
        self.woken: list[str] = []

    def member(self, name: str, tenant: str = "t", priority: int = 5) -> SlotMember:
        return self.slots.member(tenant, priority, lambda: self.woken.append(name))

    def drain(self, holder: SlotMember, **waiting: SlotMember) -> list[str]:
        """Let one place go round, and return in which order it was given."""
        given: list[str] = []
        holder.give_back()
        while True:
            self.later.turn()
            if not (fresh := self.woken[len(given) :]):
                return given
            given += fresh
            for name in fresh:
                assert waiting[name].take()
                waiting[name].give_back()


def test_there_is_at_least_one_place() -> None:
    """Without one, everybody would wait for ever."""
    with pytest.raises(ValueError, match="at least one"):
        SharedSlots(0)


def test_a_free_place_is_taken_at_once_and_no_more_than_the_limit() -> None:
    """Who is refused is woken later, once, and then has the place."""
    world = World(2)
    first, second = world.member("first"), world.member("second")
    assert first.take()
    assert first.take()
    assert not second.take()
    assert not second.take()
    first.give_back()
    assert world.woken == []
    assert not second.take(), "the place is on its way"
    world.later.turn()
    assert world.woken == ["second"]
    assert second.take()
    assert (first.held, second.held, world.slots.held) == (1, 1, 2)


def test_a_place_that_is_granted_counts_before_it_is_taken() -> None:
    """Nobody takes it meanwhile, and the member may take it long after."""
    world = World(1)
    first, second, third = (world.member(name) for name in ("first", "second", "third"))
    assert first.take()
    assert not second.take()
    first.give_back()
    assert world.slots.held == 1
    assert not third.take()
    world.later.turn()
    assert not third.take()
    assert second.take()


def test_the_tenant_that_holds_fewest_is_served_first() -> None:
    """However many of another's members wait, and whatever their priority."""
    world = World(4)
    big, small = world.member("big", "big", 9), world.member("small", "small", 0)
    for taker in (small, big, big, big):
        assert taker.take()
    assert not big.take()
    assert not small.take()
    big.give_back()
    world.later.turn()
    assert world.woken == ["small"]
    assert small.take()
    assert not small.take()
    small.give_back()
    world.later.turn()
    assert world.woken == ["small", "small"], "one place against two"
    assert small.take()
    assert not small.take()
    big.give_back()
    world.later.turn()
    assert world.woken == ["small", "small", "big"]


def test_within_a_tenant_the_highest_priority_goes_first_then_who_waited_first() -> None:
    """Priorities of different tenants are not compared."""
    world = World(1)
    holder = world.member("holder")
    assert holder.take()
    waiting = {
        "low": world.member("low", priority=1),
        "early": world.member("early", priority=7),
        "late": world.member("late", priority=7),
    }
    for each in waiting.values():
        assert not each.take()
    assert world.drain(holder, **waiting) == ["early", "late", "low"]


def test_tenants_take_turns() -> None:
    """Where all hold nothing, a tenant of many members gets no more than one of a single member."""
    world = World(1)
    holder = world.member("holder", "other")
    assert holder.take()
    waiting = {name: world.member(name, name[0]) for name in ("a1", "a2", "a3", "b1", "c1")}
    for each in waiting.values():
        assert not each.take()
    assert world.drain(holder, **waiting) == ["a1", "b1", "c1", "a2", "a3"]


def test_of_equal_tenants_the_one_served_longest_ago_goes_first() -> None:
    """Not the one that asked first: to ask early is no merit of who was served a moment ago."""
    world = World(1)
    older, newer = world.member("older", "older"), world.member("newer", "newer")
    holder = world.member("holder", "other")
    for each in (older, newer):
        assert each.take()
        each.give_back()
    assert holder.take()
    assert not newer.take()
    assert not older.take()
    assert world.drain(holder, older=older, newer=newer) == ["older", "newer"]


def test_a_tenant_that_comes_back_does_not_overtake_those_that_wait() -> None:
    """To forget a tenant with its last member must not make it the one served longest ago."""
    world = World(1)
    holder, patient = world.member("holder", "other"), world.member("patient", "patient")
    assert patient.take()
    patient.give_back()
    assert holder.take()
    assert not patient.take()
    newcomer = world.member("newcomer", "newcomer")
    assert not newcomer.take()
    assert world.drain(holder, patient=patient, newcomer=newcomer) == ["patient", "newcomer"]


def test_closing_frees_what_is_held_granted_and_waited_for() -> None:
    """Nothing is lost with a member, and it is woken no more."""
    world = World(2)
    holder, granted, waiting, last = (world.member(n) for n in ("holder", "granted", "waiting", "last"))
    assert holder.take()
    assert holder.take()
    for each in (granted, waiting, last):
        assert not each.take()
    holder.give_back()
    waiting.close()
    granted.close()
    world.later.turn()
    assert world.woken == ["last"]
    holder.close()
    holder.close()
    holder.give_back()
    assert last.take()
    last.close()
    assert world.slots.held == 0
    assert world.slots._tenants == {}


def test_a_closed_member_and_an_empty_one_are_told_so() -> None:
    """Places are never made of nothing."""
    world = World(1)
    member = world.member("m")
    with pytest.raises(FaultError) as raised:
        member.give_back()
    assert raised.value.code == "slots.not_held"
    member.close()
    with pytest.raises(FaultError) as raised:
        member.take()
    assert raised.value.code == "slots.closed"


def test_the_number_of_members_has_a_maximum() -> None:
    """A place among them is free again when one is closed."""
    world = World(1, members_max=1)
    member = world.member("m")
    with pytest.raises(FaultError) as raised:
        world.member("n")
    assert raised.value.code == "slots.too_many"
    member.close()
    world.member("n")


async def test_a_wake_that_fails_harms_nobody_else() -> None:
    """By default the running loop calls it, so that an error of one run is not raised in another."""
    slots = SharedSlots(1)
    heard: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: heard.append(context))

    def fail() -> None:
        raise ValueError("no")

    holder, broken = slots.member("t", 5, list), slots.member("t", 5, fail)
    assert holder.take()
    assert not broken.take()
    holder.give_back()
    await asyncio.sleep(0)
    assert len(heard) == 1
    assert broken.take()


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_missions_that_share_places_all_end_and_never_run_more_steps_than_there_are(limit: int) -> None:
    """The scheduler and the places keep each other's promises."""
    running = [0, 0]

    async def main() -> None:
        slots = SharedSlots(limit)

        async def mission(tenant: str) -> MissionState:
            async def act(_step: object) -> None:
                running[0] += 1
                running[1] = max(running)
                await asyncio.sleep(1.0)
                running[0] -= 1

            plan = plan_of({f"s{n}": [] for n in range(4)})
            member = slots.member(tenant, 5, lambda: this.wake())  # noqa: PLW0108 - made below
            this = run_of(plan, ScriptedRunner(dict.fromkeys((f"s{n}" for n in range(4)), act)), slots=member)
            return (await this.execute()).state

        states = await asyncio.gather(*(mission(tenant) for tenant in "aab"))
        assert states == [MissionState.COMPLETED] * 3
        assert slots.held == 0

    run(main())
    assert running == [0, limit]


def test_places_left_over_by_a_run_go_on_to_the_others() -> None:
    """A run that is woken and needs nothing passes the place on."""

    async def main() -> None:
        slots = SharedSlots(1)
        outer = slots.member("x", 5, list)
        assert outer.take()
        plan = plan_of({"a": []})
        runner = ScriptedRunner({"a": sleeps(1.0)})
        runs: list[MissionRun] = []
        runs.append(run_of(plan, runner, slots=slots.member("a", 5, lambda: runs[0].wake())))  # noqa: PLW0108 - made here
        runs.append(run_of(plan, runner, slots=slots.member("b", 5, lambda: runs[1].wake())))  # noqa: PLW0108
        first, second = runs
        tasks = [asyncio.create_task(each.execute()) for each in (first, second)]
        await asyncio.sleep(1.0)
        first.pause()
        outer.give_back()
        assert (await tasks[1]).state is MissionState.COMPLETED
        first.resume()
        assert (await tasks[0]).state is MissionState.COMPLETED

    run(main())

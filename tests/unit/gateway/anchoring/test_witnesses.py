import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from engine.audit.witness import SIZE_TYPE, cosigned_by
from gateway.anchoring.alarms import Alarms
from gateway.anchoring.witnesses import Member, Witnesses
from tests.anchored import MemoryLog, after
from tests.cosigning import Cosigner, FakeWitness, answer
from tests.virtual_time import LoopClock, run


@dataclass
class World:
    """Witnesses that follow a log of 5 events, in virtual time."""

    log: MemoryLog
    fakes: Sequence[FakeWitness]
    witnesses: Witnesses

    def accepted_names(self) -> list[tuple[int, set[str]]]:
        keys = [fake.cosigner.key for fake in self.fakes]
        return [(size, set(cosigned_by(note, keys))) for size, note in self.log.accepted]


def fakes(count: int) -> list[FakeWitness]:
    return [FakeWitness(Cosigner(f"w{number}")) for number in range(1, count + 1)]


def follow(
    body: Callable[[World], Awaitable[object]],
    witnesses: Sequence[FakeWitness],
    *,
    required: int = 1,
    log: MemoryLog | None = None,
    **settings: Any,
) -> World:
    """Run `body` beside witnesses that follow a log; return what there is then."""
    worlds = []

    async def main() -> None:
        held = log or MemoryLog(size=5)
        members = [Member(key=fake.cosigner.key, port=fake) for fake in witnesses]
        following = Witnesses(
            held, members, required=required, alarms=Alarms(held), clock=LoopClock(), chance=lambda: 1.0, **settings
        )
        world = World(held, witnesses, following)
        worlds.append(world)
        task = asyncio.create_task(following.run())
        await asyncio.sleep(0)
        await body(world)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    run(main())
    return worlds[0]


async def a_while(world: World) -> None:
    del world
    await asyncio.sleep(1)


def test_a_checkpoint_is_cosigned_and_the_log_has_it() -> None:
    """Quorum 2 of 2: the note has the log's signature and both cosignatures."""
    world = follow(a_while, fakes(2), required=2)
    assert world.accepted_names() == [(5, {"w1", "w2"})]
    assert world.log.accepted[0][1].startswith(world.log.checkpoint())
    assert world.witnesses.size == 5


def test_a_witness_is_asked_from_the_size_that_it_has() -> None:
    """First from nothing on, then from what it has confirmed; nothing is asked twice."""

    async def grows(world: World) -> None:
        await asyncio.sleep(1)
        world.log.grow(3)
        await asyncio.sleep(1)

    world = follow(grows, fakes(1))
    assert world.fakes[0].asked == [(0, 5), (5, 8)]
    assert [size for size, _ in world.log.accepted] == [5, 8]


def test_a_known_witness_is_told_no_old_story() -> None:
    """After a restart the sizes come from the last cosigned checkpoint; a witness that is further says so by 409."""
    first = follow(a_while, fakes(2), required=2)
    first.fakes[0].asked.clear()
    first.fakes[1].asked.clear()
    ahead = first.fakes[1]

    async def grows(world: World) -> None:
        world.log.grow(4)
        await asyncio.sleep(1)

    log = MemoryLog(size=5, held=first.log.held)
    follow(a_while, [ahead], log=MemoryLog(size=7))
    ahead.asked.clear()
    world = follow(grows, first.fakes, required=2, log=log)
    assert first.fakes[0].asked[0] == (5, 9)
    assert ahead.asked == [(5, 9), (7, 9)]
    assert world.accepted_names() == [(9, {"w1", "w2"})]
    assert log.refused == []


def test_a_dead_witness_holds_up_nobody() -> None:
    """Quorum 2 of 3: each checkpoint is accepted as soon as the two have it, while the third hangs."""
    three = fakes(3)
    three[2].wait = after(1_000)

    async def grows(world: World) -> None:
        for _ in range(4):
            await asyncio.sleep(1)
            world.log.grow()
        await asyncio.sleep(1)

    world = follow(grows, three, required=2)
    assert [size for size, _ in world.log.accepted] == [5, 6, 7, 8, 9]
    assert three[2].asked == []


def test_a_quorum_that_is_not_there_accepts_nothing_and_comes_back() -> None:
    """Quorum 2 of 2, one dead: nothing is accepted; when it is back, the newest checkpoint of both is."""
    two = fakes(2)
    two[1].down = True

    async def goes_and_comes(world: World) -> None:
        for _ in range(3):
            await asyncio.sleep(10)
            world.log.grow()
        assert world.log.accepted == []
        two[1].down = False
        await asyncio.sleep(10)

    world = follow(goes_and_comes, two, required=2, backoff_seconds_max=4.0)
    assert world.accepted_names()[-1] == (8, {"w1", "w2"})
    assert two[0].asked == [(0, 5), (5, 6), (6, 7), (7, 8)]
    assert two[1].asked == [(0, 8)]


def test_only_one_checkpoint_counts_together() -> None:
    """Two witnesses of unlike speed, under load: every note that is accepted has a quorum of its own."""
    two = fakes(2)
    two[0].wait, two[1].wait = after(0.01), after(0.07)

    async def load(world: World) -> None:
        for _ in range(100):
            world.log.grow()
            await asyncio.sleep(0.01)
        await asyncio.sleep(1)

    world = follow(load, two, required=2)
    assert {len(names) for _, names in world.accepted_names()} == {2}
    assert world.accepted_names()[-1][0] == 105
    assert 10 < len(world.log.accepted) < 30
    assert [fake.running_max for fake in two] == [1, 1]


def test_a_late_cosignature_is_added() -> None:
    """Quorum 1 of 2: the second one's comes to the note that was accepted with the first one's."""
    two = fakes(2)
    two[1].wait = after(0.5)
    world = follow(a_while, two)
    assert world.accepted_names() == [(5, {"w1"}), (5, {"w1", "w2"})]


def test_a_failing_witness_is_asked_less_and_less() -> None:
    """0.25 s, doubled each time, up to the maximum; health says why, and since when."""
    one = fakes(1)
    one[0].down = True
    tries: list[float] = []

    async def counted() -> None:
        tries.append(asyncio.get_running_loop().time())

    one[0].wait = counted

    async def look(world: World) -> None:
        await asyncio.sleep(20)
        (standing,) = world.witnesses.standings()
        assert (standing.error, standing.size, standing.lag, standing.alarm) == ("no connection", 0, 5, "")
        assert standing.error_at is not None

    follow(look, one, backoff_seconds_max=4.0)
    assert [round(each, 2) for each in tries] == [0.0, 0.25, 0.75, 1.75, 3.75, 7.75, 11.75, 15.75, 19.75]


def test_a_pause_bounds_the_rate() -> None:
    """With a pause of a second a busy log costs a witness one request a second, for the newest each time."""
    one = fakes(1)

    async def load(world: World) -> None:
        for _ in range(100):
            world.log.grow()
            await asyncio.sleep(0.05)

    follow(load, one, pause_seconds=1.0)
    assert len(one[0].asked) in {5, 6}


def assert_alarmed(world: World, name: str, reason: str, known: int | None, size: int = 5) -> None:
    """Once in the log, once to those who wait; health has it; nothing was accepted since."""
    expected = {"reason": world.witnesses.standings()[0].alarm, "size": size, "known": known}
    assert world.log.events == [("audit.witness_refused", name, expected)]
    assert reason in str(expected["reason"])
    assert len(world.log.refused) == 1
    assert world.log.accepted == []


def test_a_log_that_was_put_back_raises_the_alarm() -> None:
    """The witness has cosigned 9 events; the log has 5, and goes on: refused for good, told once."""
    one = fakes(1)
    follow(a_while, one, log=MemoryLog(size=9))

    async def grows(world: World) -> None:
        await asyncio.sleep(1)
        world.log.grow()
        await asyncio.sleep(100)

    world = follow(grows, one)
    assert_alarmed(world, "w1", "9 events of this log, which has 5", 9)


def test_a_forked_log_raises_the_alarm() -> None:
    """The witness has cosigned 4 other events: the proof from there on does not hold."""
    one = fakes(1)
    follow(a_while, one, log=MemoryLog(size=4, salt=b"other"))
    assert_alarmed(follow(a_while, one), "w1", "does not lead from the tree that it knows", None)


def test_another_root_of_the_same_size_raises_the_alarm() -> None:
    """Five other events, by the 409 of the standard."""
    one = fakes(1)
    follow(a_while, one, log=MemoryLog(size=5, salt=b"other"))
    assert_alarmed(follow(a_while, one), "w1", "another root of 5 events", None)


def test_after_an_alarm_no_quorum_counts() -> None:
    """One of three knows another history, and the two others cosign on: nothing more is accepted."""
    three = fakes(3)
    follow(a_while, three[:1], log=MemoryLog(size=4, salt=b"other"))
    three[1].wait = three[2].wait = after(0.5)

    async def grows(world: World) -> None:
        await asyncio.sleep(1)
        world.log.grow()
        await asyncio.sleep(5)

    world = follow(grows, three, required=2)
    assert world.log.accepted == []
    assert three[1].asked == [(0, 5), (5, 6)]


def test_a_witness_that_lies_about_sizes_is_left() -> None:
    """It names another size each time: three tries, and it has failed; no alarm, as the log has as many."""
    one = fakes(1)
    one[0].answers = [answer(409, b"%d\n" % size, SIZE_TYPE) for size in (1, 2, 3)]

    async def look(world: World) -> None:
        await asyncio.sleep(0.1)
        assert "another size each time" in world.witnesses.standings()[0].error
        await asyncio.sleep(1)

    world = follow(look, one)
    assert world.log.refused == []
    assert world.accepted_names() == [(5, {"w1"})]


def test_a_witness_that_forgot_is_taken_along() -> None:
    """It has lost its state and knows less than it has confirmed: it is asked from there on."""
    one = fakes(1)

    async def forgets(world: World) -> None:
        await asyncio.sleep(1)
        one[0].size = 0
        world.log.grow()
        await asyncio.sleep(1)

    world = follow(forgets, one)
    assert one[0].asked == [(0, 5), (5, 6), (0, 6)]
    assert world.log.refused == []


def test_a_bug_in_one_does_not_end_the_others() -> None:
    """Whatever is raised while one is asked counts as its failure."""
    two = fakes(2)

    async def broken() -> None:
        raise KeyError("a bug")

    two[0].wait = broken
    world = follow(a_while, two)
    assert world.accepted_names() == [(5, {"w2"})]
    assert world.witnesses.standings()[0].error == "KeyError"


def test_a_dead_log_ends_the_following() -> None:
    """No checkpoint comes any more; the witnesses just wait, and the alarm of one that answers late is still told."""

    async def dies(world: World) -> None:
        await asyncio.sleep(1)
        world.log.die()
        await asyncio.sleep(1)

    assert follow(dies, fakes(1)).accepted_names() == [(5, {"w1"})]


def test_settled_waits_for_a_quorum() -> None:
    """It returns when so many events are cosigned, and not before."""
    one = fakes(1)
    one[0].wait = after(3)
    moments: list[float] = []

    async def settles(world: World) -> None:
        await world.witnesses.settled(5)
        moments.append(asyncio.get_running_loop().time())

    follow(settles, one)
    assert moments == [3.0]

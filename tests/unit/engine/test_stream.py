"""Streaming: bounded memory, order or none, and an end that leaves nothing behind."""

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import pytest

from engine.attempt import StepAttempt
from engine.context import ExecutionContext
from engine.errors import RefusalError
from engine.loader import load_mission
from engine.mission import MissionLimits, MissionStep
from engine.plan import Plan
from engine.result import MissionResult, MissionState, OverallStatus, StepState
from engine.run import resolved_parameters
from engine.scheduler import MissionRun
from engine.stream import stream_mission
from engine.values import JsonObject, JsonValue

MISSION = b"""
version: "1.0"
name: m
variables: {number: 0, row: {id: 1}}
steps:
  - {id: a, name: a, step_type: t, parameters: {number: "${variables.number}", id: "${variables.row.id}"}}
  - {id: b, name: b, step_type: t, depends_on: [a], parameters: {number: "${steps.a.output.number}"}}
"""


def plan() -> Plan:
    return load_mission(MISSION, limits=MissionLimits(), step_types={"t"})


class Runner:
    """Returns the parameters of a step; waits where `gates` has an event for the number of its batch."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.gates: dict[JsonValue, asyncio.Event] = {}
        self.active = 0
        self.cancelled = 0
        self.begun: list[JsonValue] = []

    async def run_step(self, step: MissionStep, attempt: StepAttempt) -> JsonValue:
        parameters = resolved_parameters(self.plan, step, attempt)
        number = parameters["number"]
        if step.id == "a":
            self.begun.append(number)
        self.active += 1
        try:
            if (gate := self.gates.get(number)) is not None:
                await gate.wait()
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.active -= 1
        return dict(parameters)


class Batch(dict[str, JsonValue]):
    """A batch that can be seen to be alive."""


class Numbers:
    """A source of batches that counts what it has given, and can be closed."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.given = 0
        self.closed = False

    async def batches(self) -> AsyncIterator[JsonObject]:
        try:
            for number in range(self.count):
                yield self._batch(number)
        finally:
            self.closed = True

    def plain(self) -> Iterator[JsonObject]:
        try:
            for number in range(self.count):
                yield self._batch(number)
        finally:
            self.closed = True

    def _batch(self, number: int) -> JsonObject:
        self.given += 1
        return Batch(number=number)


def alive(*kinds: type) -> Counter[type]:
    """Return how many values of each type there are, of what was made since the test began."""
    gc.collect()
    return Counter(type(each) for each in gc.get_objects() if type(each) in kinds)


@pytest.fixture
def few_objects() -> None:
    """Leave what was there before out of every look: of the tests before this one, that can be a million objects."""
    gc.collect()
    gc.freeze()


@pytest.mark.usefixtures("few_objects")
@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("in_flight_max", [1, 3])
async def test_memory_is_bounded_by_what_is_in_flight(in_flight_max: int, ordered: bool) -> None:
    """Of 40 batches, no more are alive than are in flight, and the one that the consumer holds."""
    numbers = Numbers(40)
    mission = plan()
    kinds = (Batch, MissionResult, ExecutionContext, MissionRun)
    before = alive(*kinds)
    stream = stream_mission(mission, Runner(mission), numbers.batches(), in_flight_max=in_flight_max, ordered=ordered)
    seen = 0
    async for each in stream:
        seen += 1
        assert each.result.overall_status is OverallStatus.SUCCESS
        now = alive(*kinds)
        assert now[Batch] > 0  # the look finds what there is
        for kind in kinds:
            own = 1 if kind is ExecutionContext else 0  # the one that all batches share
            assert now[kind] - before[kind] <= in_flight_max + 1 + own, kind
        assert numbers.given <= seen + in_flight_max
    assert seen == 40
    assert numbers.closed


@pytest.mark.usefixtures("few_objects")
async def test_a_result_lives_no_longer_than_its_consumer_keeps_it() -> None:
    """The stream itself holds nothing of what it has given."""
    mission = plan()
    before = alive(MissionResult, Batch)
    async with aclosing(stream_mission(mission, Runner(mission), Numbers(2).plain(), in_flight_max=1)) as stream:
        await anext(stream)
        assert alive(MissionResult, Batch) == before


async def test_a_slow_consumer_stops_the_source() -> None:
    """While nobody takes results, the source is not asked for more than fit."""
    numbers = Numbers(100)
    mission = plan()
    async with aclosing(stream_mission(mission, Runner(mission), numbers.plain(), in_flight_max=2)) as stream:
        await anext(stream)
        for _ in range(200):
            await asyncio.sleep(0)
        assert numbers.given <= 3
    assert numbers.closed


async def test_ordered_results_come_in_the_order_of_the_source() -> None:
    """The first batch is the slowest, and still comes first; at most that many run beside it as are allowed."""
    mission = plan()
    runner = Runner(mission)
    gate = runner.gates[0] = asyncio.Event()
    stream = stream_mission(mission, runner, Numbers(6).plain(), in_flight_max=3)
    first = asyncio.ensure_future(anext(stream))
    for _ in range(100):
        await asyncio.sleep(0)
    assert runner.begun == [0, 1, 2]
    assert not first.done()
    gate.set()
    rest = [each.index async for each in stream] if (await first).index == 0 else []
    assert rest == [1, 2, 3, 4, 5]


async def test_unordered_results_come_as_they_are_ready() -> None:
    """A slow batch holds up nobody but its own place."""
    mission = plan()
    runner = Runner(mission)
    gate = runner.gates[0] = asyncio.Event()
    indices = []
    async for each in stream_mission(mission, runner, Numbers(6).plain(), in_flight_max=2, ordered=False):
        indices.append(each.index)
        if len(indices) == 5:
            gate.set()
    assert indices == [1, 2, 3, 4, 5, 0]


async def test_a_slow_source_does_not_hold_up_results() -> None:
    """A result is there before the source has given the next batch."""
    mission = plan()
    more = asyncio.Event()

    async def source() -> AsyncIterator[JsonObject]:
        yield {"number": 1}
        await more.wait()
        yield {"number": 2}

    async with aclosing(stream_mission(mission, Runner(mission), source())) as stream:
        assert (await anext(stream)).index == 0
        assert not more.is_set()
        more.set()
        assert (await anext(stream)).index == 1


async def test_leaving_is_not_cut_short_by_another_cancellation() -> None:
    """What runs has its grace, and the source is closed, however often the consumer is cancelled."""

    class CleansUp(Runner):
        async def run_step(self, step: MissionStep, attempt: StepAttempt) -> JsonValue:
            try:
                return await super().run_step(step, attempt)
            except asyncio.CancelledError:
                await cleaned.wait()
                raise

    cleaned = asyncio.Event()
    mission = plan()
    runner = CleansUp(mission)
    runner.gates = {0: asyncio.Event()}
    numbers = Numbers(10)

    async def consume() -> None:
        async with aclosing(stream_mission(mission, runner, numbers.batches(), in_flight_max=1)) as stream:
            await anext(stream)

    async def turns() -> None:
        for _ in range(100):
            await asyncio.sleep(0)

    consumer = asyncio.create_task(consume())
    for _ in range(3):
        await turns()
        consumer.cancel()
    await turns()
    assert not consumer.done()
    cleaned.set()
    with pytest.raises(asyncio.CancelledError):
        await consumer
    assert numbers.closed
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("source", ["batches", "plain"])
async def test_leaving_early_cancels_what_runs_and_closes_the_source(source: str) -> None:
    """Nothing runs on, and the source can release what it holds."""
    mission = plan()
    runner = Runner(mission)
    runner.gates = {number: asyncio.Event() for number in (1, 2, 3)}
    numbers = Numbers(10)
    async with aclosing(stream_mission(mission, runner, getattr(numbers, source)(), in_flight_max=3)) as stream:
        await anext(stream)
        for _ in range(100):
            await asyncio.sleep(0)
        assert runner.active == 2
    assert (runner.active, runner.cancelled) == (0, 2)
    assert numbers.closed
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize(
    ("batch", "code"),
    [
        ({"row": {}}, "reference.unresolved"),
        ({"number": float("nan")}, "context.invalid"),
        ([1], "stream.not_an_object"),
        ({"number": 13}, "test.unlucky"),
    ],
)
async def test_a_batch_that_cannot_be_run_is_a_failed_result(batch: Any, code: str) -> None:
    """Nothing of it is run, every step is Skipped for the reason, and the stream goes on."""
    mission = plan()
    runner = Runner(mission)

    def check(variables: JsonObject) -> None:
        if variables.get("number") == 13:
            raise RefusalError("no", code="test.unlucky")

    results = [
        each.result
        async for each in stream_mission(mission, runner, [{"number": 1}, batch, {"number": 3}], check=check)
    ]
    assert [each.overall_status for each in results] == [
        OverallStatus.SUCCESS,
        OverallStatus.FAILED,
        OverallStatus.SUCCESS,
    ]
    failed = results[1]
    assert failed.error is not None
    assert (failed.error.code, failed.state, failed.steps_skipped) == (code, MissionState.FAILED, 2)
    assert {step.status for step in failed.step_results.values()} == {StepState.SKIPPED}
    assert failed.document()["steps_skipped"] == 2
    assert runner.begun == [1, 3]


async def test_an_error_of_the_source_comes_after_what_was_read() -> None:
    """Batches that were read are finished and given first; then the error is raised, and nothing is left running."""
    mission = plan()

    async def source() -> AsyncIterator[JsonObject]:
        yield {"number": 1}
        yield {"number": 2}
        raise OSError("the disk is gone")

    stream = stream_mission(mission, Runner(mission), source())
    assert [(await anext(stream)).index for _ in range(2)] == [0, 1]
    with pytest.raises(OSError, match="the disk is gone"):
        await anext(stream)
    assert len(asyncio.all_tasks()) == 1


async def test_batches_share_what_they_do_not_change() -> None:
    """A variable that no batch gives is one value in every context: the layers are copy-on-write."""
    mission = plan()
    rows: list[int] = []

    class Looks(Runner):
        async def run_step(self, step: MissionStep, attempt: StepAttempt) -> JsonValue:
            rows.append(id(attempt.context.variables["row"]))
            return await super().run_step(step, attempt)

    async for _ in stream_mission(mission, Looks(mission), Numbers(5).plain()):
        pass
    assert len(set(rows)) == 1


async def test_at_least_one_batch_is_in_flight() -> None:
    """None would never end."""
    mission = plan()
    with pytest.raises(ValueError, match="in_flight_max"):
        await anext(stream_mission(mission, Runner(mission), [], in_flight_max=0))


async def test_an_empty_source_gives_nothing() -> None:
    """The stream ends."""
    mission = plan()
    assert [each async for each in stream_mission(mission, Runner(mission), [])] == []

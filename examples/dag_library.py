"""The engine as a library of Python functions: a graph that is checked where it is written, then run and streamed.

Run it: `python examples/dag_library.py`
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

from engine import StepError
from engine.dsl import Dag
from engine.mission import MissionConfig, Strategy
from engine.retry import RetryPolicy

INSTRUMENTS = {"Oslo": [-4, -6], "Rome": [12, 15]}
answers = {"Rome": 0}

with Dag("statistics") as statistics:
    raw = statistics.variable("raw", list[int])

    @statistics.node
    def mean(raw: list[int] = raw) -> float:
        """Return the average."""
        return sum(raw) / len(raw)

    @statistics.node(when=lambda raw=raw: min(raw) < 0)
    def frost(raw: list[int] = raw) -> int:
        """Count the values below zero; asked only where there is one."""
        return sum(degrees < 0 for degrees in raw)


with Dag("weather", config=MissionConfig(parallel_limit=8)) as weather:
    places = weather.variable("places", list[str], default=["Oslo", "Rome"])

    @weather.node(foreach=places, retry=RetryPolicy(max_attempts=3, base_ms=10), timeout_seconds=2)
    async def measure(place: str) -> list[int]:
        """Pretend to ask an instrument; the one in Rome answers the second time."""
        await asyncio.sleep(0.01)
        if place not in INSTRUMENTS:
            raise StepError(f"there is no instrument in {place}", code="measure.nowhere", retryable=False)
        answers[place] = answers.get(place, 1) + 1
        if answers[place] < 2:  # noqa: PLR2004 - the second time
            raise StepError(f"the instrument in {place} does not answer", code="measure.silent")
        return INSTRUMENTS[place]

    @weather.node
    def together(measured: list[list[int]] = measure.output) -> list[int]:
        """Put the values of all places into one list."""
        return [degrees for values in measured for degrees in values]

    taken = weather.include(statistics, prefix="all_", variables={"raw": together.output})
    mean_of_all, frost_of_all = taken.output(mean), taken.output(frost)

    @weather.node
    def report(
        places: list[str] = places, mean: float = mean_of_all, frost: int | None = frost_of_all
    ) -> dict[str, object]:
        """Say what was found."""
        return {"places": places, "mean": mean, "frost": frost or 0}


async def batches() -> AsyncIterator[dict[str, list[str]]]:
    """Give the variables of one run after the other; a file or a queue would do the same."""
    for places in (["Oslo"], ["Rome"], ["Paris"]):
        yield {"places": places}


async def main() -> None:
    """Describe the graph, run it under each strategy, and stream batches through it."""
    print(weather.describe())
    for strategy in Strategy:
        result = await weather.run(strategy=strategy)
        print(f"{strategy:<12}{result.status}  {result.output(report)}")
    print(f"Rome was asked {answers['Rome']} times")
    async with aclosing(weather.stream(batches(), in_flight_max=2)) as results:
        async for batch in results:
            failure = batch.result.step(measure).error
            print(f"batch {batch.index}: {batch.result.output(report) if failure is None else failure.code}")


if __name__ == "__main__":
    asyncio.run(main())

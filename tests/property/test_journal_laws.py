"""Laws of the journal of effects: whatever an attempt asks, and wherever it is stopped, nothing is done twice.

A module is a function of its journal. Here it is one that asks for effects one batch after the other, takes another
way after an error, and may be killed before, in or after any of them; then it is run again, until it ends.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import StepError
from gateway.effects.performer import EffectRequest
from gateway.journal import MissionJournal, StepJournal
from gateway.store.effect_records import EffectRecord, EffectState

GIVEN = ("2026-01-31T12:00:00.000000Z", "0" * 32)


class Records:
    """The store's rows of one step."""

    def __init__(self) -> None:
        self.rows: dict[int, EffectRecord] = {}

    async def intend_effects(self, _mission_id: str, records: Sequence[EffectRecord]) -> None:
        for record in records:
            old = self.rows.get(record.index)
            assert old is None or old.state is not EffectState.PERFORMED, "a performed effect was intended again"
            self.rows[record.index] = record

    async def settle_effect(
        self, _mission_id: str, step_id: str, item: int | None, index: int, state: EffectState, entry: bytes | None
    ) -> None:
        old = self.rows[index]
        assert old.state is EffectState.INTENDED
        self.rows[index] = EffectRecord(
            step_id=step_id, item=item, index=index, key=old.key, op=old.op, now=old.now, seed=old.seed,
            state=state, entry=entry,
        )  # fmt: skip
        if state is not EffectState.PERFORMED:
            for behind in [n for n, row in self.rows.items() if n > index and row.state is EffectState.INTENDED]:
                del self.rows[behind]

    async def effects(self, _mission_id: str, _step_id: str, _item: int | None) -> tuple[EffectRecord, ...]:
        return tuple(self.rows[index] for index in sorted(self.rows))


class KilledError(Exception):
    """The process ends here."""


@dataclass
class Service:
    """The other end: does what it is asked, fails where it is told to, and is watched."""

    fails: frozenset[int]  # which of all calls fail
    killed: frozenset[int]  # at which points of all the process is killed
    done: list[str] = field(default_factory=list)
    calls: int = 0
    points: int = 0

    def point(self) -> None:
        self.points += 1
        if self.points in self.killed:
            raise KilledError

    def perform(self, request: EffectRequest) -> dict[str, Any]:
        self.calls += 1
        if self.calls in self.fails:
            return {"error": {"code": "effect.connect_failed", "message": "no"}}
        self.done.append(request.key)
        return {"ok": {"key": request.key}}


def request(key: str) -> EffectRequest:
    return EffectRequest(op="http.request", args={}, key=key, timeout_seconds=60)


def asked_by(entries: Sequence[Any], batches: Sequence[int]) -> list[str] | None:
    """Return the keys of the next batch: a function of the journal, another way after an error; None: it has ended."""
    way = "".join("e" if "error" in entry else "o" for entry in entries)
    seen = 0
    for size in batches:
        if seen == len(entries):
            return [f"{way}/{seen + n}" for n in range(size)]
        took = next((n + 1 for n in range(size) if way[seen + n : seen + n + 1] == "e"), size)
        seen += took
    return None


async def attempt(journal: StepJournal, service: Service, batches: Sequence[int], *, repeatable: bool) -> None:
    """Do what `gateway.performing` does."""
    while (keys := asked_by(journal.entries, batches)) is not None:
        waiting = [request(key) for key in keys]
        stopped = False
        while waiting and not stopped and (entry := journal.replay(waiting[0], repeatable=repeatable)) is not None:
            waiting.pop(0)
            stopped = "error" in entry
        if stopped or not waiting:
            continue
        service.point()
        await journal.intend(waiting, GIVEN)
        while waiting:
            service.point()
            entry = service.perform(waiting.pop(0))
            service.point()
            await journal.settled(entry)
            if "error" in entry:
                break


@given(
    batches=st.lists(st.integers(1, 3), min_size=1, max_size=4),
    fails=st.frozensets(st.integers(1, 12), max_size=4),
    killed=st.frozensets(st.integers(1, 40), max_size=6),
    repeatable=st.booleans(),
)
def test_nothing_is_done_twice_however_often_it_is_killed(
    batches: list[int], fails: frozenset[int], killed: frozenset[int], *, repeatable: bool
) -> None:
    """Every effect is done once at most, or, where that leaves the world as once would, once for each kill in it.

    A run that is not stopped by a doubt comes to its end, and its journal tells what the service has done.
    """

    async def main() -> None:
        store, service = Records(), Service(fails, killed)
        codes: set[str] = set()
        for _ in range(len(killed) + 1):
            journal = await MissionJournal(store, "m", fresh=False).of("s", None)
            try:
                await attempt(journal, service, batches, repeatable=repeatable)
            except KilledError:
                continue
            except StepError as error:
                codes.add(error.code)
                break
            told = [entry["ok"]["key"] for entry in journal.entries if "ok" in entry]
            assert set(told) <= set(service.done)
            assert repeatable or told == service.done
            break
        assert codes <= (set() if repeatable else {"effect.in_doubt"})
        most = 1 + (len(killed) if repeatable else 0)
        assert max(Counter(service.done).values(), default=1) <= most

    asyncio.run(main())


@given(at=st.integers(0, 3))
def test_another_effect_in_the_place_of_one_that_was_done_is_refused(at: int) -> None:
    """A module that asks for something else than before has failed, and nothing is performed for it."""

    async def main() -> None:
        store = Records()
        journal = await MissionJournal(store, "m", fresh=True).of("s", None)
        await journal.intend([request(f"k{n}") for n in range(4)], GIVEN)
        for n in range(4):
            await journal.settled({"ok": {"n": n}})
        again = await MissionJournal(store, "m", fresh=False).of("s", None)
        assert again.given == GIVEN
        for n in range(at):
            assert again.replay(request(f"k{n}"), repeatable=False) == {"ok": {"n": n}}
        with pytest.raises(StepError) as refused:
            again.replay(request("other"), repeatable=True)
        assert (refused.value.code, refused.value.retryable) == ("effect.diverged", False)

    asyncio.run(main())


async def test_a_mission_that_begins_asks_the_store_nothing() -> None:
    """A pure step waits for no disk; one that has acted in this process is looked up all the same."""

    class Watched(Records):
        reads = 0

        async def effects(self, *of: Any) -> tuple[EffectRecord, ...]:
            self.reads += 1
            return await super().effects(*of)

    store = Watched()
    mission = MissionJournal(store, "m", fresh=True)
    journal = mission.empty("s", None)
    assert journal is not None
    assert (store.reads, journal.given) == (0, None)
    await journal.intend([request("k")], GIVEN)
    assert mission.empty("s", None) is None
    assert (await mission.of("s", None)).given == GIVEN
    assert mission.empty("s", 0) is not None
    assert MissionJournal(store, "m", fresh=False).empty("s", 0) is None

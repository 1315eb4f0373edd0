"""The journal of effects, as a state machine: whatever is asked of it, at once and in whatever order, over restarts."""

import asyncio
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, TypeAlias

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from engine.clock import SystemClock
from gateway.errors import StoreError
from gateway.store.effect_records import EffectState
from gateway.store.store import Store
from tests.payload_keys import MASTERS
from tests.unit.gateway.store.store_worlds import effect, ending, mission

Place: TypeAlias = tuple[str, int | None, int]
Call: TypeAlias = tuple[str, Any]  # what is asked, and of what

STEPS = st.sampled_from(["s", "t"])
ITEMS = st.sampled_from([None, 0, 1])
INDEXES = st.integers(0, 2)
OUTCOMES = st.sampled_from([EffectState.PERFORMED, EffectState.FAILED, EffectState.IN_DOUBT])
INTENDS = st.tuples(st.just("intend"), st.tuples(STEPS, ITEMS, st.lists(INDEXES, max_size=3, unique=True)))
SETTLES = st.tuples(st.just("settle"), st.tuples(STEPS, ITEMS, INDEXES, OUTCOMES))
FORGETS = st.tuples(st.just("forget"), st.just(None))
ENDS = st.tuples(st.just("end"), st.just(None))  # the mission ends and begins anew
CALLS = st.lists(st.one_of(INTENDS, SETTLES, SETTLES, FORGETS, ENDS), min_size=1, max_size=8)


class Journal(RuleBasedStateMachine):
    """The model: a place holds nothing, or its last intent and what came of it, and what was performed is for good."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._runner = asyncio.Runner()
        self._store = self._open()
        self._runner.run(self._made())
        self._model: dict[Place, tuple[EffectState, bytes | None]] = {}
        self._performed: dict[Place, bytes] = {}  # of all times
        self._number = 0

    def _open(self) -> Store:
        return Store.open(Path(self._folder.name) / "s.db", clock=SystemClock(), masters=MASTERS)

    async def _made(self) -> None:
        await self._store.create_mission(mission("m"))

    @rule(calls=CALLS)
    def ask(self, calls: list[Call]) -> None:
        """Ask several things at once; they are done in the order of the calls."""
        numbers = range(self._number, self._number + len(calls))
        self._number = numbers.stop

        async def together() -> list[object]:
            asked = [self._call(call, number) for call, number in zip(calls, numbers, strict=True)]
            return list(await asyncio.gather(*asked, return_exceptions=True))

        answers = self._runner.run(together())
        for call, number, answer in zip(calls, numbers, answers, strict=True):
            expected = self._expected(call, number)
            assert (answer.code if isinstance(answer, StoreError) else answer) == expected

    def _call(self, call: Call, number: int) -> Awaitable[object]:
        match call:
            case ("intend", (step_id, item, indexes)):
                batch = [effect(index, step_id, item) for index in indexes]
                return self._store.intend_effects("m", batch)
            case ("settle", (step_id, item, index, state)):
                entry = None if state is EffectState.IN_DOUBT else str(number).encode()
                return self._store.settle_effect("m", step_id, item, index, state, entry)
            case ("forget", _):
                return self._store.forget_doubt("m")
            case _:
                return self._again()

    async def _again(self) -> None:
        await asyncio.gather(self._store.finish_mission(ending("m")), self._store.reopen_mission("m"))

    def _expected(self, call: Call, number: int) -> object:
        """Do the same to the model, and return the answer that it gives."""
        match call:
            case ("intend", (step_id, item, indexes)):
                places = [(step_id, item, index) for index in indexes]
                if any(place in self._performed for place in places):
                    return "store.effect_performed"
                self._model.update(dict.fromkeys(places, (EffectState.INTENDED, None)))
            case ("settle", (step_id, item, index, state)):
                place = (step_id, item, index)
                if self._model.get(place) != (EffectState.INTENDED, None):
                    return "store.effect_missing"
                entry = None if state is EffectState.IN_DOUBT else str(number).encode()
                self._model[place] = (state, entry)
                if state is EffectState.PERFORMED:
                    self._performed[place] = str(number).encode()
                else:
                    self._model = {p: v for p, v in self._model.items() if not self._never_begun(p, v, place)}
            case ("forget", _):
                doubts = [place for place, (_, entry) in self._model.items() if entry is None]
                for place in doubts:
                    del self._model[place]
                return len(doubts)
        return None

    @staticmethod
    def _never_begun(behind: Place, value: tuple[EffectState, bytes | None], failed: Place) -> bool:
        """Return whether an intent stood behind one that was not performed."""
        return behind[:2] == failed[:2] and behind[2] > failed[2] and value[0] is EffectState.INTENDED

    @rule()
    def restart(self) -> None:
        """Close and open again: nothing is forgotten."""
        self._runner.run(self._store.close())
        self._store = self._open()

    @invariant()
    def the_journal_is_the_model(self) -> None:
        """Every place holds what the model says, and whatever was ever performed is there with its entry."""
        found = self._runner.run(self._found())
        assert found == self._model
        assert {p: e for p, (s, e) in found.items() if s is EffectState.PERFORMED} == self._performed

    async def _found(self) -> dict[Place, tuple[EffectState, bytes | None]]:
        journals = [await self._store.effects("m", step_id, item) for step_id in "st" for item in (None, 0, 1)]
        return {(e.step_id, e.item, e.index): (e.state, e.entry) for journal in journals for e in journal}

    def teardown(self) -> None:
        self._runner.run(self._store.close())
        self._runner.close()
        self._folder.cleanup()


TestJournal = Journal.TestCase
TestJournal.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)

"""The journal of effects in the store."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ConflictError, StoreError
from gateway.store.effect_records import EffectState
from gateway.store.store import ENTRY_BYTES_MAX, Store
from tests.payload_keys import MASTERS
from tests.unit.gateway.store.store_worlds import TickingClock, effect, ending, mission

DONE = b'{"ok":{"bytes":1}}'
ERROR = b'{"error":{"code":"effect.failed","message":"no"}}'


@pytest.fixture(autouse=True)
async def _running(store: Store) -> None:
    await store.create_mission(mission("m"))
    await store.mark_executing("m")


async def code_of(call: Any) -> str:
    with pytest.raises((ConflictError, StoreError)) as refused:
        await call
    code: str = refused.value.code
    return code


async def test_a_journal_is_read_back_in_order(store: Store) -> None:
    """By index, whatever the order of the calls; each with what its module was told, its state and its entry."""
    second, first = effect(1, key="k", op="http.request", now="then", seed="s"), effect(0)
    await store.intend_effects("m", [second])
    await store.intend_effects("m", [first])
    assert await store.effects("m", "s", None) == (first, second)
    await store.settle_effect("m", "s", None, 1, EffectState.PERFORMED, DONE)
    (_, settled) = await store.effects("m", "s", None)
    assert (settled.state, settled.entry) == (EffectState.PERFORMED, DONE)
    assert (settled.key, settled.op, settled.now, settled.seed) == ("k", "http.request", "then", "s")


async def test_each_item_has_a_journal(store: Store) -> None:
    """Steps, items and the step that is no fan-out are apart, and so are missions."""
    await store.create_mission(mission("other"))
    places = [("s", None), ("s", 0), ("s", 1), ("t", None)]
    for step_id, item in places:
        await store.intend_effects("m", [effect(0, step_id, item, key=f"{step_id}{item}")])
    await store.settle_effect("m", "s", 0, 0, EffectState.PERFORMED, DONE)
    for step_id, item in places:
        (found,) = await store.effects("m", step_id, item)
        assert (found.key, found.item) == (f"{step_id}{item}", item)
        assert (found.state is EffectState.PERFORMED) == (item == 0)
    assert await store.effects("other", "s", None) == await store.effects("no", "s", None) == ()


async def test_an_item_is_not_below_0(store: Store) -> None:
    """-1 is how "no fan-out" is stored, and no item passes for it."""
    assert await code_of(store.intend_effects("m", [effect(0, item=-1)])) == "store.constraint"
    await store.intend_effects("m", [effect(0)])
    settled = store.settle_effect("m", "s", -1, 0, EffectState.PERFORMED, DONE)
    assert await code_of(settled) == "store.constraint"
    assert await code_of(store.effects("m", "s", -1)) == "store.constraint"


@pytest.mark.parametrize(
    ("state", "entry"),
    [(EffectState.FAILED, ERROR), (EffectState.IN_DOUBT, None), (EffectState.INTENDED, None)],
)
async def test_what_was_not_performed_may_be_intended_again(
    store: Store, state: EffectState, entry: bytes | None
) -> None:
    """The new intent takes the place of the old outcome, and may be of another act."""
    await store.intend_effects("m", [effect(0)])
    if state is not EffectState.INTENDED:
        await store.settle_effect("m", "s", None, 0, state, entry)
    again = effect(0, key="other", op="http.request", now="later", seed="other")
    await store.intend_effects("m", [again])
    assert await store.effects("m", "s", None) == (again,)


async def test_what_was_performed_is_never_intended_again(store: Store) -> None:
    """The batch that holds it is refused whole: its neighbours are as they were."""
    await store.intend_effects("m", [effect(0), effect(1)])
    await store.settle_effect("m", "s", None, 1, EffectState.PERFORMED, DONE)
    await store.settle_effect("m", "s", None, 0, EffectState.FAILED, ERROR)
    before = await store.effects("m", "s", None)
    batch = [effect(0, key="new"), effect(1, key="new"), effect(2, key="new")]
    assert await code_of(store.intend_effects("m", batch)) == "store.effect_performed"
    assert await store.effects("m", "s", None) == before


@pytest.mark.parametrize(("state", "entry"), [(EffectState.FAILED, ERROR), (EffectState.IN_DOUBT, None)])
async def test_what_stood_behind_a_failure_was_never_begun(
    store: Store, state: EffectState, entry: bytes | None
) -> None:
    """It is forgotten in the same moment, of this step or item alone: the next attempt may ask for something else."""
    for item in (None, 0):
        await store.intend_effects("m", [effect(n, item=item) for n in range(4)])
    await store.settle_effect("m", "s", None, 0, EffectState.PERFORMED, DONE)
    await store.settle_effect("m", "s", None, 1, state, entry)
    assert [(e.index, e.state) for e in await store.effects("m", "s", None)] == [(0, EffectState.PERFORMED), (1, state)]
    assert len(await store.effects("m", "s", 0)) == 4


async def test_only_an_intent_is_settled_and_once(store: Store) -> None:
    """What was never intended, or has its outcome, is `store.effect_missing`; the first outcome stays."""
    for item, index in ((None, 0), (0, 0), (None, 1)):
        settled = store.settle_effect("m", "s", item, index, EffectState.PERFORMED, DONE)
        assert await code_of(settled) == "store.effect_missing"
    await store.intend_effects("m", [effect(0)])
    await store.settle_effect("m", "s", None, 0, EffectState.IN_DOUBT, None)
    for state, entry in ((EffectState.PERFORMED, DONE), (EffectState.FAILED, ERROR), (EffectState.IN_DOUBT, None)):
        assert await code_of(store.settle_effect("m", "s", None, 0, state, entry)) == "store.effect_missing"
    assert [(e.state, e.entry) for e in await store.effects("m", "s", None)] == [(EffectState.IN_DOUBT, None)]


@pytest.mark.parametrize(
    ("state", "entry"),
    [
        (EffectState.INTENDED, None),
        (EffectState.INTENDED, DONE),
        (EffectState.PERFORMED, None),
        (EffectState.FAILED, None),
        (EffectState.IN_DOUBT, DONE),
    ],
)
async def test_an_outcome_has_an_entry_and_a_doubt_none(store: Store, state: EffectState, entry: bytes | None) -> None:
    """Anything else is refused, and the intent stays one, which after a restart is in doubt."""
    await store.intend_effects("m", [effect(0)])
    assert await code_of(store.settle_effect("m", "s", None, 0, state, entry)) == "store.constraint"
    assert await store.effects("m", "s", None) == (effect(0),)


async def test_an_effect_begins_as_an_intent(store: Store) -> None:
    """A record that claims more is refused: nothing is performed before it was intended."""
    for claim in (effect(0, state=EffectState.PERFORMED, entry=DONE), effect(0, entry=DONE)):
        assert await code_of(store.intend_effects("m", [claim])) == "store.constraint"
    assert await store.effects("m", "s", None) == ()


async def test_an_entry_is_bounded(store: Store) -> None:
    """One byte over the limit is refused before the disk is asked."""
    await store.intend_effects("m", [effect(0)])
    large = b"x" * (ENTRY_BYTES_MAX + 1)
    assert await code_of(store.settle_effect("m", "s", None, 0, EffectState.PERFORMED, large)) == "store.too_large"
    await store.settle_effect("m", "s", None, 0, EffectState.PERFORMED, large[1:])


async def test_no_effect_begins_after_its_mission_ended(store: Store) -> None:
    """What was under way at the end is settled all the same; a mission that begins anew may intend again."""
    await store.intend_effects("m", [effect(0)])
    await store.finish_mission(ending("m"))
    assert await code_of(store.intend_effects("m", [effect(1)])) == "mission.state"
    await store.settle_effect("m", "s", None, 0, EffectState.PERFORMED, DONE)
    await store.reopen_mission("m")
    await store.intend_effects("m", [effect(1)])
    assert [e.state for e in await store.effects("m", "s", None)] == [EffectState.PERFORMED, EffectState.INTENDED]


async def test_a_person_lets_doubts_go(store: Store) -> None:
    """What is in doubt or only intended is forgotten and counted, of this mission alone; outcomes stay."""
    await store.create_mission(mission("other"))
    await store.intend_effects("other", [effect(0)])
    await store.intend_effects("m", [effect(n) for n in range(4)])
    await store.settle_effect("m", "s", None, 0, EffectState.PERFORMED, DONE)
    await store.settle_effect("m", "s", None, 2, EffectState.IN_DOUBT, None)
    await store.intend_effects("m", [effect(3)])
    await store.settle_effect("m", "s", None, 1, EffectState.PERFORMED, DONE)
    assert await code_of(store.forget_doubt("m")) == "mission.state"  # it is executing
    await store.finish_mission(ending("m"))
    assert await store.forget_doubt("m") == 2
    assert await store.forget_doubt("m") == await store.forget_doubt("no") == 0
    assert [e.index for e in await store.effects("m", "s", None)] == [0, 1]
    assert len(await store.effects("other", "s", None)) == 1


async def test_a_journal_survives_a_restart(tmp_path: Path) -> None:
    """Intents, outcomes and doubts are what they were."""
    store = Store.open(tmp_path / "s.db", clock=TickingClock(), masters=MASTERS)
    await store.create_mission(mission("m"))
    await store.intend_effects("m", [effect(n) for n in range(3)])
    await store.settle_effect("m", "s", None, 0, EffectState.PERFORMED, DONE)
    await store.settle_effect("m", "s", None, 1, EffectState.IN_DOUBT, None)
    before = await store.effects("m", "s", None)
    await store.close()
    store = Store.open(tmp_path / "s.db", clock=TickingClock(), masters=MASTERS)
    assert await store.effects("m", "s", None) == before
    assert [e.state for e in before] == [EffectState.PERFORMED, EffectState.IN_DOUBT]
    await store.close()


async def test_a_journal_is_read_behind_what_was_asked_for_before(store: Store) -> None:
    """An attempt that was cancelled awaits no answer: the next one reads what it has asked for all the same."""
    await store.intend_effects("m", [effect(0)])
    gate = threading.Event()
    busy = store._writer.submit(lambda _connection: gate.wait())
    settling = asyncio.ensure_future(store.settle_effect("m", "s", None, 0, EffectState.PERFORMED, DONE))
    await asyncio.sleep(0)
    settling.cancel()
    reading = asyncio.ensure_future(store.effects("m", "s", None))
    await asyncio.wait([reading], timeout=0.1)
    gate.set()
    (found,) = await reading
    assert found.state is EffectState.PERFORMED
    assert await busy

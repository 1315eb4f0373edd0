"""The journal of effects: what was intended, what came of it, and never a performed one forgotten."""

import sqlite3
from collections.abc import Sequence
from typing import Final

from gateway.errors import ConflictError, StoreError
from gateway.store.effect_records import EffectRecord, EffectState
from gateway.store.queries import known_box
from gateway.store.sealing import Box, Sealer

NO_ITEM: Final = -1  # a NULL in a primary key would be equal to nothing

# A performed effect is left as it is, and not counted.
_INTEND: Final = (
    "INSERT INTO effects (mission_id, step_id, item, idx, key, op, now, seed, state)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'intended')"
    " ON CONFLICT (mission_id, step_id, item, idx) DO UPDATE SET key = excluded.key, op = excluded.op,"
    " now = excluded.now, seed = excluded.seed, state = excluded.state, entry = NULL WHERE effects.state <> 'performed'"
)


def intend_effects(connection: sqlite3.Connection, mission_id: str, records: Sequence[EffectRecord]) -> None:
    """Insert intents, in place of what is there, unless that was performed; all of them or none."""
    if any(record.state is not EffectState.INTENDED or record.entry is not None for record in records):
        raise StoreError("an effect begins as an intent", code="store.constraint")
    open_mission = connection.execute("SELECT 1 FROM missions WHERE id = ? AND ended_at IS NULL", (mission_id,))
    if open_mission.fetchone() is None:
        raise ConflictError(f"mission {mission_id} has ended, or there is none", code="mission.state")
    rows = [(mission_id, r.step_id, _number(r.item), r.index, r.key, r.op, r.now, r.seed) for r in records]
    for row in rows:
        if connection.execute(_INTEND, row).rowcount != 1:
            message = f"effect {row[3]} of step {row[1]} was performed, and is not intended again"
            raise StoreError(message, code="store.effect_performed")


def settle_effect(
    connection: sqlite3.Connection,
    sealer: Sealer,
    mission_id: str,
    place: tuple[str, int | None, int],
    state: EffectState,
    entry: bytes | None,
) -> None:
    """Say what came of an intent at `place`: step, item, index.

    What was intended behind one that was not performed was never begun, since a batch stops there: it is forgotten in
    the same moment, or a later attempt, which goes another way, would find it in its place.
    """
    if state is EffectState.INTENDED:
        raise StoreError("an intent does not settle an effect", code="store.constraint")
    step_id, item, index = place
    sealed = None
    if entry is not None:
        sealed = sealer.box(connection, mission_id).seal(entry, *_place(step_id, _number(item), index))
    changed = connection.execute(
        "UPDATE effects SET state = ?, entry = ?"
        " WHERE mission_id = ? AND step_id = ? AND item = ? AND idx = ? AND state = 'intended'",
        (state.value, sealed, mission_id, step_id, _number(item), index),
    )
    if changed.rowcount != 1:
        raise StoreError(f"effect {index} of step {step_id} is not intended", code="store.effect_missing")
    if state is not EffectState.PERFORMED:
        connection.execute(
            "DELETE FROM effects WHERE mission_id = ? AND step_id = ? AND item = ? AND idx > ? AND state = 'intended'",
            (mission_id, step_id, _number(item), index),
        )


def effects(
    connection: sqlite3.Connection, sealer: Sealer, mission_id: str, step_id: str, item: int | None
) -> tuple[EffectRecord, ...]:
    """Return the effects of a step, or of one item of it, by index; none for an unknown mission. Raises ErasedError."""
    box = known_box(connection, sealer, mission_id)
    if box is None:
        return ()
    rows = connection.execute(
        "SELECT * FROM effects WHERE mission_id = (SELECT id FROM missions WHERE id = ? AND pruned = 0)"
        " AND step_id = ? AND item = ? ORDER BY idx",
        (mission_id, step_id, _number(item)),
    )
    return tuple(_effect_of(row, box) for row in rows)


def mission_effects(
    connection: sqlite3.Connection, sealer: Sealer, mission_id: str, offset: int, limit: int
) -> tuple[EffectRecord, ...]:
    """Return a page of the effects of a mission, by step, item and index; as `effects`."""
    box = known_box(connection, sealer, mission_id)
    if box is None:
        return ()
    rows = connection.execute(
        "SELECT * FROM effects WHERE mission_id = (SELECT id FROM missions WHERE id = ? AND pruned = 0)"
        " ORDER BY step_id, item, idx LIMIT ? OFFSET ?",
        (mission_id, limit, offset),
    )
    return tuple(_effect_of(row, box) for row in rows)


def forget_doubt(connection: sqlite3.Connection, mission_id: str) -> int:
    """Delete what was not settled, or settled as a doubt; return how many."""
    executing = connection.execute("SELECT 1 FROM missions WHERE id = ? AND state = 'Executing'", (mission_id,))
    if executing.fetchone() is not None:
        raise ConflictError(f"mission {mission_id} is executing: its intents are no doubts", code="mission.state")
    return connection.execute(
        "DELETE FROM effects WHERE mission_id = ? AND state IN ('intended', 'in_doubt')", (mission_id,)
    ).rowcount


def _effect_of(row: sqlite3.Row, box: Box) -> EffectRecord:
    entry = row["entry"]
    return EffectRecord(
        step_id=row["step_id"],
        item=None if row["item"] == NO_ITEM else row["item"],
        index=row["idx"],
        key=row["key"],
        op=row["op"],
        now=row["now"],
        seed=row["seed"],
        state=EffectState(row["state"]),
        entry=None if entry is None else box.open(entry, *_place(row["step_id"], row["item"], row["idx"])),
    )


def _place(step_id: str, item: int, index: int) -> tuple[str, ...]:
    return ("effects.entry", step_id, str(item), str(index))


def _number(item: int | None) -> int:
    """Return the item as it is stored; a negative one would pass for none."""
    if item is None:
        return NO_ITEM
    if item < 0:
        raise StoreError("items count from 0", code="store.constraint")
    return item

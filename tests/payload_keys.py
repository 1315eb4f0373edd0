"""A master key of payloads for tests, and SQL that changes what is sealed as somebody with that key could."""

import sqlite3
from typing import Final

from gateway.store.master_keys import MasterKeys
from gateway.store.sealing import Sealer

KEY: Final = b"k" * 32  # of a mission
MASTERS: Final = MasterKeys(b"m" * 32)
_PLACES: Final = {
    "output = ?": "output = sealed(mission_id, ?, 'step_results.output', step_id)",
    "entry = ?": "entry = sealed(mission_id, ?, 'effects.entry', step_id, item, idx)",
    "document = ?": "document = sealed(mission_id, ?, 'mission_documents.document')",
}


def lend_seals(connection: sqlite3.Connection, masters: MasterKeys = MASTERS) -> None:
    """Let SQL call `sealed(mission_id, value, place…)` and `opened(mission_id, value, place…)`."""
    sealer = Sealer(masters)

    def sealed(mission_id: str, value: bytes | str, *place: str | int) -> bytes:
        plain = value.encode() if isinstance(value, str) else value
        return sealer.box(connection, mission_id).seal(plain, *map(str, place))

    def opened(mission_id: str, value: bytes, *place: str | int) -> str:
        return sealer.box(connection, mission_id).open(value, *map(str, place)).decode()

    connection.create_function("sealed", -1, sealed)
    connection.create_function("opened", -1, opened)


def resealed(sql: str) -> str:
    """Return an UPDATE of outputs, journals or documents so that what it puts there is sealed."""
    for plain, sealed in _PLACES.items():
        sql = sql.replace(plain, sealed)
    return sql

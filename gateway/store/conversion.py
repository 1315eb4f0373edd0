"""What the migration to sealed payloads calls from its SQL: it seals what an earlier schema had in the clear."""

import sqlite3

from gateway.store.sealing import Sealer, new_key


def lend_functions(connection: sqlite3.Connection, sealer: Sealer) -> None:
    """Let SQL on this connection make keys and seal values; for `gateway.store.schema.migrate`."""

    def sealed(mission_id: str, wrapped: bytes, value: str | bytes | None, *place: str | int) -> bytes | None:
        if value is None:
            return None
        plain = value.encode() if isinstance(value, str) else value
        return sealer.box_of(mission_id, sealer.kek, wrapped).seal(plain, *map(str, place))

    def tag(wrapped: bytes, tenant: str, submitter: str, request_id: str | None) -> str | None:
        return None if request_id is None else sealer.tag_of(sealer.kek, wrapped, tenant, submitter, request_id)

    connection.create_function("payload_kek", 0, lambda: sealer.kek)
    connection.create_function("payload_key", 1, lambda mission_id: sealer.wrap(mission_id, new_key()))
    connection.create_function("payload_sealed", -1, sealed)
    connection.create_function("payload_tag", 4, tag)

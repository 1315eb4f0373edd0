"""All that a home keeps of missions, opened with its keys: a look at files alone would find nothing, leaked or not."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from engine.clock import SystemClock
from gateway.folders import STORE_FILE
from gateway.store.master_keys import MasterKeys
from gateway.store.sealing import OWN, Sealer
from gateway.vault.master import MasterSource
from gateway.vault.mission_key import FORMAT, key_for
from gateway.vault.sealing import unseal_whole

# Table, column, the columns that tell a mission's rows apart.
SEALED: Final = (
    ("missions", "head", ()),
    ("missions", "ending", ()),
    ("missions", "labels", ()),
    ("missions", "erasing", ()),
    ("mission_documents", "document", ()),
    ("step_results", "output", ("step_id",)),
    ("step_results", "error_message", ("step_id",)),
    ("mission_events", "body", ("idx",)),
    ("effects", "entry", ("step_id", "item", "idx")),
    ("approvals", "message", ("id",)),
    ("approvals", "comment", ("id",)),
)


def opened_payloads(home: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every payload of a home, in store and blobs, after where it is."""
    masters = MasterKeys.of(MasterSource(home), SystemClock())
    sealer = Sealer(masters)
    with closing(sqlite3.connect(home / STORE_FILE)) as connection:
        for table, column, names in SEALED:
            mission = "id" if table == "missions" else "mission_id"
            places = "".join(f", {name}" for name in names)
            rows = connection.execute(f"SELECT {mission}, {column}{places} FROM {table} WHERE length({column}) > 0")  # noqa: S608 - names of our own
            for mission_id, sealed, *place in rows.fetchall():
                plain = sealer.box(connection, mission_id).open(sealed, f"{table}.{column}", *map(str, place))
                yield f"{table}.{column} of {mission_id}", plain
        for (mission_id,) in connection.execute("SELECT mission_id FROM mission_keys WHERE mission_id <> ?", (OWN,)):
            cipher = AESGCM(key_for(sealer.key(connection, mission_id), "blobs"))
            for path in sorted((home / "workspaces" / ".blobs" / mission_id).glob("*")):
                place = (FORMAT, mission_id, "blobs", path.name)
                yield f"blob of {mission_id}", bytes(unseal_whole(cipher, path.read_bytes(), place))


def blobs_of(home: Path) -> list[bytes]:
    """Return the content of every blob of a home."""
    return [content for where, content in opened_payloads(home) if where.startswith("blob ")]

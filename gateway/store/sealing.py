"""Payloads between values and rows: everything of a mission that may say something is sealed under the mission's key.

Each mission has a random key of 32 bytes, made at its admission and kept wrapped by the master key
(`gateway.store.master_keys`). From it come, by HKDF-SHA256, a key for "payloads" (AES-256-GCM, here) and one for
"commitments". A sealed value is bound to its table, its mission and its place there, so that it opens nowhere else.
Where the wrapped key is gone, so is everything that was sealed, also in copies that hold only rows.

Nonces are 96 random bits; one mission seals some values for each step, far below the 2^32 of NIST SP 800-38D, 8.3.
"""

import hmac
import os
import sqlite3
from typing import Final

import orjson
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from engine.entropy import BufferedEntropy
from engine.lru import LruCache
from gateway.errors import ConflictError, ErasedError, NotFoundError, SecretError
from gateway.store.master_keys import MasterKeys
from gateway.vault.mission_key import FORMAT, key_for
from gateway.vault.sealing import KEY_BYTES, NONCE_BYTES, seal_whole, unseal_whole

DAMAGED: Final = "mission.damaged"
OWN: Final = ""  # where missions have their ids: the store's own key, which makes the tags of request ids
_BOXES_HELD_MAX: Final = 1_024
_KEY_OF: Final = "SELECT kek, wrapped FROM mission_keys WHERE mission_id = ?"


def new_key() -> bytes:
    """Return a mission's key."""
    return os.urandom(KEY_BYTES)


class Box:
    """Seals and opens the payloads of one mission; for one thread."""

    __slots__ = ("_cipher", "_mission_id", "_nonces")

    def __init__(self, mission_id: str, key: bytes, nonces: BufferedEntropy) -> None:
        self._mission_id = mission_id
        self._cipher = AESGCM(key_for(key, "payloads"))
        self._nonces = nonces

    def is_of(self, mission_id: str) -> bool:
        """Return whether it is that mission's."""
        return self._mission_id == mission_id

    def seal(self, value: bytes, *place: str) -> bytes:
        """Return `value` sealed for a place: table and column, then what tells the mission's rows there apart."""
        bound = (FORMAT, self._mission_id, *place)
        return seal_whole(self._cipher, value, bound, self._nonces(NONCE_BYTES))

    def open(self, sealed: bytes, *place: str) -> bytes:
        """Return what was sealed for a place.

        Raises:
            ConflictError: `mission.damaged`, another place, another mission, or a changed byte: nobody can tell which.
        """
        try:
            return bytes(unseal_whole(self._cipher, sealed, (FORMAT, self._mission_id, *place)))
        except SecretError as error:
            message = f"what is recorded of mission {self._mission_id} does not open: it was changed or moved"
            raise ConflictError(message, code=DAMAGED) from error


class Sealer:
    """Finds the keys of missions in the database that it is given; for one thread.

    The wrapped key is read anew each time, and only what comes from it is remembered: an erased mission, or one whose
    transaction was lost, has no box, whatever was there before.
    """

    def __init__(self, masters: MasterKeys) -> None:
        self._masters = masters
        self._nonces = BufferedEntropy()
        self._boxes: LruCache[bytes, Box] = LruCache(_BOXES_HELD_MAX, _BOXES_HELD_MAX)
        self._tagging: bytes | None = None  # of the store's own key, which is never erased

    @property
    def kek(self) -> int:
        """The number of the master key that wraps."""
        return self._masters.number

    def wrap(self, mission_id: str, key: bytes) -> bytes:
        """Return a mission's key, wrapped by that master key."""
        return self._masters.wrap(mission_id, key)

    def admit(self, connection: sqlite3.Connection, mission_id: str, key: bytes) -> Box:
        """Keep a new mission's key, wrapped, and return its box."""
        wrapped = self.wrap(mission_id, key)
        connection.execute("INSERT INTO mission_keys VALUES (?, ?, ?)", (mission_id, self.kek, wrapped))
        box = Box(mission_id, key, self._nonces)
        self._boxes.put(wrapped, box, 1)
        return box

    def box(self, connection: sqlite3.Connection, mission_id: str) -> Box:
        """Return the box of a mission.

        Raises:
            NotFoundError: `mission.not_found`.
            ErasedError: `mission.erased`.
            StoreError: `store.other_key`, `store.unreadable`: its key cannot be had.
        """
        return self.box_of(mission_id, *_wrapped(connection, mission_id))

    def box_of(self, mission_id: str, kek: int, wrapped: bytes) -> Box:
        """Return the box of a mission with this wrapped key.

        Raises:
            StoreError: `store.other_key`, `store.unreadable`.
        """
        box = self._boxes.get(wrapped)
        if box is None or not box.is_of(mission_id):
            box = Box(mission_id, self._masters.unwrap(mission_id, kek, wrapped), self._nonces)
            self._boxes.put(wrapped, box, 1)
        return box

    def key(self, connection: sqlite3.Connection, mission_id: str) -> bytes:
        """Return the key of a mission; as `box`."""
        return self._masters.unwrap(mission_id, *_wrapped(connection, mission_id))

    def forget(self) -> None:
        """Let go of what is remembered."""
        self._boxes.clear()

    def request_tag(self, connection: sqlite3.Connection, tenant: str, submitter: str, request_id: str) -> str:
        """Return what stands in a row for a request id: who has only the database cannot tell which it was."""
        if self._tagging is None:
            self._tagging = key_for(self.key(connection, OWN), "request ids")
        return _tag(self._tagging, tenant, submitter, request_id)

    def tag_of(self, kek: int, wrapped: bytes, tenant: str, submitter: str, request_id: str) -> str:
        """Return such a tag by the store's own key, which is wrapped."""
        return _tag(key_for(self._masters.unwrap(OWN, kek, wrapped), "request ids"), tenant, submitter, request_id)


def _tag(key: bytes, *parts: str) -> str:
    return hmac.digest(key, orjson.dumps(parts), "sha256").hex()


def _wrapped(connection: sqlite3.Connection, mission_id: str) -> tuple[int, bytes]:
    """Return the wrapped key of a mission, after the number of its master key."""
    row = connection.execute(_KEY_OF, (mission_id,)).fetchone()
    if row is None:
        raise _keyless(connection, mission_id)
    return row[0], row[1]


def _keyless(connection: sqlite3.Connection, mission_id: str) -> NotFoundError | ErasedError:
    """Return why a mission has no key."""
    row = connection.execute("SELECT erased_at FROM missions WHERE id = ? AND pruned = 0", (mission_id,)).fetchone()
    if row is None:
        return NotFoundError("there is no such mission", code="mission.not_found")
    return ErasedError("what the mission held was erased")

"""The master key of a home, which wraps the key of every mission: who has only the database can read no payload.

    keys/payloads.key       as keys/secrets.key (`gateway.vault.master`)
    keys/payloads.key.next  the same, while a rotation is under way (`gateway.store.rotation`)

With a passphrase no key may lie in the home. The file then holds half of it: the master key comes, by HKDF-SHA256 with
the file's bytes as its salt, from the vault's key of handles, which stays the same when the passphrase is changed. So a
rotation works alike both ways: once the file is destroyed, its master key is.

A wrapped key says by which master key: by a number that is derived from that one, so that a wrong key is told from a
changed byte.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from engine.clock import Clock
from gateway.derivation import derived_key
from gateway.errors import SecretError, StoreError
from gateway.vault.keeper import Keeper
from gateway.vault.master import MasterSource, read_key, write_key
from gateway.vault.mission_key import FORMAT, key_for
from gateway.vault.sealing import KEY_BYTES, NONCE_BYTES, seal_whole, unseal_whole, wipe

KEY_FILE: Final = "keys/payloads.key"
NEXT_KEY_FILE: Final = "keys/payloads.key.next"
_NUMBER_BYTES: Final = 6


class MasterKeys:
    """Wraps by the current master key; unwraps by that one, and by the one that a rotation was about to put in place.

    It holds ciphers, no key bytes, and may be used by several threads.
    """

    def __init__(self, current: bytes | bytearray, following: bytes | bytearray | None = None) -> None:
        """Prepare from keys of 32 bytes, which the caller wipes."""
        self.number: Final = _number(current)  # of the current one
        self._ciphers: Mapping[int, AESGCM] = {
            _number(key): AESGCM(key_for(key, "wrapping")) for key in (current, following) if key
        }

    @classmethod
    def of(cls, source: MasterSource, clock: Clock, *, first: bool = False) -> "MasterKeys":
        """Return the master keys of a home.

        Args:
            source: says whether there is a passphrase, and where the home is.
            clock: of the vault's changes.
            first: nothing was ever sealed there: a key that is missing is made.

        Raises:
            SecretError: it cannot be had: the store cannot be opened then.
        """
        path, following = source.home / KEY_FILE, source.home / NEXT_KEY_FILE
        if first and not path.exists():
            write_key(path, os.urandom(KEY_BYTES))
        root = Keeper(source, clock).handle_key() if source.stretched else None
        current = key_in(path, root)
        next_key = key_in(following, root) if following.exists() else None
        try:
            return cls(current, next_key)
        finally:
            for key in (root, current, next_key):
                if key is not None:
                    wipe(key)

    def wrap(self, mission_id: str, key: bytes) -> bytes:
        """Return a mission's key wrapped by the current master key."""
        nonce = os.urandom(NONCE_BYTES)
        return seal_whole(self._ciphers[self.number], key, _place(mission_id, self.number), nonce)

    def unwrap(self, mission_id: str, number: int, wrapped: bytes) -> bytes:
        """Return the key that was wrapped for this mission by that master key.

        Raises:
            StoreError: `store.other_key`, it was wrapped by another master key; `store.unreadable`, it was changed, or
                is another mission's.
        """
        cipher = self._ciphers.get(number)
        if cipher is None:
            message = f"the payloads were sealed under another key than the one in {KEY_FILE}: put that one back"
            raise StoreError(message, code="store.other_key")
        try:
            return bytes(unseal_whole(cipher, wrapped, _place(mission_id, number)))
        except SecretError as error:
            raise StoreError("the key of a mission does not open: it was changed", code="store.unreadable") from error


def key_in(path: Path, root: bytes | bytearray | None) -> bytearray:
    """Return the master key of a file, which holds half of it where there is a `root`.

    Raises:
        SecretError: `secret.key_unreadable`.
    """
    held = read_key(path)
    if root is None:
        return held
    try:
        return bytearray(derived_key(root, f"{FORMAT} master".encode(), bytes(held)))
    finally:
        wipe(held)


def _number(key: bytes | bytearray) -> int:
    return int.from_bytes(key_for(key, "number")[:_NUMBER_BYTES], "big")


def _place(mission_id: str, number: int) -> tuple[str, ...]:
    return (FORMAT, "mission_keys", mission_id, str(number))

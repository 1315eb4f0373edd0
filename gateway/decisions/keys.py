"""Keys of the records: who has only the database's file can read nothing of it.

    keys/decisions.key    as keys/secrets.key (`gateway.vault.master`), where that is a file

With a passphrase no key may lie in the home: the root is then that of the vault's key of handles, which stays the same
when passphrase and data key are changed. Elsewhere it is a file of its own, so that a vault which is damaged, or whose
key is gone, stops the steps that need a secret and nothing else.

From the root comes, by HKDF-SHA256, a key for each day, so that one key seals at most a day's documents: AES-GCM with
random nonces allows 2^32 of them (NIST SP 800-38D, 8.3), which is 49,000 a second. Another key makes the tags by which
a person's rows are found, and one more the digests of documents.
"""

import hashlib
import hmac
import os
from collections import OrderedDict
from typing import Final, Self

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from engine.clock import Clock
from engine.entropy import BufferedEntropy
from engine.lru import LruCache
from gateway.derivation import derived_key
from gateway.errors import SecretError, StoreError
from gateway.vault.keeper import Keeper
from gateway.vault.master import MasterSource, read_key, write_key
from gateway.vault.sealing import KEY_BYTES, NONCE_BYTES, Place, seal_whole, unseal_whole, wipe

KEY_FILE: Final = "keys/decisions.key"
FORMAT: Final = "missiongate.decisions/1"
_DAYS_HELD_MAX: Final = 64  # ciphers of days that are kept ready
_TAGS_HELD_MAX: Final = 1_024
_TAG_BYTES: Final = 16


class RecordKeys:
    """Seals and opens what is recorded. Not for several threads at once: one has the writer, another each reader."""

    def __init__(self, root: bytes | bytearray) -> None:
        """Derive from `root`, 32 bytes, which the caller wipes."""
        self._root = bytearray(_derived(root, b"root"))
        self._tags = _derived(root, b"subject tags")
        self._documents = hmac.new(_derived(root, b"document digests"), digestmod="sha256")
        self._tagged: LruCache[tuple[str, str], bytes] = LruCache(_TAGS_HELD_MAX, _TAGS_HELD_MAX)
        self._days: OrderedDict[int, AESGCM] = OrderedDict()
        self._nonces = BufferedEntropy()  # of the writer's thread, which alone seals
        self.check: Final = _derived(root, b"check")  # tells two roots apart, and says nothing of either

    @classmethod
    def of(cls, source: MasterSource, clock: Clock, *, first: bool = False) -> Self:
        """Return the keys of a home.

        Args:
            source: says whether there is a passphrase, and where the home is.
            clock: of the vault's changes.
            first: nothing was ever recorded there: a key that is missing is made.

        Raises:
            SecretError: the key cannot be had: nothing is recorded then, and nothing decided.
        """
        if source.stretched:
            root = Keeper(source, clock).handle_key()
        else:
            path = source.home / KEY_FILE
            if first and not path.exists():
                write_key(path, os.urandom(KEY_BYTES))
            root = read_key(path)
        try:
            return cls(root)
        finally:
            wipe(root)

    def seal(self, day: int, value: bytes, place: Place) -> bytes:
        """Return `value` sealed for `place`: nonce, ciphertext, tag."""
        return seal_whole(self._cipher(day), value, (FORMAT, *place), self._nonces(NONCE_BYTES))

    def open(self, day: int, sealed: bytes, place: Place) -> bytes:
        """Return what was sealed.

        Raises:
            StoreError: `decisions.unreadable`, another key, another place, or a changed byte: nobody can tell which.
        """
        try:
            found = unseal_whole(self._cipher(day), sealed, (FORMAT, *place))
        except SecretError as error:
            message = "it does not open: it was changed, or the key is another"
            raise StoreError(message, code="decisions.unreadable") from error
        return bytes(found)

    def tag(self, tenant: str, subject: str) -> bytes:
        """Return what stands in a row for a person: who has the key can look for somebody, nobody can list names."""
        tag = self._tagged.get((tenant, subject))
        if tag is None:
            told = hashlib.sha256(tenant.encode()).digest() + subject.encode()  # of one length, then all of the other
            tag = hmac.digest(self._tags, told, "sha256")[:_TAG_BYTES]
            self._tagged.put((tenant, subject), tag, 1)
        return tag

    def digest(self, document: bytes) -> str:
        """Return what stands in a row for a document; a plain digest of one, which is short, could be guessed."""
        mac = self._documents.copy()
        mac.update(document)
        return "hmac-sha256:" + mac.hexdigest()

    def wipe(self) -> None:
        """Overwrite the root; copies that Python and OpenSSL have made of it are not reached."""
        wipe(self._root)
        self._days.clear()

    def _cipher(self, day: int) -> AESGCM:
        cipher = self._days.get(day)
        if cipher is None:
            cipher = self._days[day] = AESGCM(_derived(self._root, b"day %d" % day))
            if len(self._days) > _DAYS_HELD_MAX:
                self._days.popitem(last=False)
        return cipher


def _derived(root: bytes | bytearray, purpose: bytes) -> bytes:
    return derived_key(root, FORMAT.encode() + b" " + purpose)

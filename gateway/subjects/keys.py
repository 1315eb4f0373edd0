"""The keys of the table of subjects: a tag finds a person, a seal hides the name, and each has a key of commitments.

All three come from one root, so that who has the database's file alone can read no name in it, nor look for one.
Source: RFC 5869 for the derivation; the seal binds a value to its pseudonym (`gateway.vault.sealing`).
"""

import hashlib
import hmac
import os
from typing import Final

import orjson

from gateway.derivation import derived_key
from gateway.errors import SecretError, StoreError
from gateway.vault.sealing import KEY_BYTES, NONCE_BYTES, Sealed, seal, unseal

FORMAT: Final = "missiongate.subjects/1"
ANONYMOUS_TAG: Final = b"anonymous"


class SubjectKeys:
    """Tags, seals and opens."""

    def __init__(self, root: bytes | bytearray) -> None:
        """Derive from `root`, 32 bytes."""
        self._tags = derived_key(root, FORMAT.encode() + b" tags")
        self._seals = derived_key(root, FORMAT.encode() + b" seals")

    def tag(self, tenant: str, subject: str) -> bytes:
        """Return what finds a person: 32 bytes, different for any other tenant or subject."""
        told = hashlib.sha256(tenant.encode()).digest() + subject.encode()  # of one length, then all of the other
        return hmac.digest(self._tags, told, "sha256")

    def anonymous_tag(self) -> bytes:
        """Return what finds all callers without a credential; it is no person's, whose is of 32 bytes and more."""
        return hmac.digest(self._tags, ANONYMOUS_TAG, "sha256")

    def seal_name(self, pseudonym: str, tenant: str, subject: str) -> bytes:
        """Return a name, sealed for its pseudonym."""
        return self._sealed(orjson.dumps([tenant, subject]), pseudonym, "name")

    def open_name(self, pseudonym: str, sealed: bytes) -> tuple[str, str]:
        """Return tenant and subject.

        Raises:
            StoreError: `subject.unreadable`, another key, another row, or a changed byte.
        """
        tenant, subject = orjson.loads(self._opened(sealed, pseudonym, "name"))
        return str(tenant), str(subject)

    def new_key(self, pseudonym: str) -> bytes:
        """Return a new key of commitments, wrapped for its pseudonym."""
        return self._sealed(os.urandom(KEY_BYTES), pseudonym, "key")

    def open_key(self, pseudonym: str, wrapped: bytes) -> bytes:
        """Return a key of commitments.

        Raises:
            StoreError: as `open_name`.
        """
        return self._opened(wrapped, pseudonym, "key")

    def _sealed(self, value: bytes, pseudonym: str, purpose: str) -> bytes:
        sealed = seal(self._seals, value, (FORMAT, purpose, pseudonym))
        return sealed.nonce + sealed.body

    def _opened(self, sealed: bytes, pseudonym: str, purpose: str) -> bytes:
        parts = Sealed(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:])
        try:
            return bytes(unseal(self._seals, parts, (FORMAT, purpose, pseudonym)))
        except SecretError as error:
            message = "what is stored of a subject does not open: it was changed, or the key is another"
            raise StoreError(message, code="subject.unreadable") from error

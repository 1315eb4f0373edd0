"""What comes from the key of a mission: one key for each purpose, so that none tells anything of another.

Purposes: "payloads" (`gateway.store.sealing`), "blobs" and "blob names" (`gateway.effects.blobs`). "commitments" and
"effects" come from it without the format's name (`gateway.commitments`), as docs/privacy.md says for who checks them.
"""

from typing import Final

from gateway.derivation import derived_key

FORMAT: Final = "missiongate.payloads/1"


def key_for(key: bytes | bytearray, purpose: str) -> bytes:
    """Return the key of 32 bytes that comes from `key` for a purpose, by HKDF-SHA256."""
    return derived_key(key, f"{FORMAT} {purpose}".encode())

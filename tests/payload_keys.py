"""A master key of payloads for tests."""

from gateway.store.master_keys import MasterKeys

MASTERS = MasterKeys(b"m" * 32)

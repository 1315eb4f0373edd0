"""The vault as a running gateway reads it: afresh whenever its file has changed, so that no restart is needed.

What is held between two uses is the data key and the key of handles, never a value. All calls may block (the disk,
and scrypt after a change), and may come from several threads.
"""

import hmac
import threading
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import orjson

from gateway.errors import SecretError
from gateway.vault.book import Book
from gateway.vault.master import MasterSource
from gateway.vault.names import HANDLE_PREFIX
from gateway.vault.sealing import wipe
from gateway.vault.vault_file import Stamp, open_vault, stamp_of

_DOMAIN: Final = "missiongate/secret-handle/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """For whom a handle is made. `seed` is the attempt's own, and stays where a later one is told what it has done."""

    tenant: str
    mission_id: str
    step_id: str
    item: int | None
    seed: str


@dataclass(frozen=True, slots=True)
class _Opened:
    stamp: Stamp
    book: Book
    data_key: bytearray
    handle_key: bytearray

    def wipe(self) -> None:
        wipe(self.data_key)
        wipe(self.handle_key)


class VaultReader:
    """Handles and values. A vault that is damaged, or whose key is not there, gives neither."""

    def __init__(self, source: MasterSource) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._opened: _Opened | None = None

    def missing(self, tenant: str, names: Collection[str]) -> list[str]:
        """Return which of these secrets a tenant does not have, sorted.

        Raises:
            SecretError: the vault cannot be had.
        """
        with self._lock:
            opened = self._current() if names else None
            return sorted(name for name in names if opened is None or (tenant, name) not in opened.book.entries)

    def handles(self, attempt: Attempt, names: Collection[str]) -> dict[str, str]:
        """Return a handle by name: nobody can guess it, and another attempt's is another.

        It is HMAC-SHA256 under a key of the vault over everything that makes the attempt what it is. A later attempt
        that is told what this one has done has this one's seed, and so the same handles: what it asks for has the
        same key (`gateway.effects.keys`), and is known again.

        Raises:
            SecretError: `secret.unknown`, or the vault cannot be had.
        """
        with self._lock:
            opened = self._current()
            for name in names:
                if opened is None or (attempt.tenant, name) not in opened.book.entries:
                    raise SecretError(f"there is no secret {name}", code="secret.unknown")
            return {} if opened is None else {name: _handle(opened.handle_key, attempt, name) for name in names}

    def value(self, tenant: str, name: str) -> bytearray:
        """Return a value as it is now, in a buffer that the caller wipes.

        Raises:
            SecretError: `secret.unknown`, or the vault cannot be had.
        """
        with self._lock:
            opened = self._current()
            if opened is None:
                raise SecretError(f"there is no secret {name}", code="secret.unknown")
            return opened.book.open_value(opened.data_key, (tenant, name))

    def close(self) -> None:
        """Wipe the keys."""
        with self._lock:
            self._forget()

    def _current(self) -> _Opened | None:
        """Return what is on the disk now. The stamp is taken first: a change in between is seen the next time."""
        stamp = stamp_of(self._source.home)
        if self._opened is not None and self._opened.stamp == stamp:
            return self._opened
        self._forget()
        if stamp is None or (found := open_vault(self._source)) is None:
            return None
        book, data_key, _ = found
        self._opened = _Opened(stamp, book, data_key, book.open_handle_key(data_key))
        return self._opened

    def _forget(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.wipe()


def _handle(key: bytearray, attempt: Attempt, name: str) -> str:
    made_for = [_DOMAIN, attempt.tenant, attempt.mission_id, attempt.step_id, attempt.item, attempt.seed, name]
    return HANDLE_PREFIX + hmac.digest(key, orjson.dumps(made_for), "sha256").hex()

"""The vault as a value: sealed entries, the wrapped keys, and a seal over all of it. No I/O here.

    {"format", "id", "generation", "salt", "data_key", "handle_key", "entries": [...], "seal"}

The master key wraps the data key; the data key seals each value, the key of handles and, by HMAC-SHA256 under a key
derived from it, the whole. So one entry cannot be changed, moved to another name or tenant, taken out, or put back
from an earlier file. Only the file as a whole can be put back: nothing outside of it says how new it should be.
"""

import base64
import binascii
import hmac
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Self

import orjson

from gateway.errors import SecretError, SecretRefusedError
from gateway.vault.master import SALT_BYTES
from gateway.vault.names import check_place, check_value
from gateway.vault.sealing import KEY_BYTES, Sealed, seal, unseal, wipe

FORMAT: Final = "missiongate.secrets/1"
BOOK_BYTES_MAX: Final = 32 * 1024 * 1024
ENTRIES_MAX: Final = 1_000
_FIELDS: Final = {"format", "id", "generation", "salt", "data_key", "handle_key", "entries", "seal"}
_ENTRY_FIELDS: Final = {"tenant", "name", "changed_at", "sealed"}
_ID: Final = re.compile(r"[0-9a-f]{32}")
_TIME_CHARS_MAX: Final = 64

Owner = tuple[str, str]  # tenant, name


@dataclass(frozen=True, slots=True)
class Entry:
    """One secret at rest."""

    sealed: Sealed
    changed_at: str  # RFC 3339


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """Everything in the file but its seal. `id` binds what is sealed to this vault."""

    id: str
    generation: int  # counts changes
    salt: bytes  # of the passphrase; empty: the master key stands in a file
    data_key: Sealed
    handle_key: Sealed
    entries: Mapping[Owner, Entry] = field(default_factory=dict)

    @classmethod
    def new(cls, master: bytearray, salt: bytes) -> Self:
        """Return an empty vault with keys of its own."""
        vault_id, data_key, handle_key = os.urandom(16).hex(), bytearray(os.urandom(KEY_BYTES)), os.urandom(KEY_BYTES)
        try:
            return cls(
                id=vault_id,
                generation=0,
                salt=salt,
                data_key=seal(master, data_key, (FORMAT, vault_id, "data key", salt.hex())),
                handle_key=seal(data_key, handle_key, (FORMAT, vault_id, "handle key")),
            )
        finally:
            wipe(data_key)

    def unwrap(self, master: bytearray) -> bytearray:
        """Return the data key.

        Raises:
            SecretError: `secret.damaged`, as of another master key.
        """
        return unseal(master, self.data_key, (FORMAT, self.id, "data key", self.salt.hex()))

    def open_handle_key(self, data_key: bytearray) -> bytearray:
        """Return the key of which handles are made; it stays the same over rotations, and so do handles."""
        return unseal(data_key, self.handle_key, (FORMAT, self.id, "handle key"))

    def open_value(self, data_key: bytearray, owner: Owner) -> bytearray:
        """Return the value of a secret.

        Raises:
            SecretError: `secret.unknown`, `secret.damaged`.
        """
        entry = self.entries.get(owner)
        if entry is None:
            raise SecretError(f"there is no secret {owner[1]}", code="secret.unknown")
        return unseal(data_key, entry.sealed, (FORMAT, self.id, "value", *owner))

    def with_value(self, data_key: bytearray, owner: Owner, value: bytearray, changed_at: str) -> Self:
        """Return the vault with one secret set.

        Raises:
            SecretRefusedError: name, tenant or value break a rule, or there are too many.
        """
        check_place(*owner)
        check_value(owner[1], value)
        if owner not in self.entries and len(self.entries) >= ENTRIES_MAX:
            raise SecretRefusedError(f"a vault has at most {ENTRIES_MAX} secrets", code="secret.too_many")
        entry = Entry(seal(data_key, value, (FORMAT, self.id, "value", *owner)), changed_at)
        return replace(self, generation=self.generation + 1, entries={**self.entries, owner: entry})

    def without(self, owner: Owner) -> Self:
        """Return the vault without one secret."""
        entries = {each: entry for each, entry in self.entries.items() if each != owner}
        return replace(self, generation=self.generation + 1, entries=entries)

    def rewrapped(self, old: bytearray, master: bytearray, salt: bytes) -> tuple[Self, bytearray]:
        """Return the vault under a new master key and a new data key, and that data key; every value is sealed anew."""
        data_key = bytearray(os.urandom(KEY_BYTES))
        handle_key = self.open_handle_key(old)
        entries: dict[Owner, Entry] = {}
        for owner, entry in self.entries.items():
            value = self.open_value(old, owner)
            entries[owner] = replace(entry, sealed=seal(data_key, value, (FORMAT, self.id, "value", *owner)))
            wipe(value)
        book = replace(
            self,
            generation=self.generation + 1,
            salt=salt,
            data_key=seal(master, data_key, (FORMAT, self.id, "data key", salt.hex())),
            handle_key=seal(data_key, handle_key, (FORMAT, self.id, "handle key")),
            entries=entries,
        )
        wipe(handle_key)
        return book, data_key

    # --- as bytes ---

    def encode(self, data_key: bytearray) -> bytes:
        """Return the file."""
        return orjson.dumps({**self._document(), "seal": _text(self._seal(data_key))}, option=orjson.OPT_INDENT_2)

    def verify(self, data_key: bytearray, written: bytes) -> None:
        """Return where `written` is the seal of this vault.

        Raises:
            SecretError: `secret.damaged`.
        """
        if not hmac.compare_digest(self._seal(data_key), written):
            raise damaged("its seal is not that of what it holds")

    @classmethod
    def decode(cls, raw: bytes) -> tuple[Self, bytes]:
        """Return what the file says, and its seal, which is to be verified before anything of it is believed.

        Raises:
            SecretError: `secret.damaged`, it is not of the format.
        """
        try:
            form = orjson.loads(raw) if len(raw) <= BOOK_BYTES_MAX else None
            if not isinstance(form, dict) or form.keys() != _FIELDS or form["format"] != FORMAT:
                raise damaged("it is not of this format")
            entries = {_owner(each): _entry(each) for each in form["entries"]}
            if len(entries) != len(form["entries"]) or len(entries) > ENTRIES_MAX:
                raise damaged("an entry stands there twice, or there are too many")
            book = cls(
                id=_matching(_ID, form["id"]),
                generation=_count(form["generation"]),
                salt=_bytes(form["salt"]),
                data_key=_sealed(form["data_key"]),
                handle_key=_sealed(form["handle_key"]),
                entries=entries,
            )
            seal_ = _bytes(form["seal"])
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            raise damaged("it is not of this format") from error
        if len(book.salt) not in {0, SALT_BYTES}:
            raise damaged("it is not of this format")
        return book, seal_

    def _document(self) -> dict[str, object]:
        return {
            "format": FORMAT,
            "id": self.id,
            "generation": self.generation,
            "salt": _text(self.salt),
            "data_key": _pair(self.data_key),
            "handle_key": _pair(self.handle_key),
            "entries": [
                {"tenant": tenant, "name": name, "changed_at": entry.changed_at, "sealed": _pair(entry.sealed)}
                for (tenant, name), entry in sorted(self.entries.items())
            ],
        }

    def _seal(self, data_key: bytearray) -> bytes:
        key = hmac.digest(data_key, FORMAT.encode() + b" seal", "sha256")
        return hmac.digest(key, orjson.dumps(self._document(), option=orjson.OPT_SORT_KEYS), "sha256")


def damaged(why: str) -> SecretError:
    """Return the error of a vault that cannot be believed."""
    return SecretError(f"the vault of secrets is damaged: {why}", code="secret.damaged")


def _owner(form: Mapping[str, object]) -> Owner:
    if form.keys() != _ENTRY_FIELDS:
        raise damaged("it is not of this format")
    tenant, name = form["tenant"], form["name"]
    if not isinstance(tenant, str) or not isinstance(name, str):
        raise damaged("it is not of this format")
    return tenant, name


def _entry(form: Mapping[str, object]) -> Entry:
    changed_at = form["changed_at"]
    if not isinstance(changed_at, str) or len(changed_at) > _TIME_CHARS_MAX:
        raise damaged("it is not of this format")
    return Entry(_sealed(form["sealed"]), changed_at)


def _sealed(form: object) -> Sealed:
    if not isinstance(form, dict) or form.keys() != {"nonce", "body"}:
        raise damaged("it is not of this format")
    return Sealed(_bytes(form["nonce"]), _bytes(form["body"]))


def _pair(sealed: Sealed) -> dict[str, str]:
    return {"nonce": _text(sealed.nonce), "body": _text(sealed.body)}


def _bytes(form: object) -> bytes:
    """Return the bytes of canonical base64."""
    if not isinstance(form, str):
        raise damaged("it is not of this format")
    raw = base64.b64decode(form, validate=True)
    if _text(raw) != form:
        raise damaged("it is not of this format")
    return raw


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _matching(pattern: re.Pattern[str], form: object) -> str:
    if not isinstance(form, str) or pattern.fullmatch(form) is None:
        raise damaged("it is not of this format")
    return form


def _count(form: object) -> int:
    if not isinstance(form, int) or isinstance(form, bool) or form < 0:
        raise damaged("it is not of this format")
    return form

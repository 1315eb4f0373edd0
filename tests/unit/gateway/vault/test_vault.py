"""The vault at rest: what opens it, what does not, and what a change leaves behind wherever it is stopped."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.clock import SystemClock
from gateway.errors import EngineError, SecretError, SecretRefusedError
from gateway.vault import keeper as keeping
from gateway.vault.book import ENTRIES_MAX, Book
from gateway.vault.keeper import Keeper
from gateway.vault.master import KEY_FILE, NEXT_KEY_FILE, MasterSource
from gateway.vault.reader import Attempt, VaultReader
from gateway.vault.vault_file import VAULT_FILE

VALUE = b"a value of some length"


class Home:
    """A home with a vault in it."""

    def __init__(self, path: Path, *, passphrase: bytes = b"") -> None:
        (path / "keys").mkdir(mode=0o700)
        phrase = path / "passphrase"
        if passphrase:
            phrase.write_bytes(passphrase)
            phrase.chmod(0o600)
        self.path = path
        self.source = MasterSource(path, phrase if passphrase else None)
        self.keeper = Keeper(self.source, SystemClock())
        self.vault = path / "secrets" / VAULT_FILE

    def set(self, name: str = "A", value: bytes = VALUE, tenant: str = "acme") -> bool:
        return self.keeper.set(tenant, name, bytearray(value))

    def value(self, name: str = "A", tenant: str = "acme") -> bytes:
        return bytes(VaultReader(self.source).value(tenant, name))

    def edit(self, change: Callable[[Any], None]) -> None:
        form = json.loads(self.vault.read_bytes())
        change(form)
        self.vault.write_bytes(json.dumps(form).encode())

    def refused(self) -> str:
        with pytest.raises(EngineError) as refused:
            self.value()
        return refused.value.code


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_what_is_set_is_read_and_stands_nowhere(home: Home) -> None:
    """Under its tenant and name, as the last change left it; files are private and hold no value."""
    assert home.set() is True
    assert home.set(value=b"another value") is False
    home.set("B")
    assert home.value() == b"another value"
    assert home.value("B") == VALUE
    home.keeper.remove("acme", "B")
    assert [(tenant, name) for tenant, name, _ in home.keeper.names()] == [("acme", "A")]
    assert {stat.S_IMODE(p.stat().st_mode) for p in (home.vault, home.path / KEY_FILE)} == {0o600}
    assert stat.S_IMODE(home.vault.parent.stat().st_mode) == 0o700
    assert not [p for p in home.path.rglob("*") if p.is_file() and VALUE in p.read_bytes()]


def test_another_tenant_has_no_such_secret(home: Home) -> None:
    """A name is of one tenant."""
    home.set()
    with pytest.raises(SecretError) as refused:
        home.value(tenant="other")
    assert refused.value.code == "secret.unknown"
    assert VaultReader(home.source).missing("other", ["A"]) == ["A"]
    assert VaultReader(home.source).missing("acme", ["A", "B"]) == ["B"]


def _swapped(form: Any) -> None:
    one, two = form["entries"]
    one["sealed"], two["sealed"] = two["sealed"], one["sealed"]


def _renamed(form: Any) -> None:
    form["entries"][0]["name"] = "C"


def _moved(form: Any) -> None:
    form["entries"][0]["tenant"] = "aaaa"


def _removed(form: Any) -> None:
    del form["entries"][1]


def _doubled(form: Any) -> None:
    form["entries"].append(form["entries"][0])


def _counted_back(form: Any) -> None:
    form["generation"] -= 1


def _flipped(form: Any) -> None:
    body = form["entries"][0]["sealed"]["body"]
    form["entries"][0]["sealed"]["body"] = ("B" if body[0] == "A" else "A") + body[1:]


def _other_handle_key(form: Any) -> None:
    form["handle_key"] = form["entries"][0]["sealed"]


def _weak_salt(form: Any) -> None:
    form["salt"] = "AAAA"


@pytest.mark.parametrize(
    "change",
    [_swapped, _renamed, _moved, _removed, _doubled, _counted_back, _flipped, _other_handle_key, _weak_salt],
)
def test_no_change_of_the_file_is_believed(home: Home, change: Callable[[Any], None]) -> None:
    """Not of one entry, not of the whole: it fails closed with one code, and nothing can be changed any more."""
    home.set("A")
    home.set("B", b"another value")
    home.edit(change)
    assert home.refused() == "secret.damaged"
    with pytest.raises(SecretError):
        home.set("D")


def test_one_entry_cannot_be_put_back(home: Home) -> None:
    """The sealed form of an earlier value opens, but the whole is not what was sealed."""
    home.set(value=b"the old value")
    old = json.loads(home.vault.read_bytes())["entries"][0]
    home.set(value=b"the new value")
    home.edit(lambda form: form.update(entries=[old]))
    assert home.refused() == "secret.damaged"


@pytest.mark.parametrize("length", [0, 1, 40, -1])
def test_a_truncated_file_is_damaged(home: Home, length: int) -> None:
    """Wherever it ends."""
    home.set()
    home.vault.write_bytes(home.vault.read_bytes()[:length])
    assert home.refused() == "secret.damaged"


@pytest.mark.parametrize(
    "raw", [b"[]", b"{}", b"null", b"\xff", b"[" * 100_000, b'{"format": "missiongate.secrets/2"}']
)
def test_what_is_no_vault_is_damaged(home: Home, raw: bytes) -> None:
    """Whatever it holds."""
    home.set()
    home.vault.write_bytes(raw)
    assert home.refused() == "secret.damaged"


def test_a_vault_needs_its_own_key(home: Home, tmp_path: Path) -> None:
    """A missing, a foreign, a damaged and an open key file each open nothing."""
    home.set()
    key = home.path / KEY_FILE
    raw = key.read_bytes()
    key.unlink()
    assert home.refused() == "secret.key_unreadable"
    (tmp_path / "other").mkdir()
    other = Home(tmp_path / "other")
    other.set()
    key.write_bytes((other.path / KEY_FILE).read_bytes())
    key.chmod(0o600)
    assert home.refused() == "secret.damaged"
    key.write_bytes(raw[:-2] + b"\n")
    assert home.refused() == "secret.key_unreadable"
    key.write_bytes(raw)
    key.chmod(0o640)
    assert home.refused() == "secret.key_unreadable"
    key.chmod(0o600)
    assert home.value() == VALUE


def test_a_passphrase_opens_and_is_changed(tmp_path: Path) -> None:
    """The right one, with or without a line feed; after a rotation only the new one; no key file is made."""
    home = Home(tmp_path, passphrase=b"correct horse battery\n")
    home.set()
    assert home.value() == VALUE
    assert not (tmp_path / KEY_FILE).exists()
    new = tmp_path / "new"
    new.write_bytes(b"another horse battery")
    new.chmod(0o600)
    assert home.keeper.rotate(new) == 1
    assert home.refused() == "secret.damaged"
    new.replace(tmp_path / "passphrase")
    assert home.value() == VALUE
    assert MasterSource(tmp_path).stretched is False
    with pytest.raises(SecretError) as refused:
        VaultReader(MasterSource(tmp_path)).value("acme", "A")
    assert refused.value.code == "secret.key_kind"


def test_a_short_passphrase_is_refused(tmp_path: Path) -> None:
    """It could be tried out."""
    home = Home(tmp_path, passphrase=b"short\n")
    with pytest.raises(SecretRefusedError) as refused:
        home.set()
    assert refused.value.code == "secret.weak_passphrase"


def test_rotation_changes_every_key_but_that_of_handles(home: Home) -> None:
    """Values and handles stay; the old key opens nothing, and no sealed byte is as it was."""
    home.set("A")
    home.set("B", b"another value")
    attempt = Attempt(tenant="acme", mission_id="m", step_id="s", item=None, seed="0" * 32)
    handles = VaultReader(home.source).handles(attempt, ["A", "B"])
    before, key = json.loads(home.vault.read_bytes()), (home.path / KEY_FILE).read_bytes()
    assert home.keeper.rotate() == 2
    after = json.loads(home.vault.read_bytes())
    assert before["data_key"] != after["data_key"]
    assert {e["sealed"]["body"] for e in before["entries"]}.isdisjoint(e["sealed"]["body"] for e in after["entries"])
    assert (home.value("A"), home.value("B")) == (VALUE, b"another value")
    assert VaultReader(home.source).handles(attempt, ["A", "B"]) == handles
    (home.path / KEY_FILE).write_bytes(key)
    assert home.refused() == "secret.damaged"


@pytest.mark.parametrize("stop_at", ["write_key", "write_vault", "_place_next_key"])
def test_a_rotation_that_is_stopped_loses_nothing(home: Home, monkeypatch: pytest.MonkeyPatch, stop_at: str) -> None:
    """Before or after each of its steps: the vault opens, and the next change takes the rotation to its end."""
    home.set()

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Keeper if stop_at.startswith("_") else keeping, stop_at, stop)
        with pytest.raises(KeyboardInterrupt):
            home.keeper.rotate()
    assert home.value() == VALUE
    home.set("B")
    assert (home.value("A"), home.value("B")) == (VALUE, VALUE)
    home.keeper.rotate()
    assert home.value() == VALUE
    assert not (home.path / NEXT_KEY_FILE).exists()


def test_a_failed_write_leaves_what_was_there(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is replaced or not; half of it is never seen."""
    home.set()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(SecretError) as refused:
            home.set(value=b"another value")
    assert refused.value.code == "secret.unwritable"
    assert home.value() == VALUE


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("1A", VALUE, "secret.bad_name"),
        ("A-B", VALUE, "secret.bad_name"),
        ("A", b"7 bytes", "secret.bad_value"),
        ("A", b"x" * 16_385, "secret.bad_value"),
        ("A", b"two\nlines", "secret.bad_value"),
        ("A", b"xxxxxxxx", "secret.bad_value"),
        ("TOKEN_VALUE", b"TOKEN_VALUE", "secret.bad_value"),
    ],
)
def test_what_cannot_be_a_secret_is_refused(home: Home, name: str, value: bytes, code: str) -> None:
    """Each by its rule, and no message repeats the value."""
    with pytest.raises(SecretRefusedError) as refused:
        home.set(name, value)
    assert refused.value.code == code
    assert code != "secret.bad_value" or value.decode() not in refused.value.message.replace(name, "")
    assert not home.vault.exists()


def test_a_vault_has_a_bound(home: Home) -> None:
    """One secret more than it holds is refused; one that is there can still be replaced."""
    home.set()
    key = home.source.current(b"")
    book, _ = Book.decode(home.vault.read_bytes())
    entry = next(iter(book.entries.values()))
    full = {("acme", f"N{i}"): entry for i in range(ENTRIES_MAX)}
    crowded = Book(**{**{f: getattr(book, f) for f in book.__dataclass_fields__}, "entries": full})
    with pytest.raises(SecretRefusedError) as refused:
        crowded.with_value(book.unwrap(key), ("acme", "X"), bytearray(VALUE), "")
    assert refused.value.code == "secret.too_many"
    assert len(crowded.with_value(book.unwrap(key), ("acme", "N1"), bytearray(VALUE), "").entries) == ENTRIES_MAX


def test_an_open_reader_sees_changes_and_wipes_its_keys(home: Home) -> None:
    """Each use looks whether the file is another; closed, it holds no key."""
    reader = VaultReader(home.source)
    with pytest.raises(SecretError):
        reader.value("acme", "A")
    home.set()
    assert bytes(reader.value("acme", "A")) == VALUE
    home.set(value=b"another value")
    home.keeper.rotate()
    assert bytes(reader.value("acme", "A")) == b"another value"
    held = reader._opened
    assert held is not None
    assert any(held.data_key)
    reader.close()
    assert not any(held.data_key + held.handle_key)

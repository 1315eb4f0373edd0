"""Rotation of the master key: wherever it is stopped, the gateway opens its store, and the next one ends it."""

import os
import shutil
from pathlib import Path

import pytest

from engine.clock import SystemClock
from engine.errors import EngineError
from gateway.errors import SecretError, StoreError
from gateway.store import rotation
from gateway.store.master_keys import KEY_FILE, NEXT_KEY_FILE, MasterKeys
from gateway.store.reading import StoreReading
from gateway.store.rotation import rotate_master_key
from gateway.store.store import Store
from gateway.vault.master import MasterSource, read_key, write_key
from tests.unit.gateway.store.store_worlds import TickingClock, ending, mission


class Home:
    """A home with a store of two missions, one of them erased."""

    def __init__(self, path: Path, *, passphrase: bool = False) -> None:
        (path / "keys").mkdir(parents=True)
        phrase = path / "phrase"
        phrase.write_text("correct horse battery")
        phrase.chmod(0o600)
        self.path = path
        self.source = MasterSource(path, phrase if passphrase else None)
        self.store = path / "missions.db"

    def masters(self, *, first: bool = False) -> MasterKeys:
        return MasterKeys.of(self.source, SystemClock(), first=first)

    async def fill(self) -> None:
        store = Store.open(self.store, clock=TickingClock(), masters=self.masters(first=True))
        for name in ("kept", "gone"):
            await store.create_mission(mission(name, document=name.encode()))
        await store.finish_mission(ending("gone"))
        await store.close()

    async def erase(self) -> None:
        store = Store.open(self.store, clock=TickingClock(), masters=self.masters())
        erasing = await store.erasures.begin("gone", "t/ann", "")
        await store.erasures.mission(erasing)
        await store.erasures.end(erasing)
        await store.close()

    async def read(self, name: str, store: Path | None = None) -> bytes:
        reading = StoreReading.open(store or self.store, self.masters())
        try:
            return await reading.get_document(name)
        finally:
            reading.close()

    def rotate(self) -> int:
        return rotate_master_key(self.store, self.source, SystemClock())


@pytest.mark.parametrize("passphrase", [False, True])
async def test_every_key_is_wrapped_anew_and_the_old_one_is_gone(tmp_path: Path, passphrase: bool) -> None:
    """Payloads stay as they are; the store's own key is one of them."""
    home = Home(tmp_path / "home", passphrase=passphrase)
    await home.fill()
    before, old = home.masters().number, bytes(read_key(home.path / KEY_FILE))
    assert home.rotate() == 3
    assert home.masters().number != before
    assert await home.read("kept") == b"kept"
    assert not (home.path / NEXT_KEY_FILE).exists()
    assert bytes(read_key(home.path / KEY_FILE)) != old
    assert home.rotate() == 3
    assert await home.read("gone") == b"gone"


async def test_a_copy_from_before_opens_no_more(tmp_path: Path) -> None:
    """What was erased is in it, wrapped by a key that is gone."""
    home = Home(tmp_path / "home")
    await home.fill()
    copy = tmp_path / "copy.db"
    shutil.copy(home.store, copy)
    await home.erase()
    assert await home.read("gone", copy) == b"gone"  # before the rotation it would
    home.rotate()
    with pytest.raises(StoreError) as refused:
        await home.read("gone", copy)
    assert refused.value.code == "store.other_key"
    assert await home.read("kept") == b"kept"


async def test_the_old_keys_bytes_are_overwritten(tmp_path: Path) -> None:
    """Also those of the file that has lost its name."""
    home = Home(tmp_path / "home")
    await home.fill()
    os.link(home.path / KEY_FILE, tmp_path / "held")
    home.rotate()
    assert (tmp_path / "held").read_bytes().strip(b"\0") == b""


@pytest.mark.parametrize("stop_at", ["write_key", "_wrap_all", "truncate_log", "_replace"])
@pytest.mark.parametrize("after", [False, True])
async def test_whatever_stops_it_the_store_opens_and_the_next_one_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: str, after: bool
) -> None:
    """Killed before or after each step: both missions are read, and one rotation is ended, not begun anew."""
    home = Home(tmp_path / "home")
    await home.fill()
    step = getattr(rotation, stop_at)

    def killed(*args: object) -> None:
        if after:
            step(*args)
        raise SecretError("killed", code="secret.key_unwritable")

    with monkeypatch.context() as patch:
        patch.setattr(rotation, stop_at, killed)
        with pytest.raises(EngineError):
            home.rotate()
    assert await home.read("kept") == b"kept"
    store = Store.open(home.store, clock=TickingClock(), masters=home.masters())
    await store.create_mission(mission("between", document=b"between"))
    await store.close()
    home.rotate()
    for name in ("kept", "gone", "between"):
        assert await home.read(name) == name.encode()
    assert not (home.path / NEXT_KEY_FILE).exists()


async def test_a_gateway_that_runs_is_not_rotated_under(tmp_path: Path) -> None:
    """It holds the old key; nothing is changed."""
    home = Home(tmp_path / "home")
    await home.fill()
    store = Store.open(home.store, clock=TickingClock(), masters=home.masters())
    with pytest.raises(StoreError) as refused:
        home.rotate()
    assert refused.value.code == "store.locked"
    await store.close()
    assert not (home.path / NEXT_KEY_FILE).exists()


async def test_a_key_that_is_another_is_told(tmp_path: Path) -> None:
    """Nothing is wrapped by the new one then."""
    home = Home(tmp_path / "home")
    await home.fill()
    kept = (home.path / KEY_FILE).read_bytes()
    (home.path / KEY_FILE).unlink()
    write_key(home.path / KEY_FILE, b"z" * 32)
    with pytest.raises(StoreError) as refused:
        home.rotate()
    assert refused.value.code == "store.other_key"
    (home.path / KEY_FILE).write_bytes(kept)
    assert await home.read("kept") == b"kept"


async def test_with_a_passphrase_the_file_alone_opens_nothing(tmp_path: Path) -> None:
    """It is half of the key."""
    home = Home(tmp_path / "home", passphrase=True)
    await home.fill()
    half = MasterKeys(read_key(home.path / KEY_FILE))
    reading = StoreReading.open(home.store, half)
    with pytest.raises(StoreError) as refused:
        await reading.get_document("kept")
    assert refused.value.code == "store.other_key"
    reading.close()


def test_a_missing_key_is_made_only_where_nothing_was_sealed(tmp_path: Path) -> None:
    """A key that is lost is not replaced in silence."""
    home = Home(tmp_path / "home")
    with pytest.raises(SecretError):
        home.masters()
    home.masters(first=True)
    assert (home.path / KEY_FILE).stat().st_mode & 0o777 == 0o600

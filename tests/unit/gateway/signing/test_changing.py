"""Changing the key that signs a gateway's log, and every place at which that can be broken off."""

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.audit import keyfile
from engine.audit.errors import (
    AuditLockedError,
    AuditRotationError,
    AuditTamperedError,
    AuditUnavailableError,
    KeyFileError,
    KeyPassphraseError,
)
from engine.audit.key_ring import KeyRing, read_rotations
from engine.audit.keyfile import KeyFile, save_key
from engine.audit.keys import Ed25519Signer
from engine.audit.log import lock_log
from engine.audit.writer import AuditLimits
from gateway.errors import ConfigurationError
from gateway.signing.changing import NEXT_KEY_FILE, RETIRED_KEY_FILE, KeyChange, LogKeys
from gateway.signing.passphrase import PassphraseSource
from gateway.signing.signers import KEY_FILE, VERIFIER_KEY_FILE
from tests.audit_logs import NAME, SIGNER, VKEY, TickingClock, append, make_log, open_log
from tests.openssl_signer import OpensslSigner, generate_key

PHRASE = b"correct horse battery"
OLD_ID = VKEY.split("+")[1]
CALLS = ("link", "replace", "rename", "unlink", "fsync", "fdatasync", "pwrite", "open")


def make_home(home: Path, *, passphrase: bytes | None = None) -> Path:
    """Return a home with a key, its public half, and a log of two events."""
    (home / "keys").mkdir(parents=True)
    save_key(home / KEY_FILE, SIGNER, passphrase)
    (home / VERIFIER_KEY_FILE).write_text(VKEY + "\n")
    make_log(home / "audit", 2)
    return home


def keys_of(home: Path, passphrase: Path | None = None) -> LogKeys:
    """Return what changes the key of a home."""
    return LogKeys(home=home, log=home / "audit", passphrase=PassphraseSource(file=passphrase, terminal=False))


def change(home: Path, *, passphrase: Path | None = None, keep_old: bool = False) -> KeyChange:
    """Change the key."""
    return asyncio.run(keys_of(home, passphrase).change(TickingClock(), AuditLimits(), keep_old=keep_old))


def assert_settled(home: Path, *, kept: tuple[str, ...] = ()) -> None:
    """The key in place opens the log and is the newest; its public half is beside it, and no other key is left."""
    key = KeyFile.read(home / KEY_FILE)
    assert sorted(path.name for path in (home / "keys").iterdir()) == sorted(("log.key", "log.vkey", *kept))
    assert (home / VERIFIER_KEY_FILE).read_text() == key.verifier_key + "\n"
    assert KeyRing.load(home / "audit", key.verifier_key).newest_first[-1] == VKEY

    async def write() -> None:
        log = open_log(home / "audit", signer=key.signer())
        append(log, 1)
        await log.close()

    asyncio.run(write())


def test_the_new_key_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    """The old one is destroyed, or kept under its id; the log and the files agree; three times over."""
    home = make_home(tmp_path)
    done = change(home)
    assert (done.rotation.old, done.resumed, done.kept) == (VKEY, False, None)
    assert_settled(home)
    second = change(home, keep_old=True)
    assert second.rotation.old == done.rotation.new
    assert second.kept is not None
    assert KeyFile.read(second.kept).verifier_key == done.rotation.new
    assert_settled(home, kept=(second.kept.name,))
    third = change(home)
    assert_settled(home, kept=(second.kept.name,))
    assert KeyRing.load(home / "audit", third.rotation.new).newest_first == (
        third.rotation.new,
        second.rotation.new,
        done.rotation.new,
        VKEY,
    )


def test_the_old_key_is_overwritten(tmp_path: Path) -> None:
    """Where another name holds on to its file, there are zeros in it."""
    home = make_home(tmp_path / "home")
    (tmp_path / "same inode").hardlink_to(home / KEY_FILE)
    change(home)
    assert set((tmp_path / "same inode").read_bytes()) == {0}


def test_a_key_without_a_log_can_be_changed(tmp_path: Path) -> None:
    """The log begins under the old key, so that even then the new one has a history."""
    home = make_home(tmp_path)
    shutil.rmtree(home / "audit")
    assert change(home).rotation.seq == 1
    assert_settled(home)


class KilledError(BaseException):
    """The process is gone."""


class Killer:
    """Ends the process at the n-th call that changes the disk, before it happens."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
        self.calls = 0
        self.dead = False
        self._at = at
        for name in CALLS:
            monkeypatch.setattr(os, name, self._wrapped(name, getattr(os, name)))

    def _wrapped(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if name == "open" and not args[1] & (os.O_CREAT | os.O_TRUNC):
                return call(*args, **kwargs)
            self.calls += 1
            if self.dead or self.calls > self._at:  # once dead, cleaning up changes nothing either
                self.dead = True
                raise KilledError
            return call(*args, **kwargs)

        return wrapped


def killed_at(home: Path, at: int, *, keep_old: bool) -> int | None:
    """Change the key and be killed at a call; return how many calls it was, or None."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        killer = Killer(monkeypatch, at)
        try:
            change(home, keep_old=keep_old)
        except (KilledError, AuditUnavailableError):  # the writer's thread turns it into the second
            return killer.calls
    return None


@pytest.mark.parametrize("keep_old", [False, True])
def test_a_change_that_was_killed_anywhere_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep_old: bool
) -> None:
    """Killed at the n-th call, for each n; once more, and everything is in its place, by one rotation."""
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, lambda _: None)  # power cuts: tests/faults
    make_home(tmp_path / "template")
    at = 0
    while True:
        home = shutil.copytree(tmp_path / "template", tmp_path / str(at), copy_function=shutil.copy)
        if killed_at(home, at, keep_old=keep_old) is None:
            break
        current = KeyFile.read(home / KEY_FILE).verifier_key
        done = change(home, keep_old=keep_old)
        second = current != VKEY and not done.resumed  # everything was done but the last look at the disk
        assert len(read_rotations(home / "audit")) == (2 if second else 1), at
        kept = {path.name for path in (home / "keys").iterdir()} - {"log.key", "log.vkey"}
        assert f"log.key.{OLD_ID}" in kept if keep_old else not kept, (at, kept)
        assert_settled(home, kept=tuple(kept))
        at += 1
    assert at > 30


def test_a_next_key_that_the_log_has_not_heard_of_is_worthless(tmp_path: Path) -> None:
    """Whoever put it there: it is made anew."""
    home = make_home(tmp_path)
    save_key(home / NEXT_KEY_FILE, Ed25519Signer(NAME, bytes(32)))
    done = change(home)
    assert done.rotation.new != Ed25519Signer(NAME, bytes(32)).verifier_key()
    assert_settled(home)


def broken_off(home: Path) -> str:
    """Leave a home whose log was handed on, and whose files do not know; return the new vkey."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(LogKeys, "_swap", lambda _: (_ for _ in ()).throw(KilledError))
        with pytest.raises(KilledError):
            change(home)
    return KeyFile.read(home / NEXT_KEY_FILE).verifier_key


@pytest.mark.parametrize("lost", ["missing", "another"])
def test_a_log_whose_next_key_is_lost_says_which_one_it_wants(tmp_path: Path, lost: str) -> None:
    """No third key comes in between: the text names the key that has to be brought back."""
    home = make_home(tmp_path)
    new = broken_off(home)
    (home / NEXT_KEY_FILE).unlink()
    if lost == "another":
        save_key(home / NEXT_KEY_FILE, Ed25519Signer(NAME, bytes(32)))
    with pytest.raises(AuditRotationError) as refused:
        change(home)
    assert new in refused.value.message
    assert str(home / NEXT_KEY_FILE) in refused.value.message


def test_a_next_key_that_the_log_waits_for_is_never_thrown_away(tmp_path: Path) -> None:
    """Not even where an older key was put back in the place of the one that hands on."""
    home = make_home(tmp_path)
    shutil.copy(home / KEY_FILE, tmp_path / "first")
    change(home)
    new = broken_off(home)
    shutil.copy(tmp_path / "first", home / KEY_FILE)
    with pytest.raises(AuditRotationError) as refused:
        change(home)
    assert new in refused.value.message
    assert KeyFile.read(home / NEXT_KEY_FILE).verifier_key == new


def test_what_somebody_else_put_in_the_way_stays(tmp_path: Path) -> None:
    """A file under the name that the old key gets is not ours: the change waits until it is gone."""
    home = make_home(tmp_path)
    save_key(home / RETIRED_KEY_FILE, Ed25519Signer(NAME, bytes(32)))
    with pytest.raises(KeyFileError, match="in the way"):
        change(home)
    (home / RETIRED_KEY_FILE).rename(home / "keys/mine")
    assert change(home).resumed
    assert_settled(home, kept=("mine",))


def test_a_gateway_that_was_handed_on_by_half_does_not_open_its_log(tmp_path: Path) -> None:
    """The key file still has the old key, and the log says what to do."""
    home = make_home(tmp_path)
    broken_off(home)
    with pytest.raises(AuditRotationError, match="keys rotate"):
        open_log(home / "audit", signer=SIGNER)
    assert change(home).resumed
    assert_settled(home)


def test_a_running_gateway_keeps_its_key(tmp_path: Path) -> None:
    """While the log is written, nothing changes, and no key lies about."""
    home = make_home(tmp_path)
    fd = lock_log(home / "audit")
    try:
        with pytest.raises(AuditLockedError):
            change(home)
    finally:
        os.close(fd)
    assert_settled(home)


def test_two_changes_at_once_are_one(tmp_path: Path) -> None:
    """The second is told that there is another."""
    home = make_home(tmp_path)
    with keys_of(home)._alone(), pytest.raises(AuditLockedError, match="another process changes"):
        change(home)
    assert_settled(home)


def test_a_key_of_another_log_is_not_handed_on(tmp_path: Path) -> None:
    """Neither log nor key change."""
    home = make_home(tmp_path)
    (home / KEY_FILE).unlink()
    save_key(home / KEY_FILE, Ed25519Signer(NAME, bytes(32)))
    with pytest.raises(AuditTamperedError):
        change(home)
    assert KeyFile.read(home / KEY_FILE).signer().seed() == bytes(32)


def test_an_encrypted_key_is_followed_by_an_encrypted_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the same passphrase; another one changes nothing, and no plain key is ever written."""
    monkeypatch.setattr(keyfile, "SCRYPT_N", 2**4)
    home = make_home(tmp_path / "home", passphrase=PHRASE)
    for name, content in (("right", PHRASE), ("wrong", b"another passphrase")):
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o600)
    with pytest.raises(KeyPassphraseError):
        change(home, passphrase=tmp_path / "wrong")
    with pytest.raises(ConfigurationError):
        change(home)
    new = broken_off_encrypted(home, tmp_path / "right")
    assert change(home, passphrase=tmp_path / "right").rotation.new == new
    key = KeyFile.read(home / KEY_FILE)
    assert key.encrypted
    assert key.signer(PHRASE).verifier_key() == new


def broken_off_encrypted(home: Path, passphrase: Path) -> str:
    """Break off before the swap, and look at what lies there."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(LogKeys, "_swap", lambda _: (_ for _ in ()).throw(KilledError))
        with pytest.raises(KilledError):
            change(home, passphrase=passphrase)
    contents = [path.read_bytes() for path in (home / "keys").iterdir()]
    assert not any(content.startswith(b"PRIVATE") for content in contents)
    return KeyFile.read(home / NEXT_KEY_FILE).verifier_key


def test_a_home_without_keys_is_a_typed_fault(tmp_path: Path) -> None:
    """No folder, no key, or one that is damaged."""
    with pytest.raises(KeyFileError):
        change(tmp_path)
    home = make_home(tmp_path / "home")
    (home / KEY_FILE).write_bytes(b"x")
    with pytest.raises(KeyFileError):
        change(home)


def test_a_log_moves_to_a_signer_of_another_kind_and_back(tmp_path: Path) -> None:
    """From the key file to openssl, and to a new key file: the public half follows, and no key is touched."""
    home = make_home(tmp_path)
    outside = OpensslSigner(NAME, generate_key(tmp_path / "token.pem"))
    third = Ed25519Signer(NAME, bytes([3]) * 32)

    def move(old: Any, new: Any) -> KeyChange:
        return asyncio.run(keys_of(home).move(old, new, TickingClock(), AuditLimits()))

    assert not move(SIGNER, outside).resumed
    assert move(SIGNER, outside).resumed
    assert (home / VERIFIER_KEY_FILE).read_text() == outside.verifier_key() + "\n"
    assert KeyFile.read(home / KEY_FILE).verifier_key == VKEY
    assert not move(outside, third).resumed
    ring = KeyRing.load(home / "audit", third.verifier_key())
    assert ring.newest_first == (third.verifier_key(), outside.verifier_key(), VKEY)
    with pytest.raises(ConfigurationError, match="has been") as refused:
        move(third, SIGNER)
    assert refused.value.code == "config.signer"
    assert not (home / RETIRED_KEY_FILE).exists()

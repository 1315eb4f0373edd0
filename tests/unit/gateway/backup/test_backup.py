"""A copy of a home that changes meanwhile, checked before anything rests on it, and the way back."""

import asyncio
import hashlib
import json
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engine.audit.log import AuditLog
from engine.audit.verify import verify_log
from engine.audit.writer import AuditLimits
from engine.clock import SystemClock
from gateway.backup import log as backup_log
from gateway.backup.copying import Target
from gateway.backup.log import copy_log
from gateway.backup.manifest import HOME, MANIFEST, SEALED_KEYS, read_manifest
from gateway.backup.restoring import Against, check_backup, restore, sealed_keys
from gateway.backup.secret_files import unseal_files
from gateway.backup.taking import Taken, Wanted, take_backup
from gateway.config import CONFIG_NAME, load_config
from gateway.errors import BackupError
from gateway.exporting.cursors import Cursor, CursorFile
from gateway.folders import AUDIT_FOLDER, STORE_FILE
from gateway.home import NewHome, make_home
from gateway.store.master_keys import MasterKeys
from gateway.store.store import Store

PHRASE = b"a passphrase of some length"
PRIVATE = "-----BEGIN EC PRIVATE KEY-----\nprivate-key-secret\n-----END EC PRIVATE KEY-----\n"
LIMITS = AuditLimits(segment_bytes_max=4_000)


@pytest.fixture
def made(tmp_path: Path) -> NewHome:
    return make_home(tmp_path / "home")


def open_log(made: NewHome) -> AuditLog:
    config = load_config(made.home).audit
    return AuditLog.open(
        made.home / AUDIT_FOLDER, signer=config.choice(made.home).open(), clock=SystemClock(), limits=LIMITS
    )


@pytest.fixture
async def log(made: NewHome) -> AsyncIterator[AuditLog]:
    """A log of several segments, which goes on."""
    opened = open_log(made)
    await grown(opened, 60)
    yield opened
    await opened.close()


async def grown(log: AuditLog, count: int) -> int:
    seqs = [log.append("step.ended", actor="s-x", target="m/s", details={"n": n}) for n in range(count)]
    await log.durable(seqs[-1])
    return seqs[-1]


def taken(made: NewHome, folder: Path, **wanted: Any) -> Taken:
    return take_backup(made.home, load_config(made.home), folder, clock=SystemClock(), wanted=Wanted(**wanted))


def refused(folder: Path, **against: Any) -> str:
    with pytest.raises(BackupError) as caught:
        check_backup(folder, Against(**against))
    return caught.value.code


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


async def test_a_log_that_is_written_to_is_copied_whole(made: NewHome, log: AuditLog, tmp_path: Path) -> None:
    """Segments close and begin while it is copied: each copy verifies, restores, and is written on."""
    stop = asyncio.Event()

    async def write() -> None:
        while not stop.is_set():
            await grown(log, 7)
            await asyncio.sleep(0.002)

    writing = asyncio.create_task(write())
    try:
        for n in range(3):
            done = await asyncio.to_thread(taken, made, tmp_path / f"copy{n}", clear=True)
            assert done.report.ok
            assert done.manifest.log.size == done.report.checkpoint_size <= log.size
    finally:
        stop.set()
        await writing
    home = tmp_path / "new"
    restore(check_backup(tmp_path / "copy2", Against(key=made.verifier_key)), home)
    again = open_log(NewHome(home=home, token="", token_file=home, verifier_key=made.verifier_key))
    await grown(again, 3)
    await again.close()
    report = verify_log(home / AUDIT_FOLDER, made.verifier_key)
    assert report.ok, report
    assert report.events == done.manifest.log.size + 3  # nothing was set aside: the copy ends with its checkpoint


@pytest.mark.parametrize("before", [1, 5, 20])
@pytest.mark.parametrize("after", [0, 1, 40])
async def test_a_copy_ends_with_its_checkpoint(
    made: NewHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int, after: int
) -> None:
    """However far the log has got since the checkpoint was read, whatever was sealed meanwhile: not a line more."""
    log = open_log(made)
    try:
        await grown(log, before)
        note, size = log.checkpoint(), log.size
        if after:
            await grown(log, after)
            await grown(log, 1)  # a segment is closed behind the acknowledgement, and before the next one
        monkeypatch.setattr(backup_log, "_checkpoint", lambda _: note)
        target = Target(tmp_path / "copy")
        assert copy_log(made.home, target, made.verifier_key).size == size
    finally:
        await log.close()
    report = verify_log(tmp_path / "copy" / AUDIT_FOLDER, made.verifier_key)
    assert report.ok, report
    assert (report.checkpoint_size, report.uncovered_lines, report.uncovered_bytes) == (size, 0, 0)


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.usefixtures("log")
def test_a_segment_that_is_pruned_meanwhile_begins_the_copy_anew(
    made: NewHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """With nothing left of the first try; and where it happens again and again, somebody is told."""
    left, segment = [FileNotFoundError(2, "pruned")] * times, backup_log._segment

    def gone_at_first(*args: Any) -> None:
        if left:
            raise left.pop()
        segment(*args)

    monkeypatch.setattr(backup_log, "_segment", gone_at_first)
    if times < backup_log.ATTEMPTS:
        done = taken(made, tmp_path / "copy")
        assert done.report.ok
        assert len(read_manifest(done.folder).files) == len(contents(done.folder / HOME))
        return
    with pytest.raises(BackupError) as caught:
        taken(made, tmp_path / "copy")
    assert caught.value.code == "backup.changed"
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


@pytest.mark.usefixtures("log")
async def test_what_a_copy_has_and_what_it_leaves_out(made: NewHome, tmp_path: Path) -> None:
    """No key of any kind, wherever it lies; the public one, the configuration and the policies are there."""
    (made.home / "tls").mkdir()
    (made.home / "tls" / "server.pem").write_text(PRIVATE)
    (made.home / "tls" / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    (made.home / "opa.tok").write_text("token-secret")
    (made.home / "by-link").symlink_to("tls")
    (made.home / "tls" / "shipper").write_text("shipper-secret")
    with (made.home / CONFIG_NAME).open("a") as config:
        config.write('\n[policy.opa]\ntoken_file = "opa.tok"\n')
        config.write('[policy.decisions.log]\nurl = "https://c.example/"\ntoken_file = "by-link/shipper"\n')
    CursorFile(made.home / AUDIT_FOLDER, "siem").write(Cursor(3, "0" * 64))
    done = taken(made, tmp_path / "copy")
    found = contents(done.folder)
    assert {"manifest.json", "home/keys/log.vkey", "home/tls/ca.pem", "home/audit/cursors/siem.cursor"} <= set(found)
    assert f"home/{CONFIG_NAME}" in found
    assert not [name for name in found if name.endswith((".lock", "/lock", "reserve", ".key", ".token", ".tok"))]
    everything = b"".join(found.values())
    for key in (made.home / "keys").iterdir():
        assert key.name == "log.vkey" or key.read_bytes().strip() not in everything
    assert b"secret" not in found["home/tls/ca.pem"]
    assert b"private-key-secret" not in everything
    assert b"token-secret" not in everything
    assert b"shipper-secret" not in everything
    assert {entry.path for entry in read_manifest(done.folder).files if entry.link is None} == {
        name.removeprefix("home/").encode() for name in found if name != "manifest.json"
    }


@pytest.mark.usefixtures("log")
async def test_keys_are_sealed_where_they_are_asked_for(made: NewHome, tmp_path: Path) -> None:
    """All of them come back with the passphrase, and with no other one."""
    done = taken(made, tmp_path / "copy", passphrase=PHRASE)
    sealed = sealed_keys(done.folder)
    assert sealed == (done.folder / SEALED_KEYS).read_bytes()
    with pytest.raises(BackupError) as caught:
        unseal_files(sealed, b"another passphrase, as long")
    assert caught.value.code == "backup.keys_sealed"
    home = tmp_path / "new"
    restore(check_backup(done.folder, Against()), home, keys=unseal_files(sealed, PHRASE))
    assert contents(home / "keys") == contents(made.home / "keys")
    assert {oct(path.stat().st_mode & 0o077) for path in home.rglob("*")} == {"0o0"}


@pytest.mark.usefixtures("log")
async def test_the_store_is_copied_as_at_one_moment(made: NewHome, tmp_path: Path) -> None:
    """While it is open, with its write-ahead log beside it; the copy is one file, and opens."""
    masters = MasterKeys.of(load_config(made.home).secrets.source(made.home), SystemClock())
    store = Store.open(made.home / STORE_FILE, clock=SystemClock(), masters=masters)
    try:
        assert (made.home / f"{STORE_FILE}-wal").exists()
        done = await asyncio.to_thread(taken, made, tmp_path / "copy")
    finally:
        await store.close()
    assert not list(done.folder.rglob("*-wal"))
    with closing(sqlite3.connect(done.folder / HOME / STORE_FILE)) as copy:
        assert copy.execute("SELECT count(*) FROM missions").fetchone() == (0,)
    closed = taken(made, tmp_path / "closed")  # and once its gateway has ended
    assert (closed.folder / HOME / STORE_FILE).is_file()


@pytest.mark.usefixtures("log")
async def test_no_link_of_a_workspace_is_followed(made: NewHome, tmp_path: Path) -> None:
    """It is kept as the link that it is, made last; pipes are counted; a private key of a mission is its payload."""
    work = made.home / "workspaces" / "m"
    work.mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "passwd").write_text("outside-secret")
    (work / "link").symlink_to(tmp_path / "outside" / "passwd")
    (work / "folder").symlink_to(tmp_path / "outside")
    (work / os.fsdecode(b"caf\xe9")).write_text("latin")
    (work / "id.pem").write_text(PRIVATE)
    os.mkfifo(work / "pipe")
    done = taken(made, tmp_path / "copy")
    assert done.manifest.skipped == 1
    assert b"outside-secret" not in b"".join(contents(done.folder).values())
    home = tmp_path / "new"
    restore(check_backup(done.folder, Against()), home)
    there = home / "workspaces" / "m"
    assert (there / "link").readlink() == tmp_path / "outside" / "passwd"
    assert (there / "folder").is_symlink()
    assert (there / os.fsdecode(b"caf\xe9")).read_text() == "latin"
    assert (there / "id.pem").read_text() == PRIVATE


@pytest.mark.usefixtures("log")
def test_a_copy_that_was_changed_is_refused(made: NewHome, tmp_path: Path) -> None:
    """A file that is another, is missing, or is longer; nothing is restored of it."""
    done = taken(made, tmp_path / "copy")
    config = done.folder / HOME / CONFIG_NAME
    good = config.read_bytes()
    config.write_bytes(good + b"\n")
    assert refused(done.folder) == "backup.changed"
    config.unlink()
    assert refused(done.folder) == "backup.changed"
    config.write_bytes(good)
    checked = check_backup(done.folder, Against())
    config.write_bytes(good.replace(b"admin", b"mallo"))  # between the check and the copy
    with pytest.raises(BackupError) as caught:
        restore(checked, tmp_path / "new")
    assert caught.value.code == "backup.changed"
    assert [path.name for path in tmp_path.iterdir() if "new" in path.name] == []


@pytest.mark.usefixtures("log")
def test_a_log_that_was_changed_with_its_digest_is_refused(made: NewHome, tmp_path: Path) -> None:
    """Who can write a manifest anew cannot sign a log; and a key from outside is held to."""
    done = taken(made, tmp_path / "copy")
    checkpoint = done.folder / HOME / AUDIT_FOLDER / "checkpoint"
    older = checkpoint.read_bytes().replace(b"\n60", b"\n61")
    changed = older[:-10] + b"AAAAAAAA=\n"
    checkpoint.write_bytes(changed)
    amend(done.folder, "audit/checkpoint", changed)
    assert refused(done.folder) == "backup.log_damaged"
    assert refused(done.folder, key=made.verifier_key[:-4] + "AAA=") == "backup.other_key"


def amend(folder: Path, path: str, content: bytes) -> None:
    """Write a digest into the manifest, as a forger would."""
    document = json.loads((folder / MANIFEST).read_text())
    [entry] = [entry for entry in document["files"] if entry["path"] == path]
    entry.update(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    (folder / MANIFEST).write_text(json.dumps(document))


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize(
    ("path", "link"),
    [
        ("audit/checkpoint", None),
        ("audit/segments", None),
        ("audit", None),
        ("audit/segments", "/elsewhere"),
        ("audit", "/elsewhere"),
        (STORE_FILE, "/elsewhere"),
    ],
)
def test_a_manifest_without_the_log_that_verifies_is_refused(
    made: NewHome, tmp_path: Path, path: str, link: str | None
) -> None:
    """What is restored is what it names: it has to be the log that lies there, whole, and no link to another."""
    done = taken(made, tmp_path / "copy")
    document = json.loads((done.folder / MANIFEST).read_text())
    files = [entry for entry in document["files"] if not f"{entry['path']}/".startswith(f"{path}/")]
    document["files"] = [*files, *([{"path": path, "link": link}] if link else [])]
    (done.folder / MANIFEST).write_text(json.dumps(document))
    assert refused(done.folder, key=made.verifier_key) == "backup.changed"


async def test_a_rollback_is_said_to_be_one(made: NewHome, log: AuditLog, tmp_path: Path) -> None:
    """A checkpoint that was kept elsewhere covers more: refused, unless whoever restores says so."""
    done = taken(made, tmp_path / "copy")
    kept = log.checkpoint()
    assert not check_backup(done.folder, Against(checkpoint=kept)).rolled_back
    await grown(log, 1)
    assert refused(done.folder, checkpoint=log.checkpoint()) == "backup.rollback"
    checked = check_backup(done.folder, Against(checkpoint=log.checkpoint(), accept_rollback=True))
    assert checked.rolled_back
    assert checked.report.ok


@pytest.mark.parametrize(
    "entry",
    [
        {"path": "../outside", "bytes": 0, "sha256": "0" * 64},
        {"path": "/etc/passwd", "bytes": 0, "sha256": "0" * 64},
        {"path": "a/%2e%2e/b", "bytes": 0, "sha256": "0" * 64},
        {"path": "a%00b", "bytes": 0, "sha256": "0" * 64},
        {"path": "", "bytes": 0, "sha256": "0" * 64},
        {"path": "tree/below", "bytes": 0, "sha256": "0" * 64},
        {"path": "missiongate.toml", "bytes": 0, "sha256": "0" * 64},
        {"path": "x", "bytes": -1, "sha256": "0" * 64},
        {"path": "x", "bytes": 1, "sha256": "0"},
        {"path": "x", "link": ""},
        {"path": 7, "link": "x"},
    ],
    ids=str,
)
def test_a_manifest_that_leaves_its_home_is_refused(tmp_path: Path, entry: dict[str, Any]) -> None:
    """Out of the folder, through a link, twice, or without a digest: before any file is looked at."""
    files = [{"path": "tree", "link": "/etc"}, {"path": "missiongate.toml", "bytes": 0, "sha256": "0" * 64}, entry]
    log = {"origin": "o", "size": 1, "root": "", "key": "k"}
    document = {"format": "missiongate backup v1", "created": "", "version": "", "log": log, "keys": "none"}
    (tmp_path / MANIFEST).write_text(json.dumps({**document, "skipped": 0, "files": files}))
    assert refused(tmp_path) == "backup.invalid"
    (tmp_path / MANIFEST).write_text(json.dumps({**document, "skipped": 0, "files": files[:2]}))
    assert len(read_manifest(tmp_path).files) == 2


@pytest.mark.usefixtures("log")
async def test_nothing_is_overwritten(made: NewHome, tmp_path: Path) -> None:
    """Neither a backup nor a home; nor does a backup go into the home that it is of."""
    done = taken(made, tmp_path / "copy")
    for folder, code in ((done.folder, "backup.exists"), (made.home / "copy", "backup.inside")):
        with pytest.raises(BackupError) as caught:
            taken(made, folder)
        assert caught.value.code == code
    with pytest.raises(BackupError) as caught:
        restore(check_backup(done.folder, Against()), made.home)
    assert caught.value.code == "backup.home_exists"


def test_a_home_without_a_log_has_nothing_to_copy(made: NewHome, tmp_path: Path) -> None:
    """And what was begun is gone."""
    with pytest.raises(BackupError) as caught:
        taken(made, tmp_path / "copy")
    assert caught.value.code == "backup.no_log"
    assert [path.name for path in tmp_path.iterdir()] == ["home"]

"""audit verify."""

import shutil
from pathlib import Path

import pytest

from engine.audit.keys import Ed25519Signer
from engine.audit.log import AuditLog
from engine.clock import SystemClock
from tests.cli_runner import run

REPORT_KEYS = {
    "ok", "code", "message", "origin", "events", "checkpoint_size", "root_hash", "first_bad", "outside_size",
    "uncovered_lines", "uncovered_bytes",
}  # fmt: skip


async def append(directory: Path, signer: Ed25519Signer, count: int) -> None:
    """Open the log, which records that, and append `count` events."""
    audit = AuditLog.open(directory, signer=signer, clock=SystemClock())
    for i in range(count):
        await audit.durable(audit.append("test.event", actor="a", target="t", details={"i": i}))
    await audit.close()


@pytest.fixture
async def log(tmp_path: Path) -> Path:
    """A log with its key beside."""
    signer = Ed25519Signer.generate("example.org/log")
    signer.save(tmp_path / "log.key")
    await append(tmp_path / "log", signer, 3)
    (tmp_path / "log.vkey").write_text(signer.verifier_key() + "\n")
    return tmp_path / "log"


async def test_a_good_log_is_0(log: Path) -> None:
    """With the key from a file or as it is; JSON is the report."""
    vkey = log.parent / "log.vkey"
    for key in (vkey, vkey.read_text().strip()):
        done = run("audit", "verify", log, "--key", key, "-o", "json")
        assert done.code == 0
        assert done.json.keys() == REPORT_KEYS
        assert (done.json["ok"], done.json["events"]) == (True, done.json["checkpoint_size"])
    out = run("audit", "verify", log, "--key", vkey).out
    assert out.startswith("✓ ")
    assert "example.org/log" in out


async def test_a_key_file_may_have_any_name(log: Path) -> None:
    """Also one with the plus signs of a key in it."""
    odd = log.parent / "a+b+c.vkey"
    (log.parent / "log.vkey").rename(odd)
    assert run("audit", "verify", log, "--key", odd).code == 0


async def test_a_changed_byte_is_1_and_named(log: Path) -> None:
    """The first bad event, its file and its line."""
    segment = next((log / "segments").iterdir())
    segment.write_bytes(segment.read_bytes().replace(b'"i":1', b'"i":7'))
    done = run("audit", "verify", log, "--key", log.parent / "log.vkey", "-o", "json")
    assert done.code == 1
    lines = segment.read_bytes().splitlines()
    assert b'"i":7' in lines[done.json["first_bad"]["seq"]]
    text = run("audit", "verify", log, "--key", log.parent / "log.vkey")
    assert text.code == 1
    assert "first bad" in text.out


async def test_another_logs_key_is_1(log: Path) -> None:
    """The log is not what that key signed."""
    other = Ed25519Signer.generate("example.org/log").verifier_key()
    done = run("audit", "verify", log, "--key", other, "-o", "json")
    assert done.code == 1
    assert done.json["ok"] is False


async def test_a_log_that_went_back_is_1(log: Path) -> None:
    """Against a newer checkpoint that was kept elsewhere; by itself it still looks whole."""
    old, vkey = log.parent / "old", log.parent / "log.vkey"
    shutil.copytree(log, old)
    await append(log, Ed25519Signer.load(log.parent / "log.key"), 2)
    assert run("audit", "verify", old, "--key", vkey).code == 0
    assert run("audit", "verify", old, "--key", vkey, "--checkpoint", log / "checkpoint").code == 1
    assert run("audit", "verify", log, "--key", vkey, "--checkpoint", old / "checkpoint").code == 0


@pytest.mark.parametrize("directory", ["missing", "empty", "log.vkey"])
async def test_no_log_is_1_in_plain_words(log: Path, directory: str) -> None:
    """Missing, empty, a file: nothing is proven, so the verification failed."""
    (log.parent / "empty").mkdir()
    done = run("audit", "verify", log.parent / directory, "--key", log.parent / "log.vkey")
    assert done.code == 1
    assert done.out.startswith("✗ ")


@pytest.mark.parametrize("key", ["nonsense", "", "a+00000000+AAAA", "x" * 5_000, "nul\0", "."])
async def test_a_key_that_is_none_is_2(log: Path, key: str) -> None:
    """Neither a key nor a file that holds one: usage, as JSON too."""
    done = run("audit", "verify", log, "--key", key, "-o", "json")
    assert done.code == 2
    assert done.json["errors"][0].keys() == {"code", "message", "field", "line"}


async def test_a_checkpoint_that_cannot_be_read_is_2(log: Path) -> None:
    """Usage, with the system's reason."""
    done = run(
        "audit", "verify", log, "--key", log.parent / "log.vkey", "--checkpoint", log.parent / "no", "-o", "json"
    )
    assert done.code == 2
    assert done.json["errors"][0]["code"] == "audit.unreadable"

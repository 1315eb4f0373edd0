"""audit verify."""

import shutil
from pathlib import Path

import pytest

from engine.audit.export import ExportedEvent, Selection, write_bundle
from engine.audit.keyfile import KeyFile, save_key
from engine.audit.keys import Ed25519Signer
from engine.audit.log import AuditLog
from engine.clock import SystemClock
from tests.adversarial.audit_attacks import WITNESSES
from tests.adversarial.audit_attacks import log as attack_log
from tests.audit_segments import NEW, OLD, inclusion_path, leaf
from tests.cli_runner import run

REPORT_KEYS = {
    "ok", "code", "message", "target", "origin", "signed_by", "rotations", "events", "checkpoint_size", "root_hash",
    "first_bad", "outside_size", "witnessed_size", "witnessed_at", "witnesses", "newest_event", "pruned_events",
    "archived_events", "complete", "uncovered_lines", "uncovered_bytes",
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
    save_key(tmp_path / "log.key", signer)
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
    await append(log, KeyFile.read(log.parent / "log.key").signer(), 2)
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


@pytest.fixture
def attacked(tmp_path: Path) -> Path:
    """The log of the attacks: pruned, its key changed, cosigned by witnesses; its keys lie beside."""
    (tmp_path / "new.vkey").write_text(NEW.verifier_key() + "\n")
    for number, witness in enumerate(WITNESSES):
        (tmp_path / f"{number}.vkey").write_text(witness.vkey + "\n")
    return attack_log().write(tmp_path / "log")


def test_witnesses_archive_and_age_are_told(attacked: Path) -> None:
    """What was asked for and found stands in the text, and what could not have been seen does too."""
    base = ("audit", "verify", attacked, "--key", attacked.parent / "new.vkey")
    plain = run(*base, width=400)
    assert plain.code == 0
    assert "would not show" in plain.out
    assert "--witness" in plain.out
    assert "10 of them pruned" in plain.out
    witnesses = [word for number in range(3) for word in ("--witness", attacked.parent / f"{number}.vkey")]
    full = run(*base, *witnesses, "--witnesses-required", 2, "--archive", attacked / "archive", width=400)
    assert full.code == 0
    assert "the first 39 events" in full.out
    assert "10 of them in the archive" in full.out
    assert "events from 39 on" in full.out
    done = run(*base, *witnesses, "--witnesses-required", 2, "-o", "json")
    assert (done.json["witnessed_size"], len(done.json["witnesses"])) == (39, 3)
    assert [rotation["seq"] for rotation in done.json["rotations"]] == [14]
    (attacked / "witnessed").unlink()
    assert run(*base, *witnesses, "-o", "json").json["code"] == "witness.missing"
    stale = run(*base, "--fresh-within", 60, "-o", "json")
    assert (stale.code, stale.json["code"]) == (1, "log.stale")


def test_a_checkpoint_may_come_from_several_places(attacked: Path) -> None:
    """Each of them has to be of this log."""
    base = ("audit", "verify", attacked, "--key", attacked.parent / "new.vkey")
    for name, checkpoint in (("old", attack_log().checkpoint(20)), ("fork", attack_log(forged_from=3).checkpoint(30))):
        (attacked.parent / name).write_bytes(checkpoint)
    good = run(*base, "--checkpoint", attacked.parent / "old", "--checkpoint", attacked / "checkpoint", "-o", "json")
    assert (good.code, good.json["outside_size"]) == (0, 40)
    both = run(*base, "--checkpoint", attacked.parent / "old", "--checkpoint", attacked.parent / "fork", "-o", "json")
    assert (both.code, both.json["code"]) == (1, "outside.fork")


@pytest.fixture
def taken(attacked: Path) -> Path:
    """A bundle from that log: events 10 to 19."""
    world = attack_log()
    leaves = [leaf(line) for line in world.lines]
    selection = Selection(
        events=[
            ExportedEvent(seq=seq, line=world.lines[seq], path=tuple(inclusion_path(seq, leaves)))
            for seq in range(10, 20)
        ],
        checkpoint=world.files["checkpoint"],
        vkey=NEW.verifier_key(),
        filter_text="",
        first=10,
        end=20,
        complete=True,
        created=SystemClock().now(),
        rotations={14: world.files[f"rotations/{14:020d}.note"]},
    )
    return write_bundle(attacked.parent / "bundle", selection).directory


def test_a_bundle_is_verified(taken: Path) -> None:
    """Also by whoever knows the log's first key only; a changed event is 1 and named."""
    for key in (NEW, OLD):
        done = run("audit", "verify", taken, "--key", key.verifier_key(), "-o", "json")
        assert (done.code, done.json["target"], done.json["events"], done.json["complete"]) == (0, "bundle", 10, True)
    assert "all events from 10 to 19" in run("audit", "verify", taken, "--key", NEW.verifier_key()).out
    lines = (taken / "events.jsonl").read_bytes()
    (taken / "events.jsonl").write_bytes(lines.replace(b"worker-13", b"worker-14"))
    done = run("audit", "verify", taken, "--key", NEW.verifier_key(), "-o", "json")
    assert (done.code, done.json["first_bad"]["seq"]) == (1, 13)


def test_a_proof_is_verified_with_its_line(taken: Path) -> None:
    """By the newest key, or by an earlier one and the rotations; without the line there is nothing to verify."""
    proof = taken / "proofs" / f"{13:020d}.tlog-proof"
    event = taken.parent / "event"
    event.write_bytes((taken / "events.jsonl").read_bytes().splitlines(keepends=True)[3])
    assert run("audit", "verify", proof, "--event", event, "--key", NEW.verifier_key()).code == 0
    assert run("audit", "verify", proof, "--event", event, "--key", OLD.verifier_key()).code == 1
    rotations = ("--rotations", taken / "rotations")
    done = run("audit", "verify", proof, "--event", event, "--key", OLD.verifier_key(), *rotations, "-o", "json")
    assert (done.code, done.json["target"]) == (0, "proof")
    without = run("audit", "verify", proof, "--key", NEW.verifier_key(), "-o", "json")
    assert (without.code, without.json["errors"][0]["code"]) == (2, "audit.event_needed")


def test_an_option_that_says_nothing_about_the_target_is_2(attacked: Path, taken: Path) -> None:
    """It would seem to have been checked."""
    proof = taken / "proofs" / f"{13:020d}.tlog-proof"
    cases = [
        (taken, "--archive", attacked),
        (taken, "--fresh-within", 60),
        (taken, "--rotations", taken),
        (attacked, "--rotations", taken),
        (proof, "--archive", attacked),
        (proof, "--fresh-within", 60),
    ]
    for target, option, value in cases:
        done = run("audit", "verify", target, "--key", NEW.verifier_key(), option, value, "-o", "json")
        assert (done.code, done.json["errors"][0]["code"]) == (2, "audit.option_unfit"), (target, option)


def test_witnesses_that_cannot_be_are_2(attacked: Path) -> None:
    """More than there are, or the log's own key for one."""
    base = ("audit", "verify", attacked, "--key", NEW.verifier_key(), "-o", "json")
    too_many = run(*base, "--witness", WITNESSES[0].vkey, "--witnesses-required", 2)
    assert (too_many.code, too_many.json["errors"][0]["code"]) == (2, "witness.quorum")
    own = run(*base, "--witness", NEW.verifier_key())
    assert (own.code, own.json["errors"][0]["code"]) == (2, "key.invalid")

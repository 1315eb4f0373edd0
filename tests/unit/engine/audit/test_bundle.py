"""Bundles: what `write_bundle` writes, `verify_bundle` takes, and nothing that was changed."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine.audit.export import (
    ExportedEvent,
    ExportError,
    Selection,
    SelectionRefusedError,
    proof_bytes,
    write_bundle,
)
from engine.audit.keys import Ed25519Signer
from engine.audit.verify import verify_bundle
from tests.audit_logs import NAME
from tests.audit_segments import NEW, OLD, Witness, World, inclusion_path, leaf, statement

KEY = NEW.verifier_key()
WITNESS = Witness("witness.example/one", 1)
ROTATED_AT = 6


def world() -> World:
    """A log of 20 events whose key changed with event 6."""
    made = World()
    made.events(ROTATED_AT)
    made.event("audit.key_rotated", {"statement": statement(ROTATED_AT, OLD, NEW).decode()})
    made.events(20)
    return made


MADE = world()
LEAVES = [leaf(line) for line in MADE.lines]


def events(seqs: Iterable[int]) -> list[ExportedEvent]:
    return [ExportedEvent(seq=s, line=MADE.lines[s], path=tuple(inclusion_path(s, LEAVES))) for s in seqs]


WHOLE = Selection(
    events=events(range(4, 9)),
    checkpoint=WITNESS.cosign(MADE.checkpoint(), 1_769_860_000),
    vkey=KEY,
    filter_text="",
    first=4,
    end=9,
    complete=True,
    created=datetime(2026, 2, 1, tzinfo=UTC),
    rotations={ROTATED_AT: statement(ROTATED_AT, OLD, NEW)},
)
SOME = replace(WHOLE, events=events([3, 6, 7, 19]), filter_text="actor=worker-3", first=0, end=20, complete=False)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundles") / "whole", WHOLE).directory


@pytest.fixture
def bundle(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "bundle"))


def test_a_whole_range_is_shown_to_be_whole(original: Path) -> None:
    """The report says so, under either of the log's keys, and with its witness."""
    report = verify_bundle(original, KEY, witnesses=[WITNESS.vkey])
    assert (report.code, report.target, report.events, report.complete) == ("ok", "bundle", 5, True)
    assert (report.checkpoint_size, report.witnessed_size) == (20, 20)
    assert verify_bundle(original, OLD.verifier_key()).ok


def test_a_filtered_selection_is_not_said_to_be_whole(tmp_path: Path) -> None:
    """Each event is proved, and nothing is claimed of those that are not here."""
    written = write_bundle(tmp_path / "some", SOME)
    report = verify_bundle(written.directory, KEY)
    assert (report.code, report.events, report.complete, written.events) == ("ok", 4, False, 4)
    assert "whether all are here is not shown" in report.message


def test_an_empty_selection_is_one(tmp_path: Path) -> None:
    """Nobody did it: no events, and a range that is empty or filtered."""
    for number, selection in enumerate((replace(SOME, events=[]), replace(WHOLE, events=[], first=4, end=4))):
        report = verify_bundle(write_bundle(tmp_path / str(number), selection).directory, KEY)
        assert (report.code, report.events) == ("ok", 0)


Change = Callable[[Path], object]


def edit(name: str, old: bytes, new: bytes) -> Change:
    """Replace bytes that have to be there."""

    def apply(bundle: Path) -> None:
        content = (bundle / name).read_bytes()
        assert old in content
        (bundle / name).write_bytes(content.replace(old, new))

    return apply


def manifest(**changes: object) -> Change:
    """Change fields of the manifest."""

    def apply(bundle: Path) -> None:
        path = bundle / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return apply


def without_event(seq: int) -> Change:
    """Take an event out, as if it had never been selected."""

    def apply(bundle: Path) -> None:
        lines = (bundle / "events.jsonl").read_bytes().splitlines(keepends=True)
        kept = b"".join(line for line in lines if not line.startswith(b'{"seq":%d,' % seq))
        (bundle / "events.jsonl").write_bytes(kept)
        (bundle / "proofs" / f"{seq:020d}.tlog-proof").unlink()
        manifest(events=len(lines) - 1, events_sha256=hashlib.sha256(kept).hexdigest())(bundle)

    return apply


PROOF = f"proofs/{5:020d}.tlog-proof"
CHANGES: dict[str, tuple[str, Change]] = {
    "an event": ("event.bad", edit("events.jsonl", b"worker-5", b"worker-6")),
    "a torn last line": (
        "event.bad",
        lambda b: (b / "events.jsonl").write_bytes((b / "events.jsonl").read_bytes()[:-1]),
    ),
    "an event taken out": ("bundle.incomplete", without_event(5)),
    "a proof of another event": (
        "bundle.mismatch",
        lambda b: shutil.copy(b / PROOF, b / "proofs" / f"{6:020d}.tlog-proof"),
    ),
    "a proof renamed": ("bundle.mismatch", lambda b: (b / PROOF).rename(b / "proofs" / f"{3:020d}.tlog-proof")),
    "a proof dropped": ("bundle.mismatch", lambda b: (b / "proofs" / f"{8:020d}.tlog-proof").unlink()),
    "a proof added": ("bundle.mismatch", lambda b: shutil.copy(b / PROOF, b / "proofs" / f"{9:020d}.tlog-proof")),
    "a file among proofs": ("log.malformed", lambda b: (b / "proofs" / "notes.txt").touch()),
    "a path": ("proof.wrong", lambda b: (b / PROOF).write_bytes(proof_bytes(5, [bytes(32)] * 5, WHOLE.checkpoint))),
    "a proof under another checkpoint": (
        "proof.checkpoint",
        lambda b: (b / PROOF).write_bytes(proof_bytes(5, inclusion_path(5, LEAVES), MADE.checkpoint())),
    ),
    "no proof": ("proof.malformed", lambda b: (b / PROOF).write_bytes(b"")),
    "the checkpoint": ("checkpoint.signature", edit("checkpoint", b"\n20\n", b"\n21\n")),
    "the body": ("bundle.mismatch", edit("checkpoint.body", b"\n20\n", b"\n21\n")),
    "the signature": ("bundle.mismatch", lambda b: (b / "checkpoint.sig").write_bytes(bytes(64))),
    "the key": ("bundle.mismatch", lambda b: (b / "verifier-key").write_text(OLD.verifier_key() + "\n")),
    "the key, and the manifest's": (
        "bundle.mismatch",
        lambda b: (manifest(vkey=OLD.verifier_key())(b), (b / "verifier-key").write_text(OLD.verifier_key() + "\n")),
    ),
    "the PEM": ("bundle.mismatch", lambda b: (b / "verifier-key.pem").write_text("-----BEGIN PUBLIC KEY-----\n")),
    "a rotation": ("rotation.malformed", edit(f"rotations/{6:020d}.note", b"\n6\n", b"\n7\n")),
    "the rotation's note dropped": ("rotation.missing", lambda b: (b / f"rotations/{6:020d}.note").unlink()),
    "no manifest": ("bundle.unreadable", lambda b: (b / "manifest.json").unlink()),
    "a manifest that is none": ("bundle.malformed", lambda b: (b / "manifest.json").write_text("[[1], 2]")),
    "a doubled field": ("bundle.malformed", edit("manifest.json", b'"size": 20,', b'"size": 20, "size": 20,')),
    "a boolean for a number": ("bundle.malformed", manifest(first=False)),
    "another format": ("bundle.malformed", manifest(format="missiongate audit bundle v2")),
    "a range beyond the log": ("bundle.malformed", manifest(end=21)),
    "a range without the events": ("bundle.mismatch", manifest(first=5)),
    "another count": ("bundle.mismatch", manifest(events=6)),
    "another digest": ("bundle.mismatch", manifest(events_sha256="0" * 64)),
    "another origin": ("bundle.mismatch", manifest(origin="example.com/other")),
    "a wider range": ("bundle.incomplete", manifest(end=10)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_bundle_is_refused(bundle: Path, name: str) -> None:
    """Each part of a bundle, changed: refused, with the code that says what it is."""
    code, change = CHANGES[name]
    change(bundle)
    report = verify_bundle(bundle, KEY)
    assert (report.ok, report.code) == (False, code)
    assert report.complete is None


def test_a_bundle_of_another_log_is_refused(original: Path) -> None:
    """Under another key, which no rotation leads to."""
    other = Ed25519Signer(NAME, bytes(32))
    assert verify_bundle(original, other.verifier_key()).code == "rotation.broken"


def test_a_selection_that_is_none_is_refused(tmp_path: Path) -> None:
    """Out of order, out of range, with a hole where none may be, or under another key; no file is left."""
    cases = [
        replace(WHOLE, events=events([5, 4])),
        replace(WHOLE, events=events([4, 5, 7])),
        replace(WHOLE, events=events([4, 5])),
        replace(SOME, events=events([3, 3])),
        replace(SOME, events=events([19]), end=19),
        replace(SOME, end=21),
        replace(SOME, vkey=OLD.verifier_key()),
    ]
    for selection in cases:
        with pytest.raises(SelectionRefusedError):
            write_bundle(tmp_path / "out", selection)
    assert list(tmp_path.iterdir()) == []


def test_too_many_events_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle has a file for each event, so it has a bound."""
    monkeypatch.setattr("engine.audit.export.EVENTS_MAX", 4)
    with pytest.raises(SelectionRefusedError) as refused:
        write_bundle(tmp_path / "out", WHOLE)
    assert refused.value.code == "export.too_large"
    assert list(tmp_path.iterdir()) == []


def test_an_export_overwrites_nothing(tmp_path: Path) -> None:
    """What is there stays, and a place that cannot be written to is an error with the system's reason."""
    (tmp_path / "there").mkdir()
    for name, code in (("there", "export.exists"), ("missing/out", "export.unwritable")):
        with pytest.raises(ExportError) as failed:
            write_bundle(tmp_path / name, WHOLE)
        assert failed.value.code == code

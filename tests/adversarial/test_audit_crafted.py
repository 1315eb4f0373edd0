"""Logs and bundles that are made to cost a verifier, or to stop it, rather than to deceive it."""

import asyncio
import hashlib
import json
import os
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from engine.audit.errors import AuditTamperedError
from engine.audit.export import ExportedEvent, Selection, write_bundle
from engine.audit.key_rotation import rotate_key
from engine.audit.log import AuditLog
from engine.audit.stored import StoredLog
from engine.audit.verify import verify_bundle, verify_log
from engine.audit.writer import AuditLimits
from tests.audit_logs import NAME, SIGNER, START, VKEY, TickingClock, append, make_log, note, open_log
from tests.audit_segments import NEW, Witness, World

HOLE_BYTES = 1 << 40  # takes no space, and hours to read
SEGMENTS = AuditLimits(segment_bytes_max=3_000)


def rotated(directory: Path) -> Path:
    """Return a log of several segments, handed on to `NEW`, with everything pruned that may be."""

    async def work(log: AuditLog, events: int) -> None:
        for number in range(events):
            await log.durable(append(log, number))

    async def go() -> None:
        log = open_log(directory, limits=SEGMENTS)
        await work(log, 20)
        await log.close()
        clock = TickingClock()
        clock.moment += timedelta(days=1)
        await rotate_key(directory, SIGNER, NEW, clock=clock)
        log = open_log(directory, signer=NEW, clock=clock, limits=SEGMENTS)
        await work(log, 40)
        for path in sorted((directory / "seals").iterdir())[:-1]:
            await log.prune(int(path.stem), archived=False, reason="age")
        await log.close()

    asyncio.run(go())
    return directory


def bundle(directory: Path) -> Path:
    """Return a complete bundle."""
    log = StoredLog.open(make_log(directory / "log", 5))
    events = [ExportedEvent(seq=s, line=next(log.read(s, 1)), path=log.prove_inclusion(s)) for s in range(5)]
    selection = Selection(
        events=events,
        checkpoint=log.checkpoint(),
        vkey=VKEY,
        filter_text="",
        first=0,
        end=5,
        complete=True,
        created=START,
    )
    write_bundle(directory / "bundle", selection)
    return directory / "bundle"


def put_manifest(directory: Path, **changes: object) -> None:
    """Change fields of a manifest."""
    path = directory / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("segments/{}.jsonl", "event.bad"),
        ("tree/{}.leaves", "tree.mismatch"),
        ("tree/{}.roots", "tree.mismatch"),
    ],
)
def test_a_hole_behind_a_sealed_file_is_not_read(tmp_path: Path, name: str, code: str) -> None:
    """What a seal says of sizes is looked at first."""
    world = World()
    world.events(600)
    world.cut(0, 300, 550)
    world.files["checkpoint"] = world.checkpoint()
    world.write(tmp_path)
    assert verify_log(tmp_path, NEW.verifier_key()).ok
    os.truncate(tmp_path / name.format(f"{0:020d}"), HOLE_BYTES)
    assert verify_log(tmp_path, NEW.verifier_key()).code == code


def test_hashes_of_a_pruned_segment_with_a_hole_are_not_read(tmp_path: Path) -> None:
    """Nor is a file of leaves that stands in for lines."""
    rotated(tmp_path)
    os.truncate(tmp_path / "tree" / f"{0:020d}.leaves", HOLE_BYTES)
    assert verify_log(tmp_path, NEW.verifier_key()).code == "tree.mismatch"


def test_a_bundle_that_claims_a_huge_range_is_refused_at_once(tmp_path: Path) -> None:
    """The checkpoint of a large log is public, so anybody may claim all of it."""
    directory, size = bundle(tmp_path), 10**12
    checkpoint = note(f"{NAME}\n{size}\n{b64encode(bytes(32)).decode()}\n".encode())
    body, _, line = checkpoint.partition(b"\n\n")
    (directory / "checkpoint").write_bytes(checkpoint)
    (directory / "checkpoint.body").write_bytes(body + b"\n")
    (directory / "checkpoint.sig").write_bytes(b64decode(line.split()[-1])[4:])
    (directory / "events.jsonl").write_bytes(b"")
    for path in (directory / "proofs").iterdir():
        path.unlink()
    put_manifest(directory, end=size, size=size, events=0, events_sha256=hashlib.sha256().hexdigest())
    assert verify_bundle(directory, VKEY).code == "bundle.incomplete"


def test_a_vkey_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """A lone surrogate in the manifest is not read as the question mark that encoders put in its place."""
    directory = bundle(tmp_path)
    name, _, encoded = VKEY.split("+", 2)
    identity = hashlib.sha256(f"{name}?\n".encode() + b64decode(encoded)).hexdigest()[:8]
    put_manifest(directory, vkey=f"{name}\ud800+{identity}+{encoded}")
    assert verify_bundle(directory, VKEY).code == "bundle.mismatch"


@pytest.mark.parametrize("name", ["manifest.json", "checkpoint", "checkpoint.sig", "events.jsonl", "verifier-key.pem"])
def test_nobody_waits_for_a_pipe(tmp_path: Path, name: str) -> None:
    """A bundle comes as an archive, which may hold pipes."""
    path = bundle(tmp_path) / name
    path.unlink()
    os.mkfifo(path)
    assert verify_bundle(path.parent, VKEY).code == "bundle.unreadable"


async def test_an_event_about_no_segment_is_passed_over(tmp_path: Path) -> None:
    """Whoever has the key may sign any details."""
    log = open_log(tmp_path)
    await log.durable(log.append("audit.pruned", actor="audit", target="x", details={"first": [1]}))
    await log.close()
    assert verify_log(tmp_path, VKEY).ok


def test_a_time_of_no_calendar_is_compared(tmp_path: Path) -> None:
    """A witness may sign any 63 bits as its time."""
    witness = Witness("example.org/w", 7)
    world = World()
    world.events(5)
    world.cut(0)
    world.files["checkpoint"] = world.checkpoint()
    world.files["witnessed"] = witness.cosign(world.checkpoint(), 2**63 - 1)
    report = verify_log(
        world.write(tmp_path),
        NEW.verifier_key(),
        witnesses=[witness.vkey],
        fresh_within=timedelta(hours=1),
        now=START + timedelta(minutes=5),
    )
    assert report.ok


def by_a_later_key(directory: Path) -> None:
    """Sign the oldest seal with the key that took over after it."""
    path = directory / "seals" / f"{0:020d}.seal"
    head, _, signed = path.read_bytes().partition(b"\n\n")
    path.write_bytes(head + b"\n\n" + note(signed.partition(b"\n\n")[0] + b"\n", NEW))


def in_another_order(directory: Path) -> None:
    """Swap the signatures of the rotation, whose event was pruned."""
    path = next((directory / "rotations").iterdir())
    text, _, signatures = path.read_bytes().partition(b"\n\n")
    old, new = signatures.splitlines(keepends=True)
    path.write_bytes(text + b"\n\n" + new + old)


@pytest.mark.parametrize(
    ("change", "code"), [(by_a_later_key, "checkpoint.superseded"), (in_another_order, "rotation.signature")]
)
def test_what_nothing_but_the_format_forbids_is_seen(tmp_path: Path, change: Callable[[Path], None], code: str) -> None:
    """Section 6.1: a key counts in its time only, and the old key's signature comes first."""
    rotated(tmp_path)
    assert verify_log(tmp_path, NEW.verifier_key()).ok
    change(tmp_path)
    assert verify_log(tmp_path, NEW.verifier_key()).code == code


async def test_no_start_goes_on_without_the_newest_seal_either(tmp_path: Path) -> None:
    """A seal is durable before the next segment exists: no crash leaves the one without the other."""
    log = open_log(tmp_path, limits=SEGMENTS)
    for number in range(30):
        await log.durable(append(log, number))
    await log.close()
    max((tmp_path / "seals").iterdir()).unlink()
    assert verify_log(tmp_path, VKEY).code == "seal.missing"
    with pytest.raises(AuditTamperedError):
        open_log(tmp_path)

"""Writes what an auditor takes home: one event's proof, and a folder of events that verifies without the log.

The bytes are those of docs/audit-format.md, section 11; `engine.audit.verify.bundle` reads them and shares no code with
this module. Nothing here judges the proofs: whoever calls has made them, and whoever gets the folder checks them.

Source: C2SP tlog-proof (a proof file), RFC 8410 (the key as openssl reads it).
"""

import base64
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from engine.audit.bundle_readme import GO_PROGRAM, readme
from engine.errors import FaultError, RefusalError

FORMAT: Final = "missiongate audit bundle v1"
EVENTS_MAX: Final = 100_000  # a file each: more is a copy of the log, not a selection of it
PROOF_HEADER: Final = b"c2sp.org/tlog-proof@v1\n"


class SelectionRefusedError(RefusalError):
    """What is to be exported is no selection: out of order, out of its range, or too much (`export.too_large`)."""

    default_code = "export.invalid"


class ExportError(FaultError):
    """The folder cannot be written, or is in the way (`export.exists`)."""

    default_code = "export.unwritable"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedEvent:
    """One line of the log and the proof that it is in the tree of the bundle's checkpoint."""

    seq: int
    line: bytes  # exact bytes, without LF
    path: tuple[bytes, ...]  # RFC 6962 inclusion path, 32-byte hashes, lowest first; of `AuditLog.prove_inclusion`


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What is exported. `complete` claims all events of `first` to `end - 1`, which seq without gap proves."""

    events: Iterable[ExportedEvent]  # in the order of seq; read once, and one at a time
    checkpoint: bytes  # the signed note under which each path leads, cosignatures included where there are any
    vkey: str  # of the key that signed `checkpoint`
    filter_text: str  # what was asked for, in the words of whoever asked; "" is everything
    first: int  # the range that was looked through: from this seq
    end: int  # to before this one; at most the checkpoint's size
    complete: bool
    created: datetime  # UTC
    rotations: Mapping[int, bytes] = field(default_factory=dict)  # notes of the log's key rotations, by seq


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenBundle:
    """What stands in a new bundle."""

    directory: Path
    events: int
    size: int  # of the checkpoint


def proof_bytes(seq: int, path: Iterable[bytes], checkpoint: bytes) -> bytes:
    """Return a `.tlog-proof` that event `seq` is in the tree of `checkpoint`. Source: C2SP tlog-proof."""
    hashes = b"".join(base64.b64encode(node) + b"\n" for node in path)
    return PROOF_HEADER + b"index %d\n" % seq + hashes + b"\n" + checkpoint


def write_bundle(directory: Path, selection: Selection) -> WrittenBundle:
    """Write `selection` as a new folder `directory`, whole or not at all.

    It is made beside its place, under a name that begins with a dot, and renamed when it is durable. Blocks.

    Raises:
        SelectionRefusedError: `export.invalid`, `export.too_large`.
        ExportError: `export.exists`, `export.unwritable`.
    """
    body, size, signature, public = _signed(selection)
    if not 0 <= selection.first <= selection.end <= size:
        raise SelectionRefusedError(f"events {selection.first} to {selection.end} are no range of the {size} signed")
    if directory.exists() or directory.is_symlink():
        raise ExportError(f"{directory}: exists, and an export never overwrites", code="export.exists")
    made = directory.with_name(f".{directory.name}.tmp")
    try:
        made.mkdir(mode=0o700)
        try:
            count, digest = _write_events(made, selection)
            _write(made / "checkpoint", selection.checkpoint)
            _write(made / "checkpoint.body", body)
            _write(made / "checkpoint.sig", signature)
            _write(made / "verifier-key", selection.vkey.encode() + b"\n")
            _write(made / "verifier-key.pem", public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
            _write_rotations(made, selection.rotations)
            _write(made / "manifest.json", _manifest(selection, count, size, digest))
            _write(made / "check.go", GO_PROGRAM.encode())
            _write(made / "README.md", readme(selection.vkey, count, size).encode())
            _fsync_folder(made)
            made.rename(directory)
            _fsync_folder(directory.parent)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
    except OSError as error:
        raise ExportError(f"{directory}: {error.strerror or error}") from error
    return WrittenBundle(directory=directory, events=count, size=size)


def _signed(selection: Selection) -> tuple[bytes, int, bytes, Ed25519PublicKey]:
    """Return the checkpoint's signed text, its size, the key's signature, and the key."""
    name, key_id, encoded = selection.vkey.split("+", 2)
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(encoded)[1:])
    body, _, signatures = selection.checkpoint.rpartition(b"\n\n")
    start = f"— {name} ".encode()
    for line in signatures.splitlines():
        raw = base64.b64decode(line.removeprefix(start)) if line.startswith(start) else b""
        if raw[:4].hex() == key_id:
            return body + b"\n", int(body.split(b"\n")[1]), raw[4:], public
    raise SelectionRefusedError("the checkpoint is not signed by the selection's key")


def _write_events(made: Path, selection: Selection) -> tuple[int, str]:
    """Write the lines and their proofs; return how many, and the digest of the lines."""
    (made / "proofs").mkdir(mode=0o700)
    count, last, digest = 0, selection.first - 1, sha256()
    with (made / "events.jsonl").open("xb") as file:
        for event in selection.events:
            if not last < event.seq < selection.end or (selection.complete and event.seq != last + 1):
                raise SelectionRefusedError(f"event {event.seq} is not one that follows {last} in the selection")
            if count == EVENTS_MAX:
                raise SelectionRefusedError(
                    f"more than {EVENTS_MAX} events; narrow the selection", code="export.too_large"
                )
            file.write(event.line + b"\n")
            digest.update(event.line + b"\n")
            proof = proof_bytes(event.seq, event.path, selection.checkpoint)
            (made / "proofs" / f"{event.seq:020d}.tlog-proof").write_bytes(proof)
            count, last = count + 1, event.seq
        if selection.complete and last + 1 != selection.end:
            raise SelectionRefusedError(f"the selection ends with event {last}, before the end of its range")
        file.flush()
        os.fsync(file.fileno())
    _fsync_folder(made / "proofs")
    return count, digest.hexdigest()


def _write_rotations(made: Path, rotations: Mapping[int, bytes]) -> None:
    (made / "rotations").mkdir(mode=0o700)
    for seq, note in sorted(rotations.items()):
        _write(made / "rotations" / f"{seq:020d}.note", note)
    _fsync_folder(made / "rotations")


def _manifest(selection: Selection, count: int, size: int, digest: str) -> bytes:
    document = {
        "format": FORMAT,
        "origin": selection.vkey.partition("+")[0],
        "created": selection.created.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "filter": selection.filter_text,
        "first": selection.first,
        "end": selection.end,
        "complete": selection.complete,
        "events": count,
        "events_sha256": digest,
        "size": size,
        "vkey": selection.vkey,
    }
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _fsync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

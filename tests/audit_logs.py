"""Audit logs for tests: a clock and entropy that repeat, a writer in one call, and the tools of a forger."""

import asyncio
import hashlib
import itertools
import json
from base64 import b64encode
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson

from engine.audit.checkpoint import Checkpoint, sign_checkpoint
from engine.audit.files import Files, SystemFiles
from engine.audit.keys import Ed25519Signer, VerifierKey
from engine.audit.log import AuditLog
from engine.audit.writer import AuditLimits

VECTORS = Path(__file__).parent / "vectors"
NAME = "example.com/gateway"
SIGNER = Ed25519Signer(NAME, bytes(range(32)))
VKEY = SIGNER.verifier_key()
START = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


def vectors(name: str) -> object:
    """Return the vectors of a file below tests/vectors."""
    return json.loads((VECTORS / name).read_text())["vectors"]


class TickingClock:
    """One microsecond more at each look, unless told to stand still or to jump."""

    def __init__(self, step: timedelta = timedelta(microseconds=1)) -> None:
        self.moment = START
        self.step = step
        self._seconds = itertools.count()

    def now(self) -> datetime:
        self.moment += self.step
        return self.moment

    def monotonic(self) -> float:
        return next(self._seconds) * 1e-6


def counting_entropy() -> Callable[[int], bytes]:
    """Return bytes that differ at each call and are the same in each run."""
    count = itertools.count(1)
    return lambda size: hashlib.sha256(str(next(count)).encode()).digest()[:size]


def open_log(
    directory: Path,
    *,
    signer: Ed25519Signer = SIGNER,
    files: Files | None = None,
    clock: TickingClock | None = None,
    limits: AuditLimits | None = None,
) -> AuditLog:
    """Open a log that comes out the same, byte for byte, in each run."""
    return AuditLog.open(
        directory,
        signer=signer,
        clock=clock or TickingClock(),
        files=files or SystemFiles(),
        limits=limits or AuditLimits(),
        entropy=counting_entropy(),
    )


def append(log: AuditLog, number: int) -> int:
    """Append a small event."""
    return log.append("step.completed", actor=f"worker-{number}", target=f"step-{number}", details={"n": number})


async def write_log(directory: Path, events: int, *, signer: Ed25519Signer = SIGNER) -> AuditLog:
    """Write a log of `events` events, `audit.opened` included, and close it."""
    log = open_log(directory, signer=signer)
    for number in range(1, events):
        append(log, number)
    await log.close()
    return log


def make_log(directory: Path, events: int, *, signer: Ed25519Signer = SIGNER) -> Path:
    """Do as `write_log`, for tests without an event loop; return the directory."""
    asyncio.run(write_log(directory, events, signer=signer))
    return directory


def segment(directory: Path, first_seq: int = 0) -> Path:
    """Return the path of a segment."""
    return directory / "segments" / f"{first_seq:020d}.jsonl"


def lines(directory: Path) -> list[bytes]:
    """Return all lines of a log, without LF."""
    content = b"".join(path.read_bytes() for path in sorted((directory / "segments").iterdir()))
    return content.split(b"\n")[:-1]


def put_lines(directory: Path, content: Iterable[bytes]) -> None:
    """Put lines in place of those of a log of one segment."""
    segment(directory).write_bytes(b"".join(line + b"\n" for line in content))


def split_segments(directory: Path, *starts: int) -> None:
    """Cut a log of one segment into several, the way rotation names them."""
    content = lines(directory)
    for first, last in itertools.pairwise((0, *starts, len(content))):
        segment(directory, first).write_bytes(b"".join(line + b"\n" for line in content[first:last]))


def rehash(line: bytes, **changes: object) -> bytes:
    """Return `line` with other values and a hash that fits them, as a forger without the key would."""
    event = {**orjson.loads(line), **changes}
    del event["hash"]
    event["hash"] = hashlib.sha256(orjson.dumps(event)).hexdigest()
    return orjson.dumps(event)


def reseal(body: bytes) -> bytes:
    """Return a line of any bytes before its hash, which is given with its closing brace."""
    return body[:-1] + b',"hash":"' + hashlib.sha256(body).hexdigest().encode() + b'"}'


def rechain(content: list[bytes]) -> list[bytes]:
    """Number, chain and hash lines anew, in the order given."""
    chained: list[bytes] = []
    for seq, line in enumerate(content):
        previous = orjson.loads(chained[-1])["hash"] if chained else "0" * 64
        chained.append(rehash(line, seq=seq, previous_hash=previous))
    return chained


def tree_root(leaves: list[bytes]) -> bytes:
    """Return the root by the definition of RFC 6962, 2.1: recursive, slow, plain."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    left = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + tree_root(leaves[:left]) + tree_root(leaves[left:])).digest()


def signed(content: list[bytes], signer: Ed25519Signer = SIGNER, origin: str | None = None) -> bytes:
    """Return a checkpoint over lines, signed by `signer`."""
    head = Checkpoint(origin=origin or signer.name, size=len(content), root=tree_root(content))
    return sign_checkpoint(head, signer, VerifierKey.parse(signer.verifier_key()))


def note(text: bytes, signer: Ed25519Signer = SIGNER) -> bytes:
    """Return any text as a signed note."""
    key = VerifierKey.parse(signer.verifier_key())
    return text + f"\n— {key.name} {b64encode(key.id + signer.sign(text)).decode()}\n".encode()

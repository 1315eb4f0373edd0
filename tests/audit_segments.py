"""Logs of many segments, made without the writer: lines, tree, seals, rotations, cosignatures, all from the format.

A `World` is a log as a mapping of paths to bytes, so that an attack is a few assignments. It is written out only to be
verified. Everything follows docs/audit-format.md, and shares nothing with the writer or the verifier but the signer.
"""

import hashlib
import itertools
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from engine.audit.keys import Ed25519Signer
from tests.audit_logs import NAME, START, tree_root

OLD = Ed25519Signer(NAME, bytes(range(32)))
NEW = Ed25519Signer(NAME, bytes(range(1, 33)))
STEP = timedelta(minutes=1)


def moment(seq: int) -> str:
    """Return the timestamp of an event: one a minute."""
    return (START + seq * STEP).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def leaf(line: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + line).digest()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes, level by level."""
    if not leaves:
        return hashlib.sha256().digest()
    row = list(leaves)
    while len(row) > 1:
        odd = row[-1:] if len(row) % 2 else []
        pairs = zip(row[::2], row[1::2], strict=False)
        row = [hashlib.sha256(b"\x01" + left + right).digest() for left, right in pairs] + odd
    return row[0]


def inclusion_path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """Return the audit path, by the definition of RFC 6962, 2.1.1."""
    if len(leaves) == 1:
        return []
    left = 1 << (len(leaves) - 1).bit_length() - 1
    if index < left:
        return [*inclusion_path(index, leaves[:left]), root_of(leaves[left:])]
    return [*inclusion_path(index - left, leaves[left:]), root_of(leaves[:left])]


def consistency_path(old: int, leaves: Sequence[bytes], *, whole: bool = True) -> list[bytes]:
    """Return the consistency proof, by the definition of RFC 6962, 2.1.2."""
    if old == len(leaves):
        return [] if whole else [root_of(leaves)]
    left = 1 << (len(leaves) - 1).bit_length() - 1
    if old <= left:
        return [*consistency_path(old, leaves[:left], whole=whole), root_of(leaves[left:])]
    return [*consistency_path(old - left, leaves[left:], whole=False), root_of(leaves[:left])]


def frontier(leaves: Sequence[bytes]) -> list[bytes]:
    """Return the roots of the perfect subtrees, the largest first."""
    roots, at = [], 0
    for height in range(len(leaves).bit_length(), -1, -1):
        if len(leaves) >> height & 1:
            roots.append(root_of(leaves[at : at + (1 << height)]))
            at += 1 << height
    return roots


def note(text: bytes, *signers: Ed25519Signer) -> bytes:
    """Return a text as a note with the signatures of `signers`."""
    return text + b"\n" + b"".join(signature(text, signer) for signer in signers)


def signature(text: bytes, signer: Ed25519Signer) -> bytes:
    key_id = bytes.fromhex(signer.verifier_key().split("+")[1])
    return f"— {signer.name} {b64encode(key_id + signer.sign(text)).decode()}\n".encode()


def statement(seq: int, old: Ed25519Signer, new: Ed25519Signer, *signers: Ed25519Signer) -> bytes:
    """Return a rotation note, signed by both keys, or by `signers`."""
    text = f"missiongate audit key rotation v1\n{NAME}\n{seq}\n{old.verifier_key()}\n{new.verifier_key()}\n"
    return note(text.encode(), *(signers or (old, new)))


class Witness:
    """Cosigns whatever it is shown. Source: C2SP tlog-cosignature."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self._key = Ed25519PrivateKey.from_private_bytes(bytes([seed] * 32))
        self._raw = b"\x04" + self._key.public_key().public_bytes_raw()
        self._id = hashlib.sha256(name.encode() + b"\n" + self._raw).digest()[:4]
        self.vkey = f"{name}+{self._id.hex()}+{b64encode(self._raw).decode()}"

    def cosign(self, signed: bytes, seconds: int) -> bytes:
        """Return the note with one signature line more."""
        text = signed.rpartition(b"\n\n")[0] + b"\n"
        message = b"cosignature/v1\ntime %d\n" % seconds + text
        blob = self._id + seconds.to_bytes(8, "big") + self._key.sign(message)
        return signed + f"— {self.name} {b64encode(blob).decode()}\n".encode()


@dataclass
class World:
    """A log: `lines` are its events, `files` what is on its disk, by relative path."""

    lines: list[bytes] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    forged_from: int | None = None  # from this event on, it says that mallory did it

    def event(
        self, event_type: str = "step.completed", details: Mapping[str, object] | None = None, target: str | None = None
    ) -> int:
        """Append an event; of the log itself where its type begins with `audit.`."""
        seq = len(self.lines)
        own = event_type.startswith("audit.")
        body = {
            "seq": seq,
            "event_id": hashlib.sha256(str(seq).encode()).hexdigest()[:32],
            "timestamp": moment(seq),
            "event_type": event_type,
            "actor": "audit" if own else self._actor(seq),
            "target": target or (NAME if own else f"step-{seq}"),
            "details": {"n": seq} if details is None else details,
            "previous_hash": orjson.loads(self.lines[-1])["hash"] if self.lines else "0" * 64,
        }
        self.lines.append(orjson.dumps({**body, "hash": hashlib.sha256(orjson.dumps(body)).hexdigest()}))
        return seq

    def _actor(self, seq: int) -> str:
        return "mallory" if self.forged_from is not None and seq >= self.forged_from else f"worker-{seq}"

    def events(self, until: int) -> None:
        """Append plain events up to event `until - 1`."""
        while len(self.lines) < until:
            self.event("audit.opened" if not self.lines else "step.completed")

    def checkpoint(self, size: int | None = None, *signers: Ed25519Signer) -> bytes:
        """Return the checkpoint of so many events."""
        count = len(self.lines) if size is None else size
        root = b64encode(tree_root(self.lines[:count])).decode()
        return note(f"{NAME}\n{count}\n{root}\n".encode(), *(signers or (NEW,)))

    def cut(
        self, *firsts: int, rotated_at: int | None = None, old: Ed25519Signer = OLD, new: Ed25519Signer = NEW
    ) -> None:
        """Write lines, tree files and seals: segments begin at `firsts`, and the last of them is open."""
        leaves = [leaf(line) for line in self.lines]
        for first, end in itertools.pairwise((*firsts, len(self.lines))):
            content = b"".join(line + b"\n" for line in self.lines[first:end])
            self.files[segment(first)] = content
            if first != firsts[-1]:
                signer = old if rotated_at is not None and end <= rotated_at + 1 else new
                self.seal(first, end, leaves[:end], signer)

    def seal(self, first: int, end: int, leaves: Sequence[bytes], signer: Ed25519Signer) -> None:
        """Write the seal and the tree files of a closed segment, whose lines are written."""
        content = self.files[segment(first)]
        rows = [f"frontier {b64encode(node).decode()}\n" for node in frontier(leaves)]
        rows += [f"path {b64encode(node).decode()}\n" for node in inclusion_path(end - 1, leaves)]
        digest = hashlib.sha256(content).hexdigest()
        head = f"missiongate audit seal v1\nfirst {first}\nsize {end}\nbytes {len(content)}\nsha256 {digest}\n"
        self.files[f"seals/{first:020d}.seal"] = (
            head.encode() + "".join(rows).encode() + b"\n" + self.checkpoint(end, signer)
        )
        self.files[f"tree/{first:020d}.leaves"] = b"".join(leaves[first:end])
        tiles = [root_of(leaves[at : at + 256]) for at in range(first // 256 * 256, end - 255, 256)]
        self.files[f"tree/{first:020d}.roots"] = b"".join(tiles)

    def pruned_details(self, first: int, end: int) -> dict[str, object]:
        """Return what `audit.pruned` says of a segment."""
        content = b"".join(line + b"\n" for line in self.lines[first:end])
        leaves = b"".join(leaf(line) for line in self.lines[first:end])
        return {
            "first": first,
            "size": end,
            "sha256": hashlib.sha256(content).hexdigest(),
            "leaves_sha256": hashlib.sha256(leaves).hexdigest(),
            "archived": True,
            "reason": "age",
        }

    def write(self, directory: Path) -> Path:
        """Write the files into a new folder."""
        for name, content in self.files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return directory


def segment(first: int) -> str:
    """Return the path of a segment."""
    return f"segments/{first:020d}.jsonl"


def put(content: Iterable[bytes]) -> bytes:
    """Return lines as a file has them."""
    return b"".join(line + b"\n" for line in content)

"""Witnesses for tests: a key that cosigns, and a witness that keeps the rules of C2SP tlog-witness in memory."""

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from engine.audit.checkpoint import Checkpoint
from engine.audit.proofs import is_consistent
from engine.audit.witness import SIZE_TYPE, WitnessKey, split_note
from gateway.anchoring.ports import Answer, UnreachableError

NOW = 1_769_860_800


class Cosigner:
    """A key of a witness."""

    def __init__(self, name: str = "witness.example/w1", seed: bytes | None = None) -> None:
        self.private = Ed25519PrivateKey.from_private_bytes(seed or hashlib.sha256(name.encode()).digest())
        self.key = WitnessKey(name, self.private.public_key().public_bytes_raw())

    def line(self, note: bytes, seconds: int = NOW) -> str:
        """Return the signature line for a checkpoint."""
        text, _ = split_note(note)
        signature = self.private.sign(f"cosignature/v1\ntime {seconds}\n".encode() + text)
        blob = self.key.id + seconds.to_bytes(8, "big") + signature
        return f"— {self.key.name} {base64.b64encode(blob).decode()}\n"


@dataclass
class FakeWitness:
    """Cosigns what follows from what it has cosigned. `down` and `wait` stand for its troubles."""

    cosigner: Cosigner = field(default_factory=Cosigner)
    size: int = 0
    root: bytes = b""
    down: bool = False
    wait: Callable[[], object] | None = None  # gives something to await before it answers
    answers: list[Answer] = field(default_factory=list)  # instead of its own, each once
    asked: list[tuple[int, int]] = field(default_factory=list)  # old and new size of each request
    running: int = 0
    running_max: int = 0  # requests at once

    async def add_checkpoint(self, body: bytes) -> Answer:
        self.running += 1
        self.running_max = max(self.running, self.running_max)
        try:
            if self.wait is not None:
                await self.wait()  # type: ignore[misc]
            if self.down:
                raise UnreachableError("no connection")
            return self.answers.pop(0) if self.answers else self._answer(body)
        finally:
            self.running -= 1

    def _answer(self, body: bytes) -> Answer:
        head, _, note = body.partition(b"\n\n")
        first, *rest = head.decode().split("\n")
        old, proof = int(first.removeprefix("old ")), [base64.b64decode(line) for line in rest]
        new = Checkpoint.parse(split_note(note)[0])
        self.asked.append((old, new.size))
        if old > new.size:
            return answer(400, b"")
        if old != self.size:
            return answer(409, b"%d\n" % self.size, SIZE_TYPE)
        if old == new.size and old and new.root != self.root:
            return answer(409, b"")
        if old and not is_consistent(old, self.root, new.size, new.root, proof):
            return answer(422, b"bad proof\n")
        self.size, self.root = new.size, new.root
        return answer(200, self.cosigner.line(note).encode())


def answer(status: int, body: bytes, content_type: str = "text/plain") -> Answer:
    return Answer(status=status, content_type=content_type, body=body)


def consistency(leaves: Sequence[bytes], old: int, new: int, root: Callable[[list[bytes]], bytes]) -> tuple[bytes, ...]:
    """Return the proof by the definition of RFC 6962, 2.1.2: recursive, slow, plain."""

    def subproof(m: int, part: list[bytes], whole: bool) -> list[bytes]:
        n = len(part)
        if m == n:
            return [] if whole else [root(part)]
        k = 1 << (n - 1).bit_length() - 1
        if m <= k:
            return [*subproof(m, part[:k], whole), root(part[k:])]
        return [*subproof(m - k, part[k:], whole=False), root(part[:k])]

    return () if old in {0, new} else tuple(subproof(old, list(leaves[:new]), whole=True))

"""The verification of one event by its `.tlog-proof`, and what it has in common with that of a bundle."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from engine.audit.verify.line import LineError, Lines
from engine.audit.verify.note import Head, Key, NoteError, read_head, read_key
from engine.audit.verify.proof import ProofError, check_inclusion, read_proof
from engine.audit.verify.report import BadEvent, VerificationReport
from engine.audit.verify.rotation import KeyChain, read_chain, rotations_by_seq
from engine.audit.verify.verdict import Verdict
from engine.audit.verify.witness import Quorum, Witnessed, read_quorum, witnessed


@dataclass(slots=True)
class Signed:
    """A checkpoint without its log, and how far its verification got."""

    key: Key
    quorum: Quorum
    target: Literal["bundle", "proof"]
    chain: KeyChain
    head: Head | None = None
    witnessed: Witnessed | None = None
    events: int = 0
    complete: bool | None = None
    newest_event: str | None = None
    outside_size: int | None = None

    def read(self, note: bytes, outside: Sequence[bytes]) -> Head:
        """Read the checkpoint, signed by the key of its time; hold it against those from outside, ask the witnesses.

        Raises:
            Verdict: `checkpoint.…`, `outside.…`, `witness.…`, as of a log.
        """
        try:
            self.head = head = read_head(note, self.chain.keys)
        except NoteError as error:
            raise Verdict(error.code, f"the checkpoint: {error}") from None
        self.chain.check_in_force(head, "the checkpoint")
        for other in outside:
            self._check_outside(other, head)
        if self.quorum.required:
            self.witnessed = witnessed(head, self.quorum)
            if self.witnessed is None:
                raise Verdict("witness.missing", f"the checkpoint is not cosigned by {self.quorum.required} of them")
        return head

    def _check_outside(self, note: bytes, head: Head) -> None:
        try:
            outside = read_head(note, self.chain.keys)
        except NoteError as error:
            raise Verdict(error.code.replace("checkpoint.", "outside."), f"the outside checkpoint: {error}") from None
        if outside.size != head.size:
            raise Verdict(
                "outside.size",
                f"the outside checkpoint is of {outside.size} events, this one of {head.size}: nothing here ties them",
            )
        if outside.root != head.root:
            raise Verdict("outside.fork", "the outside checkpoint has another root at the same size")
        self.outside_size = outside.size

    def report(self, code: str, message: str, bad: BadEvent | None = None) -> VerificationReport:
        """Return the verdict."""
        head, seen, good = self.head, self.witnessed, code == "ok"
        return VerificationReport(
            ok=good,
            code=code,
            message=message,
            target=self.target,
            origin=self.key.name.decode(),
            signed_by=tuple(key.label for key in head.signers) if head is not None else (),
            rotations=self.chain.labels(),
            events=self.events,
            checkpoint_size=head.size if head is not None else 0,
            root_hash=b64encode(head.root).decode() if head is not None else "",
            first_bad=bad,
            outside_size=self.outside_size if good else None,
            witnessed_size=seen.head.size if good and seen is not None else None,
            witnessed_at=seen.at if good and seen is not None else None,
            witnesses=tuple(key.label for key in seen.witnesses) if good and seen is not None else (),
            newest_event=self.newest_event,
            complete=self.complete if good else None,
        )


def verify_proof(
    proof: bytes,
    line: bytes,
    vkey: str,
    *,
    rotations: Sequence[bytes] = (),
    checkpoint: bytes | Sequence[bytes] = (),
    witnesses: Sequence[str] = (),
    witnesses_required: int | None = None,
) -> VerificationReport:
    """Verify that `line` is an event of the log of `vkey`, by a `.tlog-proof`.

    Args:
        proof: content of the file.
        line: the event, exact bytes, with or without its LF.
        vkey: any key that the log has had, from elsewhere.
        rotations: notes of key rotations that lead from it to the key that signed, in any order.
        checkpoint: checkpoints from outside; at the same size they have to have the same root, and one of another size
            is refused, since a proof says nothing about it.
        witnesses: as of `verify_log`; the proof's own checkpoint has to have their cosignatures.
        witnesses_required: as of `verify_log`.

    Raises:
        VerifierKeyError: `vkey` or one of `witnesses` is no verifier key.
        QuorumError: so many of these witnesses cannot be required.
    """
    key, quorum = read_key(vkey), read_quorum(witnesses, witnesses_required)
    signed = Signed(key, quorum, "proof", KeyChain((key,), ()))
    outside = (checkpoint,) if isinstance(checkpoint, bytes) else tuple(checkpoint)
    try:
        signed.chain = read_chain(key, rotations_by_seq(rotations))
        seq = check_event(signed, Lines(), proof, line.removesuffix(b"\n"), ("event", 1), outside=outside)
    except Verdict as verdict:
        return signed.report(verdict.code, verdict.message, verdict.bad)
    return signed.report("ok", f"this is event {seq} of the log, unchanged")


def check_event(
    signed: Signed,
    lines: Lines,
    proof: bytes,
    line: bytes,
    where: tuple[str, int],
    *,
    named: int | None = None,
    checkpoint: bytes | None = None,
    outside: Sequence[bytes] = (),
) -> int:
    """Check one event and its proof, and return its seq; `lines` has followed those before it.

    Args:
        signed: its head is read from the proof, where `checkpoint` is None.
        lines: of this event on, or of one before.
        proof: content of the `.tlog-proof`.
        line: without LF.
        where: the file and the line in it, for a report.
        named: the seq that the proof is filed under, if it is.
        checkpoint: what the proof's checkpoint has to be, byte for byte; it was read into `signed`.
        outside: checkpoints from outside, where `checkpoint` is None.

    Raises:
        Verdict: `proof.malformed`, `proof.checkpoint`, `proof.wrong`, `bundle.mismatch`, `event.bad`, and those of
            `Signed.read`.
    """
    try:
        told = read_proof(proof)
    except ProofError as error:
        raise Verdict("proof.malformed", f"the proof of {where[0]}, line {where[1]}: {error}") from None
    if named not in {None, told.index}:
        raise Verdict("bundle.mismatch", f"the proof of event {told.index} is filed under {named}")
    if checkpoint is None:
        head = signed.read(told.checkpoint, outside)
    elif told.checkpoint != checkpoint or signed.head is None:
        raise Verdict("proof.checkpoint", f"the proof of event {told.index} is under another checkpoint")
    else:
        head = signed.head
    lines.skip(told.index)
    try:
        lines.check([line], [])
    except LineError as error:
        bad = BadEvent(seq=told.index, file=where[0], line=where[1], reason=str(error))
        raise Verdict("event.bad", f"event {told.index}: {error}", bad) from None
    try:
        check_inclusion(
            index=told.index, size=head.size, leaf=sha256(b"\x00" + line).digest(), path=told.path, root=head.root
        )
    except ProofError as error:
        raise Verdict("proof.wrong", f"event {told.index} is not shown to be in the log: {error}") from None
    signed.events += 1
    signed.newest_event = lines.time
    return told.index

"""One witness is asked to cosign one checkpoint.

- It is sent the checkpoint, with the proof that it follows from the size that the witness is known to have.
- 200: a cosignature, which is verified.
- 409: the witness knows another size. From that one on it is asked again, unless the log has not as many.
- Anything else is a fault, or an alarm.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from engine.audit.witness import Cosignature, WitnessKey, read_answer, request_body
from gateway.anchoring.ports import AnchoredLog, Covered, UnreachableError, WitnessPort

_TRIES_MAX: Final = 3  # of one checkpoint: the witness may be asked by another meanwhile, and not for ever


class RolledBackError(ValueError):
    """The witness has cosigned more events than this log has: the log was put back."""

    def __init__(self, size: int, known: int) -> None:
        super().__init__(f"it has cosigned {known} events of this log, which has {size}")
        self.known = known


@dataclass(frozen=True, slots=True)
class Ahead:
    """The witness has cosigned `size` events, more than the checkpoint covers; the log has as many."""

    size: int


async def ask(
    log: AnchoredLog, witness: WitnessPort, key: WitnessKey, target: Covered, known: int
) -> Cosignature | Ahead:
    """Return the witness's cosignature of `target`.

    Args:
        log: gives the proofs.
        witness: who is asked.
        key: the witness's.
        target: the checkpoint.
        known: the largest size that the witness is known to have cosigned; 0 where nothing is.

    Raises:
        UnreachableError: it cannot be asked.
        WitnessAnswerError: it has not cosigned.
        WitnessForkError: it knows another history.
        RolledBackError: it knows a longer one.
    """
    old = known
    for _ in range(_TRIES_MAX):
        if old > target.size:
            if old > log.size:
                raise RolledBackError(log.size, old)
            return Ahead(old)
        proof = await asyncio.to_thread(log.prove_consistency, old, target.size) if 0 < old < target.size else ()
        answer = await witness.add_checkpoint(request_body(old, proof, target.note))
        found = read_answer(answer.status, answer.content_type, answer.body, key=key, old=old, note=target.note)
        if isinstance(found, Cosignature):
            return found
        old = found.size
    raise UnreachableError("it names another size each time that it is asked")

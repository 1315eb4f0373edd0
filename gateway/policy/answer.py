"""The raw answer of an evaluation, as a worker sends it: one status byte, then the answer or an error text."""

from enum import IntEnum
from typing import Final

from gateway.policy.decision import ANSWER_BYTES_MAX, Decision, denied, parse_decision
from gateway.policy.engine import ENTRYPOINTS, Entrypoint, rule_of

ERROR_BYTES_MAX: Final = 2_048


class Status(IntEnum):
    """How an evaluation ended."""

    VALUE = 0  # the rule has a value; JSON follows
    UNDEFINED = 1  # no rule answered
    FAILED = 2  # the engine refused; its message follows
    PANICKED = 3  # the engine broke; its message follows


def encode_request(entrypoint: Entrypoint, document: bytes) -> bytes:
    """Return the request frame: the entrypoint's index, then the document's own bytes."""
    return bytes((ENTRYPOINTS.index(entrypoint),)) + document


def decode_request(frame: bytes) -> tuple[Entrypoint, bytes]:
    """Undo `encode_request`.

    Raises:
        ValueError: the frame is empty, or names no entrypoint.
    """
    if not frame or frame[0] >= len(ENTRYPOINTS):
        raise ValueError("a policy request starts with the index of its entrypoint")
    return ENTRYPOINTS[frame[0]], frame[1:]


def encode_answer(status: Status, body: str) -> bytes:
    """Return the answer frame; an error text is cut at ERROR_BYTES_MAX, a value that is too large is an error."""
    data = body.encode("utf-8", "replace")
    if status is Status.VALUE and len(data) > ANSWER_BYTES_MAX:
        return encode_answer(Status.FAILED, f"its value is larger than {ANSWER_BYTES_MAX} bytes")
    return bytes((status,)) + (data if status is Status.VALUE else data[:ERROR_BYTES_MAX])


def decide(entrypoint: Entrypoint, answer: bytes, *, bundle: str) -> Decision:
    """Return the decision that an answer frame stands for; every frame has one."""
    if not answer or answer[0] >= len(Status):
        return denied("policy.malformed", "the policy worker's answer has no status", bundle=bundle)
    return decision_of(entrypoint, Status(answer[0]), answer[1:], bundle=bundle)


def decision_of(entrypoint: Entrypoint, status: Status, body: bytes, *, bundle: str) -> Decision:
    """Return the decision that an evaluation comes to; `body` is the value as JSON, or why there is none."""
    if status is Status.VALUE:
        return parse_decision(body, bundle=bundle, entrypoint=entrypoint)
    rule = rule_of(entrypoint)
    if status is Status.UNDEFINED:
        return denied("policy.undefined", f"{rule} is undefined for this input: no rule answered", bundle=bundle)
    if status is Status.FAILED:
        why = body.decode("utf-8", "replace")
        return denied("policy.failed", f"{rule} could not be evaluated: {why}", bundle=bundle)
    return denied("policy.crashed", f"the policy engine broke while evaluating {rule}", bundle=bundle)

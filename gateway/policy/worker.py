"""A policy worker: builds the engine from the bundle that it was given, then answers one request after another."""

import os
from collections.abc import Callable

from gateway.policy.answer import Status, decode_request, encode_answer
from gateway.policy.bundle import unpack
from gateway.policy.evaluator import Evaluator
from gateway.policy.supplied.warming import warm

warm()  # in the zygote, which imports this module once: its workers may open nothing


def serve(config: bytes, fds: tuple[int, ...]) -> Callable[[bytes], bytes]:  # noqa: ARG001 - the entry's signature
    """Return the handler of `gateway.policy.answer` frames.

    Args:
        config: `Bundle.packed`.
        fds: none.
    """
    os.environ["RUST_BACKTRACE"] = "0"  # regorus would walk the stack for every error, a hundred times its cost
    evaluator = Evaluator(*unpack(config))

    def handle(frame: bytes) -> bytes:
        try:
            entrypoint, document = decode_request(frame)
        except ValueError as error:
            return encode_answer(Status.FAILED, str(error))
        return evaluator.evaluate(entrypoint, document)

    return handle

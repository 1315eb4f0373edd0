"""A worker for authors: evaluates rules and runs tests of one bundle, where a loop of theirs can be ended."""

import os
from collections.abc import Callable
from typing import Any

import orjson

from gateway.policy.authoring.interpreter import Answer, Interpreter
from gateway.policy.authoring.sources import unpacked


def serve(config: bytes, fds: tuple[int, ...]) -> Callable[[bytes], bytes]:  # noqa: ARG001 - the entry's signature
    """Return the handler of requests of `gateway.policy.authoring.laboratory`.

    Args:
        config: `sources.packed`.
        fds: none.
    """
    os.environ["RUST_BACKTRACE"] = "0"  # regorus would walk the stack for every error, a hundred times its cost
    modules, data, coverage = unpacked(config)
    interpreter = Interpreter.of(modules, data, coverage=coverage)

    def handle(frame: bytes) -> bytes:
        head, _, document = frame.partition(b"\n")
        request = orjson.loads(head)
        asked = document or None
        if request["op"] == "cover":
            answer, covered = interpreter.covered(request["rule"], asked)
            return orjson.dumps({**_answer(answer), "covered": covered})
        return orjson.dumps(_answer(interpreter.ask(request["rule"], asked)))

    return handle


def _answer(answer: Answer) -> dict[str, Any]:
    return {"status": int(answer.status), "value": answer.value, "message": answer.message}

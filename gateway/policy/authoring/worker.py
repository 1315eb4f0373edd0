"""A worker for authors: evaluates rules and runs tests of one bundle, where a loop of theirs can be ended."""

import os
from collections.abc import Callable
from typing import Any

import orjson

from engine.clock import SystemClock
from gateway.policy.authoring.explain import explain_modules
from gateway.policy.authoring.interpreter import Answer, Interpreter
from gateway.policy.authoring.probes import Budget, Prober, SpentError
from gateway.policy.authoring.program import Program
from gateway.policy.authoring.sources import unpacked


def serve(config: bytes, fds: tuple[int, ...]) -> Callable[[bytes], bytes]:  # noqa: ARG001 - the entry's signature
    """Return the handler of requests of `gateway.policy.authoring.laboratory`.

    Args:
        config: `sources.packed`.
        fds: none.
    """
    os.environ["RUST_BACKTRACE"] = "0"  # regorus would walk the stack for every error, a hundred times its cost
    modules, data, coverage = unpacked(config)
    clock = SystemClock()
    interpreter = Interpreter.of(modules, data, coverage=coverage)

    def handle(frame: bytes) -> bytes:
        head, _, document = frame.partition(b"\n")
        request = orjson.loads(head)
        asked = document or None
        if request["op"] == "explain":
            told = explain_modules(
                modules,
                data,
                request["digest"],
                request["entrypoint"],
                document,
                clock=clock,
                deadline_ms=request["deadline_ms"],
            )
            return orjson.dumps(told.document())
        if request["op"] == "locate":
            line = locate(modules, interpreter, request["rule"], Budget(clock.monotonic, request["deadline_ms"]))
            return orjson.dumps({"line": line})
        if request["op"] == "cover":
            answer, covered = interpreter.covered(request["rule"], asked)
            return orjson.dumps({**_answer(answer), "covered": covered})
        return orjson.dumps(_answer(interpreter.ask(request["rule"], asked)))

    return handle


def locate(modules: list[tuple[str, str]], interpreter: Interpreter, rule: str, budget: Budget) -> int | None:
    """Return the line of the first statement of a test that does not hold; None where all do, or it is not known."""
    definitions = Program.of(modules).definitions.get(tuple(rule.split(".")), [])
    if len(definitions) != 1:
        return None
    body = definitions[0].bodies[0]
    try:
        index = Prober(interpreter, None, budget).first_failing(definitions[0].module, (), body)
    except SpentError:
        return None
    return None if index is None or index >= len(body) else body[index].line


def _answer(answer: Answer) -> dict[str, Any]:
    return {"status": int(answer.status), "value": answer.value, "message": answer.message}

"""A sandbox worker: loads the modules of its pool from sealed memory, then runs one call at a time."""

from collections.abc import Callable

import orjson

from gateway.errors import SandboxError
from gateway.sandbox.runtime import Runtime
from gateway.sandbox.wire import decode_run, encode_error, encode_report
from gateway.workers.sealed import unseal


def serve(config: bytes, fds: tuple[int, ...]) -> Callable[[bytes], bytes]:
    """Build the handler. `config` is a JSON list of `[name, bytes]`, the descriptor holds their artefacts in a row."""
    [artefacts] = fds
    sizes: list[tuple[str, int]] = orjson.loads(config)
    data, position = unseal(artefacts), 0
    modules: dict[str, bytes] = {}
    for name, size in sizes:
        modules[name] = data[position : position + size]
        position += size
    runtime, names = Runtime(modules), tuple(modules)

    def handle(request: bytes) -> bytes:
        try:
            return encode_report(runtime.run(*decode_run(request, names)))
        except SandboxError as error:
            return encode_error(error)

    return handle

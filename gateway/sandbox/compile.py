"""Compiles modules in a jail: a forked worker of its own for each, bounded in memory and CPU time.

A valid module of 0.7 MB can make the compiler ask for 26 GB and abort the process, so it never runs in the gateway.
Order: size → magic bytes (here) → validity → imports → exports → compiler (in the jail, `gateway.sandbox.jail`). What
comes back is machine code, kept in memory and handed to workers as a sealed memfd; none is ever read from disk.
"""

import hashlib
from typing import Final

import orjson

from gateway.errors import HookRefusedError, SandboxError, WorkerError
from gateway.sandbox.artefact import COMPILED, REFUSED, Artefact
from gateway.sandbox.calls import JAIL
from gateway.workers.frame import printable
from gateway.workers.limits import ResourceLimits
from gateway.workers.pool import WorkerPool
from gateway.workers.spec import WorkerSpec
from gateway.workers.supervisor import Zygote

MODULE_BYTES_MAX: Final = 8 * 1024 * 1024
MAGIC: Final = b"\0asm\1\0\0\0"  # wasmtime's API would accept text too
REFUSAL_CODES: Final = ("hook.invalid", "hook.import", "hook.export_missing", "hook.export_type", "hook.memory")
COMPILE_MS_MAX: Final = 20_000  # wall; the CPU limit comes first unless the host is busy
_LIMITS: Final = ResourceLimits(address_space_bytes_max=1_500_000_000, cpu_seconds_max=10, processes_max=0)
_SPEC: Final = WorkerSpec(entry="gateway.sandbox.jail:serve", limits=_LIMITS, calls=JAIL)


async def compile_module(zygote: Zygote, wasm: bytes) -> Artefact:
    """Return `wasm` compiled, or refuse it.

    Raises:
        HookRefusedError: `hook.too_large`, `hook.magic`, `hook.invalid`, `hook.import`, `hook.export_missing`,
            `hook.export_type`, `hook.memory`, `hook.compile_exceeded`.
        SandboxError: `sandbox.unavailable`, there is no jail to be had; `sandbox.crashed`, it answered nonsense.
    """
    check_bytes(wasm)
    jail = WorkerPool(zygote, _SPEC, 1)
    try:
        await jail.start()
        answer = await jail.call(wasm, deadline_ms=COMPILE_MS_MAX)
    except WorkerError as error:
        if error.code not in {"worker.crashed", "worker.deadline"}:
            raise SandboxError("no process to compile in", code="sandbox.unavailable") from error
        message = "compiling it takes more than 1.5 GB of memory or 10 s"
        raise HookRefusedError(message, code="hook.compile_exceeded") from error
    finally:
        await jail.close(drain_seconds=0)
    if answer[:1] != COMPILED:
        raise _refusal(answer)
    return Artefact(answer[1:], hashlib.sha256(wasm).hexdigest())


def _refusal(answer: bytes) -> HookRefusedError | SandboxError:
    """Return what the jail said. It has read hostile bytes: what it says is not trusted to be an answer."""
    try:
        code, message = orjson.loads(answer[1:])
    except (ValueError, TypeError):
        code = message = None
    if answer[:1] != REFUSED or code not in REFUSAL_CODES or not isinstance(message, str):
        return SandboxError("the compiler's answer is malformed", code="sandbox.crashed")
    return HookRefusedError(printable(message.encode()), code=code)


def check_bytes(wasm: bytes) -> None:
    """Apply the rules of registration that need no look inside.

    Raises:
        HookRefusedError: `hook.too_large` or `hook.magic`.
    """
    if len(wasm) > MODULE_BYTES_MAX:
        raise HookRefusedError(f"the module is over {MODULE_BYTES_MAX} bytes", code="hook.too_large")
    if not wasm.startswith(MAGIC):
        raise HookRefusedError("the module does not begin as a binary core module, version 1", code="hook.magic")

"""The engines: each gives a known answer, from a real worker, under the lockdown that it would serve under."""

from collections.abc import Collection
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import orjson

from engine.constraints import ExecutionConstraints
from engine.errors import EngineError
from gateway.doctor.check import Check, failed, ok
from gateway.policy.bundle import Bundle
from gateway.policy.pool import WorkerPolicy
from gateway.policy.vetting import Module
from gateway.sandbox.fleet import Fleet
from gateway.sandbox.hooks import builtin_hooks
from gateway.sandbox.pool import PRELOAD
from gateway.workers.supervisor import Zygote

if TYPE_CHECKING:  # with it comes all that speaks TLS
    from gateway.policy.opa.settings import OpaTable

_KIND: Final = "transform"
_POLICY: Final = """\
package gateway.step

import rego.v1

default decision := {"allow": false, "reasons": [{"code": "doctor.no", "message": "not known", "rule": "decision"}]}

decision := {"allow": true, "reasons": []} if input.known == 42
"""
_KNOWN: Final = ((b'{"known":42}', True), (b'{"known":43}', False), (b"{}", False))
# A run of a millisecond; the rest is for a machine that is busy.
_CONSTRAINTS: Final = ExecutionConstraints(wall_ms_max=5_000, fuel_max=100_000_000, memory_bytes_max=8 * 1024 * 1024)
_DOCUMENT: Final = orjson.dumps(
    {
        "abi": 1,
        "kind": "step",
        "step": {"id": "doctor", "name": "doctor", "step_type": _KIND, "attempt": 1},
        "parameters": {},
        "journal": [],
        "now": "2026-01-01T00:00:00.000000Z",
        "seed": "00" * 16,
    }
)
_OPA_BYTES_MAX: Final = 64 * 1024
_OPA_DEADLINE_MS: Final = 5_000
_ADVICE: Final = "run missiongate doctor as the gateway's own user, and look at kernel.isolation and process.files"


async def engines(without: Collection[str]) -> tuple[Check, ...]:
    """Start workers of their own, ask them, and end them."""
    async with AsyncExitStack() as stack:
        try:
            zygote = await Zygote.start(PRELOAD, without=without)
        except EngineError as error:
            return (failed("engine.workers", f"no worker can be started: {error.message}", _ADVICE),)
        stack.push_async_callback(zygote.close)
        return await regorus(zygote), await wasmtime(zygote)


async def regorus(zygote: Zygote) -> Check:
    """Whether a known policy gives the known answers."""
    code = "engine.regorus"
    bundle = Bundle.build(manifest={"roots": ["gateway"]}, data={}, modules=[Module("doctor.rego", _POLICY)])
    policy = WorkerPolicy(zygote, bundle)
    try:
        await policy.start()
        given = [(await policy.decide("step", document)) for document, _ in _KNOWN]
    except EngineError as error:
        return failed(code, f"the policy engine does not start: {error.message}", _ADVICE)
    finally:
        await policy.close()
    if [decision.allow for decision in given] != [allow for _, allow in _KNOWN]:
        why = "; ".join(reason.code for decision in given for reason in decision.reasons)
        return failed(code, f"a known policy is answered otherwise than it must be: {why}", "install missiongate anew")
    return ok(code, "regorus answers a known policy as it must, in a worker")


async def wasmtime(zygote: Zygote) -> Check:
    """Whether a module of the package compiles in the jail, and runs in a worker."""
    code = "engine.wasmtime"
    fleet = Fleet(zygote, {"steps": 1, "screens": 1, "observers": 1})
    try:
        [hook] = [hook for hook in builtin_hooks() if hook.name == _KIND]
        formation = await fleet.prepare([hook])
        fleet.adopt(formation)
        report = await formation.sandbox().run(hook.key, _DOCUMENT, _CONSTRAINTS)
    except EngineError as error:
        return failed(code, f"the sandbox does not run a module: {error.message}", _ADVICE)
    finally:
        await fleet.close()
    if orjson.loads(report.output) != {"output": {}}:
        return failed(code, "a known module is run otherwise than it must be", "install missiongate anew")
    return ok(code, f"wasmtime compiles and runs a module, in a worker: {report.fuel_used:,} units of fuel")


async def opa(table: "OpaTable", home: Path) -> Check:
    """Whether the OPA that is configured answers; it need not have the bundle yet."""
    from gateway.policy.opa.server import OpaError, OpaServer  # noqa: PLC0415 - its client takes 250 ms to import
    from gateway.policy.opa.settings import read_settings  # noqa: PLC0415

    code = "engine.opa"
    advice = "start OPA, or look at policy.opa.url and what it names; docs/policy-engines.md has an example"
    try:
        server = OpaServer(read_settings(table, home))
    except EngineError as error:
        return failed(code, error.message, advice)
    try:
        await server.ask("GET", "/v1/data/system/version", bytes_max=_OPA_BYTES_MAX, deadline_ms=_OPA_DEADLINE_MS)
    except OpaError as error:
        return failed(code, str(error), advice)
    finally:
        await server.close()
    return ok(code, f"OPA answers at {table.url}")

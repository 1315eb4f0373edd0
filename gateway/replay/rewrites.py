"""Rewrites of a recorded step, made again: each module on what the one before has made, as the log names them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from engine.values import JsonObject, JsonValue
from gateway.errors import NotFoundError, SandboxError
from gateway.events import digest
from gateway.replay.digests import Digests
from gateway.replay.outcome import DifferenceFound, NotReproducible, Reason
from gateway.replay.ports import Modules, Records
from gateway.replay.rounds import limits_of, run_once
from gateway.sandbox.abi import StepFault
from gateway.sandbox.abi_hooks import RewritePlace, decode_rewrite, encode_value, frame
from gateway.stages import Given

_SHA256: Final = re.compile(r"sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Source:
    """Where modules and their settings are, and what the log would have for a value."""

    modules: Modules
    records: Records
    digests: Digests


async def rewritten(
    source: Source,
    place: RewritePlace,
    rewrites: Sequence[Mapping[str, Any]],
    value: JsonValue,
    step: JsonObject,
    given: Given,
) -> JsonValue:
    """Return a value as the recorded rewrites leave it; `step` are the facts that hooks see of the attempt.

    Raises:
        DifferenceFound: a module is not here, its settings are others, or it makes something else of it.
        NotReproducible: this machine ended a run.
    """
    for each in rewrites:
        name = str(each["hook"])
        if (mine := source.digests.of(value)) != each["before"]:
            message = f"what the rewrite {name} is given is not what the log names"
            raise DifferenceFound(
                Reason.INPUT if place == "parameters" else Reason.OUTPUT,
                message,
                recorded=str(each["before"]),
                replayed=mine,
            )
        settings = await _settings(source.records, name, str(each["settings"]))
        try:
            seen = encode_value(place, value, {"step": step, "taint": each["taint"]})
            document = frame(seen, kind="rewrite", at=place, now=given.now, seed=given.seed, settings=settings)
            report = await run_once(source.modules, str(each["module"]), document, limits_of(each), given.for_run())
            answer = decode_rewrite(report.output, place)
        except SandboxError as error:
            raise DifferenceFound(Reason.OUTPUT, f"the rewrite {name} now ends with {error.code}") from error
        if isinstance(answer, StepFault):
            raise DifferenceFound(Reason.OUTPUT, f"the rewrite {name} now refuses")
        [value] = answer
        if (mine := source.digests.of(value)) != each["after"]:
            message = f"the rewrite {name} makes something else of it"
            raise DifferenceFound(Reason.OUTPUT, message, recorded=str(each["after"]), replayed=mine)
    return value


async def _settings(records: Records, name: str, recorded: str) -> bytes:
    """Return the settings that a hook had; they are kept beside the modules."""
    match = _SHA256.fullmatch(recorded)
    try:
        settings = await records.hook_module(match[1] if match else "")
    except NotFoundError as error:
        raise NotReproducible(f"the settings of the rewrite {name} are not kept any more") from error
    if digest(settings) != recorded or not isinstance(orjson.loads(settings), dict):
        message = f"the settings of the rewrite {name} are not those that the log names"
        raise DifferenceFound(Reason.INPUT, message, recorded=recorded, replayed=digest(settings))
    return settings

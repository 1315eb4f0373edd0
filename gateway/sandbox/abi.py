"""The hook ABI, version 1, as documents: what a step's module is given, and what its answer may be.

Source: wasm-hooks/abi.md. The answer comes from untrusted code: every field is checked, and one that is not known is
refused.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import orjson

from engine.errors import MissionInvalidError
from engine.json_text import read_json
from engine.mission import NESTING_MAX, MissionLimits
from engine.values import JsonObject, JsonValue
from gateway.errors import SandboxError

EFFECTS_MAX: Final = 64  # of one step, over all its rounds
OP_CHARS_MAX: Final = 64
CODE_CHARS_MAX: Final = 128
MESSAGE_CHARS_MAX: Final = 4096
_LONG_NUMBER: Final = re.compile(rb"[0-9]{19}")
# A long number must not make another rule of nesting: how deep an output may be is for the context to say.
_LIMITS: Final = MissionLimits(nesting_max=NESTING_MAX)
MEMORY_CODE: Final = "memory"  # a module's own word for an allocation that failed


@dataclass(frozen=True, slots=True)
class EffectAsked:
    """One effect that a module asks for; neither its name nor its arguments are checked yet."""

    op: str
    args: JsonObject


@dataclass(frozen=True, slots=True)
class StepOutput:
    """The step is done."""

    output: JsonValue


@dataclass(frozen=True, slots=True)
class StepEffects:
    """The step wants these effects, in order, before it is run again. At least one."""

    effects: tuple[EffectAsked, ...]


@dataclass(frozen=True, slots=True)
class StepFault:
    """The step failed by its own account."""

    code: str
    message: str
    retryable: bool


StepAnswer: TypeAlias = StepOutput | StepEffects | StepFault


def encode_step(
    *,
    step_id: str,
    name: str,
    step_type: str,
    attempt: int,
    parameters: JsonObject,
    journal: Sequence[JsonObject],
    now: str,
    seed: str,
) -> bytes:
    """Return the input document of a step.

    Args:
        step_id: the step's id in its mission.
        name: its name.
        step_type: its kind.
        attempt: from 1.
        parameters: resolved and sanitized.
        journal: outcomes of earlier effects, each `{"ok": …}` or `{"error": {"code", "message"}}`.
        now: RFC 3339, fixed for the attempt.
        seed: hex, fixed for the attempt.
    """
    return orjson.dumps(
        {
            "abi": 1,
            "kind": "step",
            "step": {"id": step_id, "name": name, "step_type": step_type, "attempt": attempt},
            "parameters": parameters,
            "journal": journal,
            "now": now,
            "seed": seed,
        }
    )


def decode_step_output(data: bytes) -> StepAnswer:
    """Return what a step's module answered.

    Raises:
        SandboxError: `sandbox.output_invalid`, it is not UTF-8 JSON, or not exactly one of the three shapes.
    """
    document = read_answer(data)
    if not isinstance(document, dict) or len(document) != 1:
        raise invalid_answer("it must be an object with one of the fields effects, output, error")
    [(kind, value)] = document.items()
    match kind:
        case "output":
            return StepOutput(value)
        case "effects":
            return _effects(value)
        case "error":
            return fault_of(value)
        case _:
            raise invalid_answer("its one field must be effects, output or error")


def read_answer(data: bytes) -> JsonValue:
    """Return the value that a module's answer is.

    Raises:
        SandboxError: `sandbox.output_invalid`, it is not UTF-8 JSON.
    """
    try:
        document: JsonValue = orjson.loads(data)
        if _LONG_NUMBER.search(data):  # orjson makes a float of an integer beyond 64 bits: here that is a refusal
            document = read_json(data.decode(), _LIMITS)
    except (orjson.JSONDecodeError, MissionInvalidError) as error:
        raise invalid_answer("it is not JSON in UTF-8 with integers of at most 64 bits") from error
    return document


def reports_memory(data: bytes) -> bool:
    """Whether the answer is an error with code `memory`; malformed ones are not."""
    try:
        answer = decode_step_output(data)
    except SandboxError:
        return False
    return isinstance(answer, StepFault) and answer.code == MEMORY_CODE


def _effects(value: JsonValue) -> StepEffects:
    if not isinstance(value, list) or not 1 <= len(value) <= EFFECTS_MAX:
        raise invalid_answer(f"effects must be a list of 1 to {EFFECTS_MAX}")
    return StepEffects(tuple(_effect(entry) for entry in value))


def _effect(entry: JsonValue) -> EffectAsked:
    if not isinstance(entry, Mapping) or set(entry) != {"op", "args"}:
        raise invalid_answer("an effect has exactly the fields op and args")
    args = entry["args"]
    if not isinstance(args, Mapping):
        raise invalid_answer("an effect's args must be an object")
    return EffectAsked(text_of(entry["op"], "op", OP_CHARS_MAX), args)


def fault_of(value: JsonValue) -> StepFault:
    """Return the failure that an answer's `error` spells.

    Raises:
        SandboxError: `sandbox.output_invalid`, it has not exactly the fields of one.
    """
    if not isinstance(value, Mapping) or not {"code", "message"} <= set(value) <= {"code", "message", "retryable"}:
        raise invalid_answer("an error has the fields code and message, and may have retryable")
    retryable = value.get("retryable", False)
    if not isinstance(retryable, bool):
        raise invalid_answer("an error's retryable must be true or false")
    code = text_of(value["code"], "code", CODE_CHARS_MAX)
    return StepFault(code, text_of(value["message"], "message", MESSAGE_CHARS_MAX), retryable)


def text_of(value: JsonValue, field: str, chars_max: int) -> str:
    """Return a text of 1 to `chars_max` characters.

    Raises:
        SandboxError: `sandbox.output_invalid`, it is none.
    """
    if not isinstance(value, str) or not value or len(value) > chars_max:
        raise invalid_answer(f"{field} must be text of 1 to {chars_max} characters")
    return value


def invalid_answer(rule: str) -> SandboxError:
    """Return the refusal of an answer that breaks `rule`."""
    return SandboxError(f"the module's answer is not of the ABI: {rule}", code="sandbox.output_invalid")

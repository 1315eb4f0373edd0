"""The hook ABI, version 1, for screens, rewrites and observers: what they are given, and what their answers may be.

Source: wasm-hooks/abi.md. Documents that policy has seen are given on as the very bytes, so that one digest in the log
names what both have seen. Answers come from untrusted code: every field is checked, one that is not known is refused.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, cast

import orjson

from engine.errors import MissionInvalidError
from engine.json_text import read_json
from engine.mission import NESTING_MAX, MissionLimits
from engine.values import JsonObject, JsonValue
from gateway.errors import SandboxError
from gateway.sandbox.abi import StepFault, fault_of, invalid_answer, read_answer, text_of

REASONS_MAX: Final = 16  # of one screen
REASON_CODE_CHARS_MAX: Final = 64
REASON_CHARS_MAX: Final = 1_024  # of a message
LIMIT_MAX: Final = 2**53  # what `narrow` may say; above it JSON numbers are no longer exact everywhere
NARROW_NAMES: Final = frozenset({"wall_ms_max", "fuel_max", "memory_bytes_max"})
ANSWER_BYTES_MAX: Final = 64 * 1024  # of a screen or an observer; a rewrite's is that of an output

_CODE: Final = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*")
_VERDICTS: Final = frozenset({"allow", "deny", "abstain"})
_LIMITS: Final = MissionLimits(nesting_max=NESTING_MAX)

Word: TypeAlias = Literal["allow", "deny", "abstain"]
RewritePlace: TypeAlias = Literal["parameters", "output"]


@dataclass(frozen=True, slots=True)
class ScreenReason:
    """Why a screen says what it says, in its own words."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class ScreenVerdict:
    """What a screen says: `allow` and `abstain` let pass, and may give less; neither lifts another's no."""

    word: Word
    reasons: tuple[ScreenReason, ...]
    narrow: Mapping[str, int]


def frame(document: bytes, *, kind: str, at: str, now: str, seed: str, settings: bytes) -> bytes:
    """Return the input of a hook of any kind but a step.

    Args:
        document: a JSON object of at least one field, and of none of those that are put before it.
        kind: screen, rewrite or observe.
        at: its place.
        now: RFC 3339.
        seed: 32 hex digits.
        settings: JSON, an object: what the site gives this hook.
    """
    head = f'{{"abi":1,"kind":"{kind}","at":"{at}","now":"{now}","seed":"{seed}","settings":'
    return head.encode() + settings + b"," + document[1:]


def encode_value(place: RewritePlace, value: JsonValue, facts: JsonObject) -> bytes:
    """Return the document of a step's parameters, or of its output, behind the facts of whose they are.

    Raises:
        SandboxError: `sandbox.output_invalid`, the value cannot be written: a module has made it.
    """
    try:
        return orjson.dumps({**facts, place: value})
    except (TypeError, orjson.JSONEncodeError) as error:
        raise invalid_answer(f"its {place} cannot be written as JSON") from error


def decode_screen(data: bytes) -> ScreenVerdict | StepFault:
    """Return what a screen answered; a fault is that it cannot say.

    Raises:
        SandboxError: `sandbox.output_invalid`, it is not strict JSON, or not exactly a verdict or an error.
    """
    answer = _object(_strict(data))
    if set(answer) == {"error"}:
        return fault_of(answer["error"])
    if not {"verdict"} <= set(answer) <= {"verdict", "reasons", "narrow"}:
        raise invalid_answer("a screen has the field verdict, and may have reasons and narrow")
    word = answer["verdict"]
    if not isinstance(word, str) or word not in _VERDICTS:
        raise invalid_answer("verdict must be allow, deny or abstain")
    return ScreenVerdict(cast("Word", word), _reasons(answer.get("reasons", [])), _narrow(answer.get("narrow", {})))


def decode_rewrite(data: bytes, place: RewritePlace) -> StepFault | tuple[JsonValue]:
    """Return what stands in place of the parameters or the output, in a tuple since it may be any value; or its fault.

    Parameters are read strictly and within bounds of depth, as a mission's are. An output is read as a step's is.

    Raises:
        SandboxError: `sandbox.output_invalid`, it is not JSON, or not exactly the one field.
    """
    answer = _object(_strict(data) if place == "parameters" else read_answer(data))
    if set(answer) == {"error"}:
        return fault_of(answer["error"])
    if set(answer) != {place}:
        raise invalid_answer(f"it must be an object with one of the fields {place}, error")
    value = answer[place]
    if place == "parameters" and not isinstance(value, Mapping):
        raise invalid_answer("parameters must be an object")
    return (value,)


def decode_observer(data: bytes) -> StepFault | None:
    """Return what an observer reports, where its answer is exactly an error; of everything else nothing is kept."""
    try:
        answer = read_answer(data)
        return fault_of(answer["error"]) if isinstance(answer, Mapping) and set(answer) == {"error"} else None
    except SandboxError:
        return None


def is_code(text: str) -> bool:
    """Return whether a text is lower-case words joined by dots, short enough to have a hook's name before it."""
    return len(text) <= REASON_CODE_CHARS_MAX and _CODE.fullmatch(text) is not None


def _strict(data: bytes) -> JsonValue:
    """Read JSON in which no name occurs twice: of two verdicts, no reader is to choose one."""
    try:
        return read_json(data.decode(), _LIMITS)
    except (UnicodeDecodeError, MissionInvalidError) as error:
        raise invalid_answer("it is not strict JSON in UTF-8") from error


def _object(value: JsonValue) -> JsonObject:
    if not isinstance(value, Mapping):
        raise invalid_answer("it must be an object")
    return value


def _reasons(value: JsonValue) -> tuple[ScreenReason, ...]:
    if not isinstance(value, list) or len(value) > REASONS_MAX:
        raise invalid_answer(f"reasons must be a list of at most {REASONS_MAX}")
    return tuple(_reason(entry) for entry in value)


def _reason(entry: JsonValue) -> ScreenReason:
    if not isinstance(entry, Mapping) or set(entry) != {"code", "message"}:
        raise invalid_answer("a reason has exactly the fields code and message")
    code = text_of(entry["code"], "code", REASON_CODE_CHARS_MAX)
    if not is_code(code):
        raise invalid_answer("a reason's code must be lower-case words joined by dots")
    return ScreenReason(code, text_of(entry["message"], "message", REASON_CHARS_MAX))


def _narrow(value: JsonValue) -> Mapping[str, int]:
    if not isinstance(value, Mapping) or not set(value) <= NARROW_NAMES:
        raise invalid_answer(f"narrow must be an object of {', '.join(sorted(NARROW_NAMES))}")
    out: dict[str, int] = {}
    for name, limit in value.items():
        if type(limit) is not int or not 1 <= limit <= LIMIT_MAX:
            raise invalid_answer(f"{name} must be a whole number above zero")
        out[name] = limit
    return out

"""The mission of a request: the document's bytes, or the value that a Mission message stands for.

Nothing is decided here. Unset fields are left out, so that a default is given once, by the engine, and both forms of a
mission have one digest.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from google.protobuf.message import Message

from engine.document import parse_document
from engine.errors import MissionInvalidError, Violation
from engine.mission import MissionLimits, RestartScope, Strategy
from engine.retry import Backoff
from engine.values import JsonObject, JsonValue
from gateway.rpc.bad_request import bad_request
from gateway.v1 import mission_pb2

_ENUMS: Final[Mapping[str, Mapping[int, str]]] = {
    prefix: {kind.Value(f"{prefix}_{word.name}"): word.value for word in words}
    for prefix, kind, words in (
        ("STRATEGY", mission_pb2.Strategy, Strategy),
        ("RESTART_SCOPE", mission_pb2.RestartScope, RestartScope),
        ("BACKOFF", mission_pb2.Backoff, Backoff),
    )
}
_ITEMS: Final = b'{"items":%b}'


def form_of(
    request: mission_pb2.SubmitMissionRequest | mission_pb2.PlanMissionRequest, limits: MissionLimits
) -> bytes | JsonObject:
    """Return the mission of a request.

    Raises:
        SanitizationError: neither form is set, a bytes field does not hold the JSON that it should, or an enum has a
            number that is none of its own.
        MissionInvalidError: a Mission message over the limits of documents, or JSON that breaks their rules.
    """
    match request.WhichOneof("form"):
        case "document":
            return request.document
        case "mission":
            size = request.mission.ByteSize()
            if size > limits.document_bytes_max:
                text = f"the mission has {size} bytes; {limits.document_bytes_max} are allowed"
                raise _over_limit("document.too_large", "", text)
            return mission_value(request.mission, limits)
        case _:
            raise bad_request("request.form_missing", "mission", "set either `mission` or `document`")


def mission_value(message: mission_pb2.Mission, limits: MissionLimits) -> JsonObject:
    """Return the document that a Mission message stands for."""
    out: dict[str, JsonValue] = {"version": message.version, "name": message.name}
    if message.description:
        out["description"] = message.description
    if message.labels:
        out["labels"] = dict(message.labels)
    if message.HasField("config"):
        out["config"] = _config_value(message.config)
    if message.variables:
        out["variables"] = _json_object(message.variables, "variables", limits)
    if len(message.steps) > limits.steps_max:  # an empty step is two bytes, so their size does not bound their number
        text = f"the mission has {len(message.steps)} steps; {limits.steps_max} are allowed"
        raise _over_limit("mission.too_many_steps", "steps", text)
    out["steps"] = [_step_value(step, f"steps[{i}]", limits) for i, step in enumerate(message.steps)]
    return out


def _config_value(config: mission_pb2.MissionConfig) -> JsonObject:
    out = _present(
        config, "timeout_seconds", "fail_fast", "parallel_limit", "priority", "concurrency_key", "security_level"
    )
    if config.strategy:
        out["strategy"] = _word("STRATEGY", config.strategy, "config.strategy")
    if config.HasField("supervision"):
        supervision = _present(config.supervision, "max_restarts", "within_seconds")
        if config.supervision.strategy:
            field = "config.supervision.strategy"
            supervision["strategy"] = _word("RESTART_SCOPE", config.supervision.strategy, field)
        out["supervision"] = supervision
    return out


def _step_value(step: mission_pb2.MissionStep, field: str, limits: MissionLimits) -> JsonObject:
    out: dict[str, JsonValue] = {"id": step.id, "name": step.name, "step_type": step.step_type}
    if step.depends_on:
        out["depends_on"] = list(step.depends_on)
    if step.when:
        out["when"] = _json_object(step.when, f"{field}.when", limits)
    if step.HasField("foreach"):
        out["foreach"] = _foreach_value(step.foreach, f"{field}.foreach", limits)
    if step.HasField("timeout_seconds"):
        out["timeout_seconds"] = step.timeout_seconds
    if step.continue_on_error:
        out["continue_on_error"] = True
    if step.HasField("retry"):
        out["retry"] = _retry_value(step.retry, f"{field}.retry")
    if step.idempotent:
        out["idempotent"] = True
    if step.profile:
        out["profile"] = step.profile
    out["parameters"] = _json_object(step.parameters, f"{field}.parameters", limits) if step.parameters else {}
    return out


def _foreach_value(foreach: mission_pb2.ForEach, field: str, limits: MissionLimits) -> JsonObject:
    out = _present(foreach, "parallel_limit")
    if foreach.items:
        out["items"] = _json_items(foreach.items, field, limits)
    return out


def _retry_value(retry: mission_pb2.RetryPolicy, field: str) -> JsonObject:
    out = _present(retry, "max_attempts", "base_ms", "jitter")
    if retry.backoff:
        out["backoff"] = _word("BACKOFF", retry.backoff, f"{field}.backoff")
    return out


def _present(message: Message, *names: str) -> dict[str, JsonValue]:
    """Return those optional fields that are set, zero or not."""
    get: Callable[[str], Any] = lambda name: getattr(message, name)  # noqa: E731 - types the fields of any message
    return {name: get(name) for name in names if message.HasField(name)}


def _word(prefix: str, number: int, field: str) -> str:
    """Return the word of an enum's number; protobuf lets any number through."""
    word = _ENUMS[prefix].get(number)
    if word is None:
        raise bad_request("request.unknown_value", field, f"{number} is no value of this field")
    return word


def _json_object(raw: bytes, field: str, limits: MissionLimits) -> JsonValue:
    """Parse JSON by the rules of mission documents: no duplicate keys, no NaN, bounded."""
    if not raw.lstrip(b" \t\r\n").startswith(b"{"):
        raise bad_request("request.not_a_json_object", field, "must hold one JSON object")
    return _parsed(raw, field, limits)


def _json_items(raw: bytes, field: str, limits: MissionLimits) -> JsonValue:
    """Parse a JSON list or string by the same rules, which are those of an object: so it is made the part of one."""
    if not raw.lstrip(b" \t\r\n").startswith((b"[", b'"')):
        raise bad_request("request.not_json_items", f"{field}.items", "must hold one JSON list, or one JSON string")
    whole = _parsed(_ITEMS % raw, field, limits)
    if not isinstance(whole, Mapping) or set(whole) != {"items"}:  # `[], "x": 1` would add members
        raise bad_request("request.not_json_items", f"{field}.items", "must hold one JSON list, or one JSON string")
    items: JsonValue = whole["items"]
    return items


def _parsed(raw: bytes, field: str, limits: MissionLimits) -> JsonValue:
    try:
        return parse_document(raw, limits).value
    except MissionInvalidError as error:
        raise MissionInvalidError([_within(field, violation) for violation in error.violations]) from error


def _within(field: str, violation: Violation) -> Violation:
    """Return a violation of a bytes field as one of the message, which has no lines."""
    inner = violation.field
    dot = "." if inner and not inner.startswith("[") else ""
    return replace(violation, field=f"{field}{dot}{inner}", line=None, column=None)


def _over_limit(code: str, field: str, message: str) -> MissionInvalidError:
    return MissionInvalidError([Violation(code=code, message=message, field=field, kind="limit")])

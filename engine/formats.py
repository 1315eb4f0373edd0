"""The formats in which a result is given out, and what is told of it beside the documented fields."""

import base64
import binascii
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import cache
from heapq import nlargest
from importlib import metadata as distributions
from types import MappingProxyType
from typing import Any, Final

import yaml

from engine.core_schema import read_plain
from engine.errors import RefusalError
from engine.json_copy import NotJsonError, encode, read_back
from engine.plain_writer import write_plain
from engine.plan import Plan
from engine.result import MissionResult
from engine.values import JsonObject, JsonValue
from engine.xml_writer import write_xml

BYTES_KEY: Final = "$bytes"
SLOWEST_MAX: Final = 5  # steps that the metadata names

_ENDLESS: Final = 1 << 30  # a folded line would be read the same, and be harder to read


class ResultFormat(StrEnum):
    """How a value is written."""

    JSON = "json"  # compact, UTF-8
    YAML = "yaml"  # block style; read back by `engine.yaml_text`
    XML = "xml"  # reversible; engine.xml_writer
    PLAIN = "plain"  # for people; engine.plain_writer
    BINARY = "binary"  # the bytes of {"$bytes": base64}


def render(value: JsonValue, format: ResultFormat) -> bytes:  # noqa: A002 - the word that callers use
    """Return `value` in `format`; every format but PLAIN holds all of it.

    Raises:
        RefusalError: `format.not_binary`, BINARY is only for the one object `{"$bytes": base64}`, the base64 being
            that of RFC 4648, 4, with its padding; `format.not_json`, the value is none of JSON's.
    """
    if format is ResultFormat.BINARY:
        return _binary(value)
    try:
        encoded = encode(value)
        plain: JsonValue = read_back(encoded, value)
    except NotJsonError as error:
        raise RefusalError(f"this is no JSON value: {error}", code="format.not_json") from error
    return encoded if format is ResultFormat.JSON else _WRITERS[format](plain)


def enriched(
    result: MissionResult, plan: Plan, *, metadata: Mapping[str, JsonValue] = MappingProxyType({})
) -> JsonObject:
    """Return the documented result with one more member, `metadata`.

    Args:
        result: of an execution of `plan`.
        plan: what was executed.
        metadata: more to tell; the engine's own members win where names meet.
    """
    mission = plan.mission
    results = result.step_results.values()
    slowest = nlargest(SLOWEST_MAX, (each for each in results if each.attempts), key=lambda each: each.duration_ms)
    own: dict[str, JsonValue] = {
        "mission_name": mission.name,
        "mission_version": mission.version,
        "mission_digest": mission.digest(),
        "labels": dict(mission.labels),
        "strategy": mission.config.strategy.value,
        "engine_version": _engine_version(),
        "steps_total": len(mission.steps),
        "levels_total": len(plan.graph.levels),
        "attempts_total": sum(each.attempts for each in results),
        "slowest_steps": [
            {"step_id": each.step_id, "duration_ms": round(each.duration_ms, 3), "attempts": each.attempts}
            for each in slowest
        ],
    }
    return {**result.document(), "metadata": {**metadata, **own}}


@cache
def _engine_version() -> str:
    try:
        return distributions.version("missiongate")
    except distributions.PackageNotFoundError:  # run from a source tree that is not installed
        return "unknown"


def _binary(value: JsonValue) -> bytes:
    text = value.get(BYTES_KEY) if isinstance(value, Mapping) and len(value) == 1 else None
    if not isinstance(text, str):
        raise RefusalError(f'only {{"{BYTES_KEY}": base64}} has bytes to give out', code="format.not_binary")
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RefusalError(f"the text of {BYTES_KEY} is no base64", code="format.not_binary") from error
    if base64.b64encode(decoded).decode() != text:  # bits that decode to nothing
        raise RefusalError(f"the text of {BYTES_KEY} is no canonical base64", code="format.not_binary")
    return decoded


class _BlockWriter(yaml.SafeDumper):
    """Writes texts of several lines as such, quotes what any YAML takes for no string, and never writes an anchor."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write a value that comes twice twice."""
        del data
        return True


def _text(writer: _BlockWriter, text: str) -> yaml.ScalarNode:
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style=_style(text))


def _style(text: str) -> str | None:
    """Return the style: block for several lines, none for what stands for itself, else double quotes.

    PyYAML knows the plain scalars of YAML 1.1 and quotes those; those of 1.2 are asked for here. It falls back to
    quotes where a block cannot hold the text or has no place.
    """
    if "\n" in text:
        fits = not text[0].isspace() and all(line.isprintable() for line in text.split("\n"))
        return "|" if fits else '"'
    try:
        return None if text.isprintable() and read_plain(text) == text else '"'
    except ValueError:
        return '"'


_BlockWriter.add_representer(str, _text)


def _write_yaml(value: JsonValue) -> bytes:
    text: str = yaml.dump(value, Dumper=_BlockWriter, sort_keys=False, allow_unicode=True, width=_ENDLESS)
    return text.encode()


_WRITERS: Final[Mapping[ResultFormat, Callable[[JsonValue], bytes]]] = {
    ResultFormat.YAML: _write_yaml,
    ResultFormat.XML: write_xml,
    ResultFormat.PLAIN: write_plain,
}

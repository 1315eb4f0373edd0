"""Holds an object to the OCSF schema of tests/vectors/ocsf: what is required, of which type, and with which numbers."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

SCHEMA: Final[dict[str, Any]] = json.loads((Path(__file__).parent / "vectors/ocsf/schema.json").read_text())
CLASSES: Final = {entry["uid"]: entry for entry in SCHEMA["classes"].values()}
_TYPES: Final = {"integer_t": int, "long_t": int, "string_t": str, "boolean_t": bool}
_LONG: Final = 2**63


def breaches(event: Mapping[str, Any]) -> list[str]:
    """Return every rule of its class that an event breaks, and its objects with it."""
    entry = CLASSES[event["class_uid"]]
    out = list(_of(entry, event, event["class_name"], frozenset(event["metadata"].get("profiles", ()))))
    if event["type_uid"] != event["class_uid"] * 100 + event["activity_id"]:
        out.append("type_uid: not class and activity")
    if event["metadata"]["version"] != SCHEMA["version"]:
        out.append("metadata.version: not of this schema")
    return out


def _of(entry: Mapping[str, Any], value: Any, place: str, profiles: frozenset[str]) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{place}: no object"
        return
    attributes = {
        name: rule
        for name, rule in entry["attributes"].items()
        if "profiles" not in rule or profiles & set(rule["profiles"])
    }
    for name, rule in attributes.items():
        if rule["requirement"] == "required" and name not in value:
            yield f"{place}.{name}: missing"
    for constraint, names in entry.get("constraints", {}).items():
        count = sum(name in value for name in names)
        if count < 1 or (constraint == "just_one" and count > 1):
            yield f"{place}: {constraint} of {names}"
    for name, content in value.items():
        rule = attributes.get(name)
        if rule is None:
            yield f"{place}.{name}: no such attribute, or not without its profile"
        elif "deprecated" in rule:
            yield f"{place}.{name}: deprecated"
        else:
            yield from _attribute(rule, content, f"{place}.{name}", profiles, value)


def _attribute(
    rule: Mapping[str, Any], content: Any, place: str, profiles: frozenset[str], beside: Mapping[str, Any]
) -> Iterator[str]:
    if rule.get("array"):
        if not isinstance(content, list) or not content:
            yield f"{place}: no list, or an empty one"
            return
        single = {key: entry for key, entry in rule.items() if key != "array"}
        for number, each in enumerate(content):
            yield from _attribute(single, each, f"{place}[{number}]", profiles, beside)
    elif rule.get("object") == "object":  # free: `unmapped`
        if not isinstance(content, Mapping):
            yield f"{place}: no object"
    elif "object" in rule:
        yield from _of(SCHEMA["objects"][rule["object"]], content, place, profiles)
    elif type(content) is not _TYPES[rule["type"]] or (isinstance(content, int) and not -_LONG <= content < _LONG):
        yield f"{place}: {content!r} is no {rule['type']}"
    elif "enum" in rule and not rule["type"].startswith("string"):
        yield from _number(rule, content, place, beside)


def _number(rule: Mapping[str, Any], content: int, place: str, beside: Mapping[str, Any]) -> Iterator[str]:
    """A number is one of the schema's, and the text beside it is its caption; of `Other`, it is any but a caption."""
    captions = rule["enum"]
    if str(content) not in captions:
        yield f"{place}: {content} is not among {sorted(captions)}"
        return
    told = beside.get(rule.get("sibling", ""))
    if told is None or rule["sibling"] == "type_name":
        return
    if content == 99:
        if told in captions.values() and told != "Other":
            yield f"{place}: {told!r} has a number"
    elif told != captions[str(content)]:
        yield f"{place}: {content} is {captions[str(content)]!r}, not {told!r}"

"""docs/policy.md says of every field of every input document where it is; the schemas are what counts."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.policy.engine import ENTRYPOINTS, Entrypoint

ROOT: Final = Path(__file__).parents[4]
PAGE: Final = (ROOT / "docs" / "policy.md").read_text()
Shape = tuple[bool, bool]
"""Of a field: whether it may be absent, and whether it may be null."""


def fields(node: Mapping[str, Any], path: str = "", shape: Shape = (False, False)) -> Iterator[tuple[str, Shape]]:
    """Yield each field below a schema by its path, a list's as `name[]`; an object with members stands for them."""
    variants = node.get("anyOf", [node])
    nullable = any(each.get("type") == "null" or "null" in each.get("type", ()) for each in variants)
    shape = (shape[0], nullable)
    members = [each for each in variants if "properties" in each]
    if path and (not members or nullable) and "properties" not in node.get("items", {}):
        yield path, shape
    for each in members:
        for name, member in each["properties"].items():
            yield from fields(member, f"{path}.{name}".lstrip("."), (name not in each["required"], False))
    if "properties" in node.get("items", {}):
        yield from fields(node["items"], f"{path}[]", shape)


def schema_fields(entrypoint: Entrypoint) -> dict[str, Shape]:
    """Return the fields that the schema of an input document has."""
    return dict(fields(json.loads((ROOT / "policies" / "schemas" / f"{entrypoint}.json").read_bytes())))


def page_fields(entrypoint: Entrypoint) -> dict[str, Shape]:
    """Return the fields that the page says an input document has; `.name` is beside the field before it."""
    table = PAGE.partition("## The input\n")[2].partition("\n## ")[0]
    found: dict[str, Shape] = {}
    for names, places, kinds in re.findall(r"^\| (`[^|]+`) \| ([a-z, ]+) \| ([^|]+) \|", table, re.MULTILINE):
        each = re.findall(r"`([^`]+)`", names)
        kind = kinds.split(", ") if len(each) > 1 and ", " in kinds else [kinds] * len(each)
        if places == "all" or entrypoint in places.split(", "):
            for name, what in zip(each, kind, strict=True):
                whole = f"{each[0].rpartition('.')[0]}{name}" if name.startswith(".") else name
                found[whole] = (what.endswith("?"), what.endswith("or null"))
    return found


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_the_page_has_every_field_of_every_input(entrypoint: Entrypoint) -> None:
    """No field is missing there, none is invented, and which may be absent or null is as the schema says."""
    assert page_fields(entrypoint) == schema_fields(entrypoint)
    assert schema_fields(entrypoint)

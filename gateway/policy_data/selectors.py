"""What grants and closings choose by: principals, missions, steps and effects."""

import re
from collections.abc import Collection
from typing import Final

from engine.values import JsonObject
from gateway.policy_data.fields import names_of, read_entries, read_matching, read_names, read_text

_METHOD: Final = re.compile(r"[A-Za-z0-9_.]+/[A-Za-z0-9_]+")
_IN_DATA: Final = (("roles", "roles"), ("kinds", "kinds"), ("commands", "commands"))


def check_selectors(field: str, entry: JsonObject, data: JsonObject, operations: Collection[str]) -> None:
    """Return if what an entry chooses by exists, as far as data and gateway know what exists.

    Subjects, tenants and labels are free; roles, kinds and commands have an entry in the data.

    Raises:
        PolicyInvalidError: `policy.data_invalid`.
    """
    for key in ("subjects", "tenants"):
        if key in entry:
            read_names(f"{field}.{key}", entry[key])
    for key, section in _IN_DATA:
        if key in entry:
            read_names(f"{field}.{key}", entry[key], names_of(data, section), f"{section} in data.gateway.config")
    if "methods" in entry:
        read_matching(f"{field}.methods", entry["methods"], _METHOD, 'is no method, such as "pkg.Service/Method"')
    if "effects" in entry:
        read_names(f"{field}.effects", entry["effects"], operations, ", ".join(sorted(operations)))
    for label, value in read_entries(f"{field}.labels", entry.get("labels", {})).items():
        read_text(f"{field}.labels.{label}", value)

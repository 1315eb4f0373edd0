"""Values as JSON: the words of the data-model document, in which the command line prints what the gateway answers."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from enum import Enum
from typing import Any, Final

from engine.clock import rfc3339

LEFT_OUT: Final = {"left_out": True}
"""Metadata of a field: where it is None or empty, the document has no such member."""


def named(name: str) -> dict[str, str]:
    """Return the metadata of a field that is called otherwise in the document."""
    return {"named": name}


class Documented:
    """A frozen dataclass that can be said as JSON."""

    __slots__ = ()

    def document(self) -> dict[str, Any]:
        """Return the value as a JSON object: members in the order of the fields, times as RFC 3339, enums as words."""
        found = ((each, getattr(self, each.name)) for each in fields(self))  # type: ignore[arg-type]  # each is one
        return {
            each.metadata.get("named", each.name): document_of(value)
            for each, value in found
            if value or not each.metadata.get("left_out")
        }


def document_of(value: object) -> Any:
    """Return a value, and what it holds, as JSON."""
    match value:
        case Documented():
            return value.document()
        case datetime():
            return rfc3339(value)
        case Enum():
            return value.value
        case tuple() | list():
            return [document_of(each) for each in value]
        case Mapping():
            return {name: document_of(each) for name, each in value.items()}
        case _:
            return value

"""Protobuf's moments, enums and JSON, as Python has them."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

import orjson
from google.protobuf.timestamp_pb2 import Timestamp

_Word = TypeVar("_Word", bound=StrEnum)


def moment(stamp: Timestamp) -> datetime:
    """Return a moment, aware, in UTC."""
    return stamp.ToDatetime(tzinfo=UTC)


def word(words: type[_Word], name: str) -> _Word:
    """Return the member that the name of a number ends with: `MISSION_STATE_COMPLETED` is `COMPLETED`.

    Raises:
        ValueError: there is none, as of a number from a newer gateway.
    """
    for each in words:
        if name.endswith(f"_{each.name}"):
            return each
    raise ValueError(name)


def json_of(raw: bytes) -> Any:
    """Return the JSON value in a field of bytes; None where the field is empty.

    Raises:
        ValueError: it holds something else.
    """
    return orjson.loads(raw) if raw else None

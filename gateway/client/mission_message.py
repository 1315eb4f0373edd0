"""A mission document as the protobuf message: for programs that build missions and send them typed.

The inverse of `gateway.rpc.forms.mission_value`. It follows the descriptors of the messages, so a field that the
protocol gains is carried without a line here, and one that it does not have is an error and not lost.
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from engine.errors import MissionInvalidError, Violation
from engine.findings import Path, field_name
from engine.values import JsonObject
from gateway.v1 import mission_pb2

_OBJECTS: Final = (FieldDescriptor.TYPE_MESSAGE, FieldDescriptor.TYPE_GROUP)


def mission_message(document: JsonObject) -> mission_pb2.Mission:
    """Return the message that stands for a mission document, such as `MissionBuilder.document` gives.

    Raises:
        MissionInvalidError: a field that the protocol does not have, or of another type; the gateway would refuse it.
    """
    message = mission_pb2.Mission()
    _fill(message, document, ())
    return message


def _fill(message: Message, values: Mapping[str, Any], path: Path) -> None:
    fields = message.DESCRIPTOR.fields_by_name
    for name, value in values.items():
        field = fields.get(name)
        if field is None:
            raise _wrong("mission.unknown_field", (*path, name), "there is no such field in the protocol")
        try:
            _set(message, field, value, (*path, name))
        except (TypeError, ValueError, AttributeError) as error:
            raise _wrong("mission.wrong_type", (*path, name), "the protocol holds another type here") from error


def _set(message: Message, field: Any, value: Any, path: Path) -> None:
    """Set one field: bytes hold JSON, messages their own fields, an enum is named by the end of its names."""
    if field.type == FieldDescriptor.TYPE_BYTES:
        setattr(message, field.name, orjson.dumps(value))
    elif field.message_type is not None and field.message_type.GetOptions().map_entry:
        getattr(message, field.name).update(value)
    elif field.type in _OBJECTS and field.is_repeated:
        for at, item in enumerate(value):
            _fill(getattr(message, field.name).add(), item, (*path, at))
    elif field.type in _OBJECTS:
        inner = getattr(message, field.name)
        inner.SetInParent()
        _fill(inner, value, path)
    elif field.is_repeated:
        getattr(message, field.name).extend(value)
    elif field.enum_type is not None:
        setattr(message, field.name, _enum_number(field, str(value)))
    else:
        setattr(message, field.name, value)


def _enum_number(field: Any, value: str) -> int:
    names = [each for each in field.enum_type.values_by_name if each.endswith(f"_{value.upper()}")]
    if len(names) != 1:
        raise ValueError(value)
    return int(field.enum_type.values_by_name[names[0]].number)


def _wrong(code: str, path: Path, message: str) -> MissionInvalidError:
    return MissionInvalidError([Violation(code=code, message=message, field=field_name(path))])

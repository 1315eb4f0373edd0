"""What a stranger may put into the fields of a request: for each field of each message, by the descriptors."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from tests.rpc_methods import message_of

DEPTH_MAX: Final = 4  # of messages within messages
MANY: Final = 12_000  # of a repeated field: more than any may have
TEXTS: Final = (
    "",
    "x" * 70_000,
    "a\x00b",
    "a\x1b[2J\r\nb",
    "../../../../etc/passwd",
    "\u202egnp.exe",
    "\ufeff\U000e0001",
    "' OR 1=1 --",
    "%s%n{0}${secrets.x}",
)
BYTES: Final = (
    b"",
    b"\xff\xfe\x00",
    b"[" * 20_000,
    b'{"a":' * 5_000,
    b"a: &a [*a, *a]\n",
    b'{"version": "1.0", "version": "1.0"}',
    b'{"steps": 1e999, "name": "\\ud800"}',
    b"\x1f\x8b\x08\x00" + b"\x00" * 64,
    b"\x00asm\x01\x00\x00\x00" + b"\xff" * 64,
)
_INTEGERS: Final[Mapping[int, tuple[int, ...]]] = {
    FieldDescriptor.CPPTYPE_INT32: (-1, -(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-1, -(2**63), 2**63 - 1, -62_135_596_800, 253_402_300_799),  # and the ends of time
    FieldDescriptor.CPPTYPE_UINT32: (2**32 - 1,),
    FieldDescriptor.CPPTYPE_UINT64: (2**64 - 1,),
    FieldDescriptor.CPPTYPE_ENUM: (-1, 999, 2**31 - 1),
}
_FLOATS: Final = (float("nan"), float("inf"), -1.0, 1e308)
_LENGTH_DELIMITED: Final = 2  # the wire type of texts, bytes and messages


@dataclass(frozen=True, slots=True)
class Hostile:
    """A request, and what in it is not honest."""

    field: str
    value: Any
    raw: bytes


def hostile(base: Message) -> Iterator[Hostile]:
    """Yield a request with one field spoilt, for each field of it, at any depth, and each way to spoil it."""
    for trail in _trails(base.DESCRIPTOR):
        field = trail[-1]
        name = ".".join(each.name for each in trail)
        for value in _values(field):
            yield Hostile(name, value, _with(base, trail, value))
        if field.type == FieldDescriptor.TYPE_STRING:
            yield Hostile(name, "no UTF-8", _with(base, trail, None) + _wrapped(trail, b"\xff\xfe\xc3("))
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            yield Hostile(name, "no message", _with(base, trail, None) + _wrapped(trail, b"\xff" * 9))
    yield from _raw(base)


def _raw(base: Message) -> Iterator[Hostile]:
    raw = base.SerializeToString()
    yield Hostile("", "cut", raw[:-1] + b"\x0a")
    yield Hostile("", "noise", b"\xff" * 64)
    yield Hostile("", "a length that is not there", b"\x0a\xff\xff\xff\xff\x0f")
    yield Hostile("", "groups in groups", b"\xc3\x3e" * 5_000)
    yield Hostile("", "unknown fields", raw + b"\xc2\x3e\x03abc" * 1_000)


def _trails(descriptor: Descriptor, above: tuple[FieldDescriptor, ...] = ()) -> Iterator[tuple[FieldDescriptor, ...]]:
    """Yield the way to each field: from the request down."""
    for field in descriptor.fields:
        yield (*above, field)
        nested = field.message_type
        if nested is not None and not _is_map(field) and len(above) < DEPTH_MAX - 1:
            yield from _trails(nested, (*above, field))


def _values(field: FieldDescriptor) -> Iterator[Any]:
    """Yield what a field may be spoilt with."""
    if _is_map(field):
        yield from ({text: "v"} for text in TEXTS)
        yield {f"k{n}": "v" for n in range(MANY)}
    elif field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        yield [message_of(field.message_type)] * MANY if field.is_repeated else message_of(field.message_type)
    else:
        one = list(_scalars(field))
        yield from ([value] for value in one) if field.is_repeated else one
        if field.is_repeated:
            yield one[:1] * MANY


def _scalars(field: FieldDescriptor) -> Iterator[Any]:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            yield from TEXTS if field.type == FieldDescriptor.TYPE_STRING else BYTES
        case FieldDescriptor.CPPTYPE_BOOL:
            pass  # both are honest
        case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
            yield from _FLOATS
        case kind:
            yield from _INTEGERS[kind]


def _with(base: Message, trail: tuple[FieldDescriptor, ...], value: Any) -> bytes:
    """Return a request with one field set; None only makes what it lies in."""
    request = message_of(base.DESCRIPTOR)
    request.CopyFrom(base)
    place: Any = request
    for field in trail[:-1]:
        place = getattr(place, field.name)
        if field.is_repeated:
            place = place[0] if len(place) else place.add()
    if value is not None:
        _set(place, trail[-1], value)
    raw: bytes = request.SerializeToString()
    return raw


def _set(place: Any, field: FieldDescriptor, value: Any) -> None:
    if field.is_repeated:
        place.ClearField(field.name)
        target = getattr(place, field.name)
        target.update(value) if _is_map(field) else target.extend(value)
    elif field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        getattr(place, field.name).CopyFrom(value)
    else:
        setattr(place, field.name, value)


def _wrapped(trail: tuple[FieldDescriptor, ...], content: bytes) -> bytes:
    """Return the bytes of a field, within the messages in which it lies: merged into what is there."""
    for field in reversed(trail):
        content = _varint(field.number << 3 | _LENGTH_DELIMITED) + _varint(len(content)) + content
    return content


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _is_map(field: FieldDescriptor) -> bool:
    nested = field.message_type
    return nested is not None and nested.GetOptions().map_entry

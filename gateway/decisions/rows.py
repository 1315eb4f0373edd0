"""Rows of the records: what each is bound to when it is sealed, and what can be read in a document to find it by."""

import zlib
from dataclasses import dataclass
from typing import Any, Final, Self

import orjson

from gateway.errors import StoreError
from gateway.vault.sealing import Place

PACKED_FROM_BYTES: Final = 2_048  # documents from this size on are compressed; below, it gains little
DOCUMENT_BYTES_MAX: Final = 256 * 1024 * 1024  # of one, unpacked
_PLAIN: Final = b"\x00"
_PACKED: Final = b"\x01"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What stands in the clear of a decision. Its sealed answer is bound to all of it."""

    id: str
    at: str
    day: int
    entrypoint: str
    subject: bytes | None
    mission_id: str | None
    bundle: str
    allow: bool
    codes: str  # JSON
    document: str  # digest

    @property
    def place(self) -> Place:
        """What the answer is sealed for."""
        subject = "" if self.subject is None else self.subject.hex()
        said = "yes" if self.allow else "no"
        return (
            *("answer", self.id, self.at, self.entrypoint, subject, self.mission_id or ""),
            *(self.bundle, said, self.codes, self.document),
        )


def document_place(digest: str) -> Place:
    """Return what a document is sealed for."""
    return ("document", digest)


def event_place(decision_id: str) -> Place:
    """Return what an event of the outbox is sealed for."""
    return ("event", decision_id)


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asked and for which mission, as a document says it; nothing where it is none of the gateway's documents."""

    tenant: str | None = None
    subject: str | None = None
    mission_id: str | None = None

    @classmethod
    def of(cls, document: bytes) -> Self:
        """Read a document."""
        try:
            value = orjson.loads(document)  # no half surrogate pairs: what it takes, SQLite takes
        except orjson.JSONDecodeError:
            return cls()
        principal, mission, resource = (_object(value, name) for name in ("principal", "mission", "resource"))
        known = resource if "tenant" in resource else {}  # else a caller has taken it for a mission: it may be anything
        return cls(
            tenant=_text(principal.get("tenant")),
            subject=_text(principal.get("subject")),
            mission_id=_text(mission.get("id")) or _text(known.get("mission_id")),
        )


def pack(document: bytes) -> bytes:
    """Return a document as it is sealed; a large one is compressed."""
    if len(document) < PACKED_FROM_BYTES:
        return _PLAIN + document
    return _PACKED + zlib.compress(document, 1)


def unpack(packed: bytes) -> bytes:
    """Undo `pack`.

    Raises:
        StoreError: `decisions.unreadable`.
    """
    kind, body = packed[:1], packed[1:]
    if kind == _PLAIN:
        return body
    try:
        unpacker = zlib.decompressobj()
        document = unpacker.decompress(body, DOCUMENT_BYTES_MAX) if kind == _PACKED else b""
    except zlib.error as error:
        raise _unreadable() from error
    if kind != _PACKED or not unpacker.eof:
        raise _unreadable()
    return document


def _unreadable() -> StoreError:
    return StoreError("what was sealed is no document", code="decisions.unreadable")


def _object(value: Any, name: str) -> dict[str, Any]:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def _text(value: Any) -> str | None:
    """Return a text that can be looked for."""
    return value if isinstance(value, str) else None

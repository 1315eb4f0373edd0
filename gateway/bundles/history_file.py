"""What history.json says, and its form: one line of JSON, and one with the SHA-256 of the first.

The SHA-256 finds damage, not an attacker: whoever may write the file may write its sum.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, get_args

import orjson

from engine.clock import rfc3339
from gateway.bundles.entry import Entry, Mark, Origin

_VERSION: Final = 1
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_ENTRY_KEYS: Final = frozenset(Entry.__dataclass_fields__)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All that history.json says."""

    entries: tuple[Entry, ...] = ()  # oldest first
    activations: tuple[str, ...] = ()  # digests; the last one is in force, and a rollback takes it off
    pinned: bool = False  # by a person: the source changes nothing
    mark: Mark | None = None

    @property
    def active(self) -> str | None:
        """Digest of what is in force; None before the first start."""
        return self.activations[-1] if self.activations else None

    @property
    def previous(self) -> str | None:
        """Digest of what a rollback would put in force."""
        return self.activations[-2] if len(self.activations) > 1 else None

    def entry(self, digest: str) -> Entry | None:
        """Return the entry of a digest."""
        return next((entry for entry in self.entries if entry.digest == digest), None)


def pack_state(state: State) -> bytes:
    """Return the content of history.json."""
    document = {
        "version": _VERSION,
        "entries": [{**_document(entry), "at": rfc3339(entry.at)} for entry in state.entries],
        "activations": list(state.activations),
        "pinned": state.pinned,
        "mark": None if state.mark is None else {"sequence": state.mark.sequence, "digest": state.mark.digest},
    }
    line = orjson.dumps(document)
    return line + b"\n" + hashlib.sha256(line).hexdigest().encode() + b"\n"


def parse_state(content: bytes) -> State:
    """Return what a history.json says.

    Raises:
        ValueError: it is damaged, or was written by another version; the message says where.
    """
    line, _, rest = content.partition(b"\n")
    if rest != hashlib.sha256(line).hexdigest().encode() + b"\n":
        raise ValueError("its SHA-256 is another one")
    value = json.loads(line)
    _require(isinstance(value, dict) and value.get("version") == _VERSION, "version")
    _require(value.keys() == {"version", "entries", "activations", "pinned", "mark"}, "fields")
    _require(isinstance(value["entries"], list), "entries")
    entries = tuple(_entry(each) for each in value["entries"])
    digests = {entry.digest for entry in entries}
    activations, mark = value["activations"], value["mark"]
    _require(len(digests) == len(entries), "entries")
    _require(isinstance(activations, list) and digests.issuperset(activations), "activations")
    _require(isinstance(value["pinned"], bool), "pinned")
    if mark is not None:
        _require(isinstance(mark, dict) and mark.keys() == {"sequence", "digest"}, "mark")
        _require(type(mark["sequence"]) is int and _is_digest(mark["digest"]), "mark")
        mark = Mark(**mark)
    return State(entries=entries, activations=tuple(activations), pinned=value["pinned"], mark=mark)


def _document(entry: Entry) -> dict[str, Any]:
    return {key: getattr(entry, key) for key in Entry.__dataclass_fields__}


def _entry(value: Any) -> Entry:
    _require(isinstance(value, dict) and value.keys() == _ENTRY_KEYS, "an entry's fields")
    _require(_is_digest(value["digest"]) and _is_digest(value["archive"]), "an entry's digests")
    _require(value["origin"] in get_args(Origin), "an entry's origin")
    _require(all(isinstance(value[key], str) for key in ("revision", "by", "at")), "an entry's texts")
    _require(all(value[key] is None or type(value[key]) is int for key in ("sequence",)), "an entry's sequence")
    _require(value["signed_by"] is None or isinstance(value["signed_by"], str), "an entry's key")
    _require(type(value["archive_bytes"]) is int, "an entry's size")
    at = datetime.fromisoformat(value["at"])
    _require(at.tzinfo is not None, "an entry's time")
    return Entry(**{**value, "at": at})


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"{what}: not as this version writes it")

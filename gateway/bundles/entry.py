"""What is kept of bundles, and what is told of them, as values."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeAlias

from engine.values import JsonValue

GATEWAY: Final = "gateway"  # the actor of what no person has asked for

Origin: TypeAlias = Literal["initial", "source", "published"]
"""How a bundle came here: with the first start, from the configured source later, or by a person's hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A bundle that is kept."""

    digest: str  # sha256:<hex> of what decides
    revision: str
    sequence: int | None
    origin: Origin
    by: str  # the actor who published it; "gateway" for what came from the source
    at: datetime  # aware, UTC
    signed_by: str | None  # id of the key that it was verified with then
    archive: str  # sha256:<hex> of the archive that is kept
    archive_bytes: int

    def facts(self) -> dict[str, JsonValue]:
        """Return what events say of it."""
        return {
            "digest": self.digest,
            "revision": self.revision,
            "sequence": self.sequence,
            "origin": self.origin,
            "signed_by": self.signed_by,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """The newest that was ever in force: what comes from a source by itself may not be older."""

    sequence: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptBundle:
    """An entry and how it stands."""

    entry: Entry
    active: bool
    previous: bool  # what a rollback would put in force


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFailure:
    """Why the source gave nothing that could be used; `message` names no secret."""

    code: str
    message: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleStatus:
    """How bundles stand now."""

    active: Entry
    pinned: bool  # by a person: the source changes nothing
    source: str  # a path, or a URL without its query
    confirmed_at: datetime | None  # when the source last gave what was taken, or said that it has not changed
    age_seconds: float | None  # since then; None: it never has, or nobody knows when
    stale: bool
    failure: SourceFailure | None  # since the source was last confirmed
    mark: Mark | None


def archive_digest(archive: bytes) -> str:
    """Return `sha256:<hex>` of an archive's bytes."""
    return "sha256:" + hashlib.sha256(archive).hexdigest()

"""What the store holds of published hooks, as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewHook:
    """A hook that passed every check and is to be published."""

    name: str
    version: str
    kind: str
    publisher: str
    sha256: str  # of `module`, lower-case hex
    manifest: bytes
    module: bytes
    schema: bytes | None
    signature: bytes
    published_by: str
    tenant: str  # of who publishes


@dataclass(frozen=True, slots=True, kw_only=True)
class HookRecord:
    """A published version, without its files."""

    name: str
    version: str
    kind: str
    publisher: str
    sha256: str
    published_at: datetime
    published_by: str
    tenant: str  # of who published it; "": before there was such a thing


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredHook:
    """A published version with its files."""

    record: HookRecord
    manifest: bytes
    module: bytes
    schema: bytes | None
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class NewActivation:
    """What is to hold for a name from now on; `version` None disables it."""

    name: str
    version: str | None
    order: int
    step_types: tuple[str, ...]
    labels: Mapping[str, str]
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """What held, or holds, for a name."""

    seq: int
    name: str
    version: str | None
    order: int
    step_types: tuple[str, ...]
    labels: Mapping[str, str]
    at: datetime
    by: str
    undone_at: datetime | None  # rolled back then
    undone_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What became of a publication; not `created` where the same was there already."""

    record: HookRecord
    created: bool

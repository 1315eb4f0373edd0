"""Where audit commands read from: a log folder as it stands, or a gateway; one interface, so that both answer alike."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final, Protocol

import orjson
import typer

from engine.audit.export import proof_bytes
from engine.audit.stored import StoredLog
from engine.clock import SystemClock
from engine.errors import EngineError
from gateway.auditing.filters import EventFilter
from gateway.auditing.folder import LogFolder, checkpoint_size
from gateway.cli.options import Connection, calling
from gateway.cli.output import Output, fail, fail_call
from gateway.cli.times import moment_of
from gateway.client import (
    CallError,
    Client,
    Consistency,
    DeniedCallError,
    EventQuery,
    Inclusion,
    LoggedEvent,
    Retrying,
)
from gateway.errors import ConfigurationError, ConflictError, LogPrunedError, NotFoundError
from gateway.folders import AUDIT_FOLDER

POLL_SECONDS: Final = 0.5  # between looks at the checkpoint of a folder that is followed

LogOption = Annotated[
    Path | None, typer.Option("--log", help="A log folder by itself, such as a copy: holds checkpoint and segments/.")
]
MissionChoice = Annotated[str, typer.Option("--mission", help="Only events about this mission.", metavar="ID")]
PrincipalChoice = Annotated[
    str, typer.Option("--principal", help="Only what this pseudonym did; from a gateway also TENANT/SUBJECT.")
]
TypeChoice = Annotated[
    list[str] | None,
    typer.Option("--type", help="Only events of this type, or of all that begin so: step.*. May be repeated."),
]
SinceChoice = Annotated[
    str, typer.Option("--since", help="Not before: 7d, 12h, 30m, or 2026-01-31T12:00:00Z.", metavar="TIME")
]
UntilChoice = Annotated[str, typer.Option("--until", help="Before; as --since.", metavar="TIME")]
DecisionChoice = Annotated[
    str, typer.Option("--decision", help="Only events that say allow, or deny.", metavar="allow|deny")
]
DecisionIdChoice = Annotated[str, typer.Option("--decision-id", help="Only events of this decision.", metavar="ID")]
AllChoice = Annotated[
    bool,
    typer.Option(
        "--all-tenants", help="With --server: the whole log, the gateway's own events included, not one tenant's."
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """What a command was told of where to read, in the order in which it counts."""

    log: Path | None
    gateway: Connection | None
    home: Path


class AuditSource(Protocol):
    """A log that can be read."""

    def events(self, query: EventQuery, told: Callable[[str], None]) -> Iterator[LoggedEvent]:
        """Yield events that match, in the order of the log; `told` hears of what is to be waited for."""

    def checkpoint(self, *, witnessed: bool = False) -> bytes:
        """Return the newest signed note, or the newest that witnesses have cosigned."""

    def keys(self) -> tuple[str, ...]:
        """Return the verifier keys that the source has of itself, the one that signs now first; perhaps none."""

    def rotations(self) -> Mapping[int, bytes]:
        """Return the notes of the key's rotations that may be seen here, by seq."""

    def prove_inclusion(self, event: str, *, witnessed: bool) -> Inclusion:
        """Return an event, named by seq or by id, and its proof."""

    def prove_consistency(self, old_size: int, new_size: int) -> Consistency:
        """Return the proof that the log only grew; `new_size` 0 is that of the newest checkpoint."""


class FolderSource:
    """A log in a folder."""

    def __init__(self, directory: Path, keys: tuple[str, ...] = ()) -> None:
        self._folder = LogFolder(directory)
        self._keys = keys
        self._proofs: StoredLog | None = None

    def events(self, query: EventQuery, told: Callable[[str], None]) -> Iterator[LoggedEvent]:
        """Yield what matches; with follow, look at the folder again and again."""
        wanted = filter_of(query)
        start = self._folder.first if query.after_seq is None else query.after_seq + 1
        left = query.limit
        del told  # a folder does not go away
        proof_size = query.proof_size
        while True:
            stop = proof_size or self._folder.size()
            for seq, line in self._folder.find(wanted, start, stop):
                hashes = self._proofs_of(proof_size).prove_inclusion(seq, proof_size) if proof_size else ()
                yield LoggedEvent(seq, line, hashes)
                left -= 1
                if left == 0:
                    return
            start = max(start, stop)
            if not query.follow:
                return
            time.sleep(POLL_SECONDS)

    def checkpoint(self, *, witnessed: bool = False) -> bytes:
        """Return a signed note of the folder."""
        note = self._folder.note("witnessed" if witnessed else "checkpoint")
        if note is None and witnessed:
            raise ConflictError("no quorum of witnesses has cosigned a checkpoint", code="audit.not_witnessed")
        if note is None:
            self._folder.size()  # says that there is no log
        return note or b""

    def keys(self) -> tuple[str, ...]:
        """Return what the home has."""
        return self._keys

    def rotations(self) -> Mapping[int, bytes]:
        """Return the notes of the folder."""
        return self._folder.rotations()

    def prove_inclusion(self, event: str, *, witnessed: bool) -> Inclusion:
        """Return an event and its proof, from the files."""
        note = self.checkpoint(witnessed=witnessed)
        size = checkpoint_size(note)
        seq = int(event) if is_seq(event) else self._folder.place_of(event, size)
        if seq is None or seq >= size:
            raise NotFoundError(f"no event {event} is under the checkpoint of {size}", code="audit.event_not_found")
        if seq < self._folder.first:
            raise LogPrunedError(self._folder.first)
        hashes, line = self._proofs_of(size).prove_inclusion(seq, size), self._folder.line(seq)
        proof = proof_bytes(seq, hashes, note)
        return Inclusion(event=LoggedEvent(seq, line), size=size, hashes=hashes, checkpoint=note, tlog_proof=proof)

    def prove_consistency(self, old_size: int, new_size: int) -> Consistency:
        """Return a proof, from the files."""
        note = self.checkpoint()
        newest = checkpoint_size(note)
        size = new_size or newest
        if not 0 <= old_size <= size <= newest:
            raise ConfigurationError(f"sizes are from 0 to {newest}, the smaller one first", code="usage.size")
        hashes = self._proofs_of(size).prove_consistency(old_size, size)
        signed = note if size == newest else b""
        return Consistency(old_size=old_size, new_size=size, hashes=hashes, checkpoint=signed)

    def _proofs_of(self, size: int) -> StoredLog:
        """Return what proves events in trees of up to `size`; it is dear to open, so it is kept."""
        if self._proofs is None or self._proofs.size < size:
            self._proofs = self._folder.proofs()
        return self._proofs


class ServerSource:
    """A gateway's log."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._log = client.audit

    def events(self, query: EventQuery, told: Callable[[str], None]) -> Iterator[LoggedEvent]:
        """Yield what the gateway finds, and go on where the stream breaks."""

        def gone(retrying: Retrying) -> None:
            told(f"the gateway has gone; trying again ({retrying.failures} of {retrying.failures_max})")

        return self._client.having(on_retry=gone).audit.events(query)

    def checkpoint(self, *, witnessed: bool = False) -> bytes:
        """Return a signed note of the gateway."""
        found = self._log.checkpoints()
        if witnessed and not found.witnessed:
            raise ConflictError("no quorum of witnesses has cosigned a checkpoint", code="audit.not_witnessed")
        return found.witnessed if witnessed else found.checkpoint

    def keys(self) -> tuple[str, ...]:
        """Return the gateway's keys."""
        return self._log.keys()

    def rotations(self) -> Mapping[int, bytes]:
        """Return what the log says of them, to who may see all of it."""
        query = EventQuery(event_types=("audit.key_rotated",), whole_log=True)
        try:
            events = [orjson.loads(event.line) for event in self._log.events(query)]
        except DeniedCallError:  # one key is enough for who has the newest
            return {}
        return {event["seq"]: str(event["details"].get("statement", "")).encode() for event in events}

    def prove_inclusion(self, event: str, *, witnessed: bool) -> Inclusion:
        """Ask the gateway."""
        if is_seq(event):
            return self._log.prove_inclusion(seq=int(event), witnessed=witnessed)
        return self._log.prove_inclusion(event_id=event, witnessed=witnessed)

    def prove_consistency(self, old_size: int, new_size: int) -> Consistency:
        """Ask the gateway."""
        return self._log.prove_consistency(old_size, new_size)


@contextmanager
def reading(where: Where, output: Output) -> Iterator[AuditSource]:
    """Open what is to be read; whatever goes wrong in the block is printed, and the command left with its exit code."""
    if where.log is None and where.gateway is not None:
        with calling(where.gateway, output) as client:
            yield ServerSource(client)
        return
    try:
        yield _folder_of(where)
    except CallError as error:
        fail_call(error, output)
    except EngineError as error:
        fail(error, output)


def _folder_of(where: Where) -> FolderSource:
    if where.log is not None:
        return FolderSource(where.log)
    key = where.home / "keys" / "log.vkey"
    try:
        keys = (key.read_text().strip(),) if key.is_file() else ()
    except OSError as error:
        raise ConfigurationError(f"{key}: {error.strerror}", code="audit.unreadable") from error
    return FolderSource(where.home / AUDIT_FOLDER, keys)


def query_of(
    *,
    mission: str,
    principal: str,
    types: list[str] | None,
    since: str,
    until: str,
    decision: str,
    decision_id: str,
    whole_log: bool,
) -> EventQuery:
    """Return what the options of a command ask for.

    Raises:
        ConfigurationError: `usage.since`, `usage.until`, `usage.decision`, `usage.filter`.
    """
    if decision not in {"", "allow", "deny"}:
        raise ConfigurationError(f"--decision: {decision!r} is neither allow nor deny", code="usage.decision")
    clock = SystemClock()
    query = EventQuery(
        mission_id=mission,
        principal=principal,
        event_types=tuple(types or ()),
        since=moment_of(since, "since", clock),
        until=moment_of(until, "until", clock),
        allow={"allow": True, "deny": False}.get(decision),
        decision_id=decision_id,
        whole_log=whole_log,
    )
    filter_of(query)
    return query


def filter_of(query: EventQuery) -> EventFilter:
    """Return a query as a folder answers it.

    Raises:
        ConfigurationError: `usage.filter`.
    """
    try:
        return EventFilter(
            mission_id=query.mission_id,
            actor=query.principal,
            event_types=query.event_types,
            since=query.since,
            until=query.until,
            allow=query.allow,
            decision_id=query.decision_id,
        )
    except ValueError as error:
        raise ConfigurationError(str(error), code="usage.filter") from error


def limited(query: EventQuery, *, limit: int, follow: bool, after: int | None = None) -> EventQuery:
    """Return a query with its bounds."""
    return replace(query, limit=limit, follow=follow, after_seq=after)


def is_seq(event: str) -> bool:
    """Return whether an event is named by its seq; an id has 32 hex digits, which may all be decimal."""
    return event.isdecimal() and event.isascii() and len(event) < 20  # noqa: PLR2004 - digits of an int64

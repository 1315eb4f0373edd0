"""What is looked at when metrics are asked for: how it stands with the parts of a gateway, as plain numbers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from engine.constraints.statistics import Statistics


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkersReading:
    """The workers of one pool."""

    workers: str  # whose and what for: "builtin steps", "publisher:acme screens", "policy"
    alive: int
    spare: int
    waiting: int  # calls that no worker has yet
    ended: Mapping[str, int]  # by cause: "crashed", "deadline", "retired", "undelivered"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReading:
    """The log."""

    appended: int  # events
    signed: int  # events under the newest checkpoint
    exported: int | None  # events that every export has delivered; None: there is no export
    witnesses: Mapping[str, int]  # events of the newest checkpoint that each witness or anchor has not; by name


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheReading:
    """The cache of decisions, of the bundle in force."""

    hits: int
    misses: int
    entries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreReading:
    """The store."""

    writes_waiting: int
    reads_waiting: int
    bytes: int  # of the database and its write-ahead log


@dataclass(frozen=True, slots=True, kw_only=True)
class TracesReading:
    """Spans."""

    ended: int
    waiting: int
    dropped: int  # the queue was full
    lost: int  # the collector did not take them


Gauges: TypeAlias = Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """Where each is read. Every one is called on the event loop, and waits for nothing."""

    version: str
    missions: Callable[[], Gauges]  # that are here now, by state: "running", "waiting"
    step_places: Callable[[], tuple[int, int]]  # held, of all
    workers: Callable[[], Sequence[WorkersReading]]
    audit: Callable[[], AuditReading]
    cache: Callable[[], CacheReading]
    store: Callable[[], StoreReading]
    observers: Callable[[], Gauges]  # runs of observers, by what came of them
    statistics: Statistics  # of constraints, by rule
    serving: Callable[[], Mapping[str, bool]] = field(default=dict)  # by component
    refused: Callable[[], Gauges] = field(default=dict)  # callers whom nobody knows, by what they failed at
    limited: Callable[[], Gauges] = field(default=dict)  # what limits have refused, by limit
    shedding: Callable[[], int] = field(default=lambda: 0)  # 0: nothing; 1: new work; 2: reads as well
    wait_seconds: Callable[[], float] = field(default=lambda: 0.0)  # of calls on their way
    certificate_ends: Callable[[], float | None] = field(default=lambda: None)  # Unix seconds; None: there is no TLS
    traces: Callable[[], TracesReading | None] = field(default=lambda: None)

"""The next events for a sink, read from the log in one go: in order, chained to what went before, and bounded."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from gateway.exporting.cursors import Cursor
from gateway.exporting.log_port import ReadableLog
from gateway.exporting.ocsf import Projector
from gateway.exporting.type_filter import TypeFilter

BYTES_MAX: Final = 1024 * 1024  # of one batch, before it is compressed; one event may be larger
LINES_MAX: Final = 10_000  # looked at for one batch, whether the filter takes them or not


class BrokenChainError(Exception):
    """What follows in the log does not follow from what was delivered."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Events as the sink gets them, and where its cursor stands once it has them."""

    events: tuple[bytes, ...]
    seqs: tuple[int, ...]  # of the events
    cursor: Cursor


def read_batch(
    log: ReadableLog, start: int, before: str | None, wanted: TypeFilter, projector: Projector, *, events_max: int
) -> Batch | None:
    """Return the next batch from seq `start`, or None where no covered line is there. Blocks on the disk.

    Args:
        log: is read.
        start: the first seq to look at.
        before: `hash` of the line before it, where that is known.
        wanted: takes or leaves an event.
        projector: makes of it what the sink gets.
        events_max: events of the batch.

    Raises:
        BrokenChainError: a line is not the one that follows.
    """
    events: list[bytes] = []
    seqs: list[int] = []
    size, cursor, expected = 0, None, start
    for line in log.read(start, LINES_MAX):
        event: Mapping[str, Any] = orjson.loads(line)
        if event["seq"] != expected or before not in {None, event["previous_hash"]}:
            raise BrokenChainError(f"event {expected} does not follow the one before it")
        if wanted.takes(event["event_type"]):
            told = orjson.dumps(projector.project(event, line))
            if events and (len(events) >= events_max or size + len(told) > BYTES_MAX):
                break
            events.append(told)
            seqs.append(expected)
            size += len(told)
        before, expected = event["hash"], expected + 1
        cursor = Cursor(event["seq"], event["hash"])
    return None if cursor is None else Batch(tuple(events), tuple(seqs), cursor)

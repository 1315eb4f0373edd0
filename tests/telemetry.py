"""Telemetry for tests: a clock that is moved by hand, readings of nothing, and what a log was told."""

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from engine.constraints.statistics import Statistics
from gateway.telemetry.logs import Logs
from gateway.telemetry.readings import AuditReading, CacheReading, Readings, StoreReading, WorkersReading

START = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


class HandClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


class Counting:
    """Random bytes that are none, but numbers, one after the other."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def __call__(self, size: int) -> bytes:
        return next(self._numbers).to_bytes(size)


def readings(**changes: Any) -> Readings:
    """Return readings of a gateway that has one of everything."""
    statistics = Statistics()
    rule = statistics.of("http@1.0.0")
    rule.ran(1_500, 700, 65_536)
    rule.violations["constraint.cpu_exceeded"] = 2
    fields: dict[str, Any] = {
        "version": "0.1.0",
        "missions": lambda: {"running": 3, "waiting": 1, "paused": 0},
        "step_places": lambda: (2, 2_048),
        "workers": lambda: [
            WorkersReading(workers="builtin steps", alive=2, spare=1, waiting=4, ended={"crashed": 5, "retired": 1})
        ],
        "audit": lambda: AuditReading(appended=120, signed=100, exported=90, witnesses={"w": 7}),
        "cache": lambda: CacheReading(hits=9, misses=1, entries=1),
        "store": lambda: StoreReading(writes_waiting=1, reads_waiting=2, bytes=4_096),
        "observers": lambda: {"ended": 6, "dropped": 1},
        "statistics": statistics,
        "refused": lambda: {"missing": 4, "jwt_expired": 1},
        "limited": lambda: {"principal.reads_per_second": 3, "shedding.wait_ms_max": 2},
        "shedding": lambda: 1,
        "wait_seconds": lambda: 0.25,
        "certificate_ends": lambda: 1_800_000_000.0,
        "serving": lambda: {"gateway": True, "audit": False},
        **changes,
    }
    return Readings(**fields)


@contextmanager
def logged(level: str = "debug", clock: HandClock | None = None) -> Iterator[list[dict[str, Any]]]:
    """Collect what this process logs meanwhile, as JSON; the lines are there once the block has ended."""
    stream, lines = io.StringIO(), []
    before = logging.root.manager.disable
    logging.disable(logging.NOTSET)  # whatever an earlier test of this process has left
    logs = Logs(clock or HandClock(), level, "json", stream)  # type: ignore[arg-type]
    try:
        yield lines
    finally:
        logs.close()
        logging.disable(before)
        lines += [json.loads(line) for line in stream.getvalue().splitlines()]


def quiet(name: str) -> logging.Logger:
    """Return a logger of the gateway's."""
    return logging.getLogger(f"gateway.{name}")

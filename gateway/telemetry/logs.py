"""The gateway's log of itself: a line of JSON for each message on stderr, and nothing in it that is a client's.

What a message says stands in its template, which is a programmer's. Of what is put into it only values of a known form
are shown (`gateway.telemetry.said`); fields beside it have to be on a list, and an error is its class, its code and
where it was raised, never its text. So whatever a guest, a client or a far end writes, it is in no line.
"""

import logging
import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, Literal, TextIO

import orjson
import structlog

from engine.clock import Clock, rfc3339
from gateway.telemetry.said import about_error, fields_of, text_of
from gateway.watch import MISSION_ID, POSITION

Level = Literal["debug", "info", "warning", "error", "critical"]
Form = Literal["auto", "json", "console"]

REPEATS_MAX: Final = 20  # of one message in a window
WINDOW_SECONDS: Final = 60.0
_MESSAGES_MAX: Final = 512  # different ones that are counted; one that is forgotten begins anew
_SUPPRESSED: Final = "suppressed"  # of a message: how many like it there were since the last


class Lines(logging.Formatter):
    """Makes a line of a record."""

    def __init__(self, clock: Clock, *, console: bool) -> None:
        """Prepare; `console` is for people, who see colours."""
        super().__init__()
        self._clock = clock
        self._render: Callable[[Any, str, Any], str | bytes] = (
            structlog.dev.ConsoleRenderer(pad_event_to=0, timestamp_key="time")
            if console
            else structlog.processors.JSONRenderer(serializer=lambda value, **_: orjson.dumps(value).decode())
        )

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        level = record.levelname.lower()
        event: dict[str, Any] = {
            "time": rfc3339(self._clock.now()),
            "level": level,
            "logger": record.name,
            "event": text_of(record),
        }
        if mission_id := MISSION_ID.get():
            event["mission_id"] = mission_id
        if (position := POSITION.get()) is not None:
            event["trace_id"], event["span_id"] = position.trace_id.hex(), position.span_id.hex()
        event |= fields_of(record)
        if record.exc_info is not None and record.exc_info[1] is not None:
            event["error"] = about_error(record.exc_info[1])
        rendered = self._render(None, level, event)
        return rendered if isinstance(rendered, str) else rendered.decode()


class Repeats(logging.Filter):
    """Lets so many of one message pass in a window, and counts the others, which the next one tells of."""

    def __init__(self, clock: Clock, *, count_max: int = REPEATS_MAX, window_seconds: float = WINDOW_SECONDS) -> None:
        super().__init__()
        self._now = clock.monotonic
        self._count_max = count_max
        self._window_seconds = window_seconds
        self._seen: OrderedDict[tuple[str, int, str], list[float]] = OrderedDict()  # [begin, shown, suppressed]

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is shown. The handler holds its lock."""
        key, now = (record.name, record.levelno, str(record.msg)), self._now()
        seen = self._seen.get(key)
        if seen is None:
            if len(self._seen) >= _MESSAGES_MAX:
                self._seen.popitem(last=False)
            seen = self._seen[key] = [now, 0, 0]
        elif now - seen[0] >= self._window_seconds:
            seen[0], seen[1] = now, 0
        self._seen.move_to_end(key)
        if seen[1] >= self._count_max:
            seen[2] += 1
            return False
        seen[1] += 1
        if seen[2]:
            setattr(record, _SUPPRESSED, int(seen[2]))
            seen[2] = 0
        return True


class Logs:
    """Where the messages of a process go. One of them at a time; `close` takes it away again."""

    def __init__(self, clock: Clock, level: Level, form: Form, stream: TextIO | None = None) -> None:
        """Send everything that this process logs to `stream`, which is stderr where none is given."""
        stream = sys.stderr if stream is None else stream
        console = form == "console" or (form == "auto" and stream.isatty())
        self._handler = logging.StreamHandler(stream)
        self._handler.setFormatter(Lines(clock, console=console))
        self._handler.addFilter(_Whole(Repeats(clock)))
        self._root = logging.getLogger()
        self._before = self._root.level
        self._root.addHandler(self._handler)
        self.adopt(level)

    @staticmethod
    def adopt(level: Level) -> None:
        """From now on show messages from this level on, wherever they go."""
        logging.getLogger().setLevel(level.upper())

    def close(self) -> None:
        """Leave logging as it was."""
        self._root.removeHandler(self._handler)
        self._root.setLevel(self._before)


class _Whole(logging.Filter):
    """Bounds repetitions, but of what an operator must not miss: critical messages are few, and all shown."""

    def __init__(self, repeats: Repeats) -> None:
        super().__init__()
        self._repeats = repeats

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.CRITICAL or self._repeats.filter(record)

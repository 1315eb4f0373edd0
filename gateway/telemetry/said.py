"""What of a log record may be shown: its template, values of a known form, fields on a list, no text of an error."""

import logging
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import PurePath
from types import TracebackType
from typing import Any, Final

from engine.errors import EngineError

ELIDED: Final = "…"
FIELDS: Final = frozenset(
    {
        "anchor",
        "bundle",
        "cause",
        "code",
        "component",
        "count",
        "export",
        "first",
        "hook",
        "key",  # of the configuration
        "last",
        "method",
        "mission_id",
        "pid",
        "reference",
        "seconds",
        "section",
        "state",
        "suppressed",
        "witness",
        "worker",
    }
)
"""Names of fields that a message may have; their values are shown as those in a template are."""

_OWN: Final = ("gateway", "engine", "py")  # roots of loggers whose templates are a programmer's of this repository
_FIRST_LINE_OF: Final = "asyncio"  # writes its texts itself: the first line is fixed, what follows are values
_CHARS_MAX: Final = 300
_CAUSES_MAX: Final = 4
_FRAMES_MAX: Final = 12  # the innermost
_PLACEHOLDER: Final = re.compile(r"%(?:\.\d+)?[sdrfgi]|%%")

# Forms that no payload has by accident: a stable code, a mission's id, a digest with its name, a reference of
# gateway.rpc.errors, the entry of a worker, a method. Nothing else is shown, whatever it is.
_KNOWN: Final = re.compile(
    r"[a-z][a-z0-9_]{0,63}(?:\.[a-z][a-z0-9_]{0,63}){1,4}(?::[a-z_]{1,64})?"
    r"|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"|sha256:[0-9a-f]{64}"
    r"|[0-9a-f]{16}"
    r"|/?(?:gateway\.v1|grpc\.[a-z0-9.]{1,40})\.[A-Za-z]{1,64}/[A-Za-z]{1,64}",
    re.ASCII,
)
# What is only shown as a field of its name: words, names of the configuration, of hooks.
_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@:/-]{0,127}", re.ASCII)


def text_of(record: logging.LogRecord) -> str:
    """Return what a record says: the template, filled with what may be shown.

    Of a library's message only the template is shown, since nobody here knows what else is in it.
    """
    template = record.msg if isinstance(record.msg, str) else ELIDED
    root = record.name.partition(".")[0]
    if root not in _OWN:
        template = template.partition("\n")[0] if record.args or root == _FIRST_LINE_OF else ELIDED
        return _PLACEHOLDER.sub(ELIDED, template)[:_CHARS_MAX]
    values = record.args if isinstance(record.args, tuple) else ()
    remaining = iter(values)
    return _PLACEHOLDER.sub(lambda found: _filled(found[0], remaining), template)[:_CHARS_MAX]


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields of a record that are on the list, with what may be shown of their values."""
    given = vars(record)
    return {name: _field(given[name]) for name in sorted(FIELDS & given.keys())}


def about_error(error: BaseException) -> list[dict[str, Any]]:
    """Return what an error was, the one that was raised first at the end; of each the innermost frames."""
    told: list[dict[str, Any]] = []
    following: BaseException | None = error
    while following is not None and len(told) < _CAUSES_MAX:
        entry: dict[str, Any] = {"type": type(following).__name__}
        if isinstance(following, EngineError):
            entry["code"] = following.code
        elif isinstance(following, OSError) and following.errno is not None:
            entry["errno"] = following.errno
        entry["at"] = _frames(following.__traceback__)
        told.append(entry)
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)
    return told


def _filled(placeholder: str, values: Iterator[object]) -> str:
    """Return what stands in place of a placeholder."""
    if placeholder == "%%":
        return "%"
    return str(_shown(next(values, ELIDED)))


def _shown(value: object) -> str | int | float | bool | None:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, EngineError):
        return value.code
    if isinstance(value, BaseException):
        return type(value).__name__
    return value if isinstance(value, str) and _KNOWN.fullmatch(value) else ELIDED


def _field(value: object) -> str | int | float | bool | None:
    """Return the value of a field, whose name says that words are meant."""
    shown = _shown(value)
    return value if shown == ELIDED and isinstance(value, str) and _WORD.fullmatch(value) else shown


def _frames(traceback: TracebackType | None) -> list[str]:
    """Return where it was raised, innermost last: files of this program, lines and functions."""
    frames: list[str] = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        path = PurePath(code.co_filename)
        frames.append(f"{'/'.join(path.parts[-2:])}:{traceback.tb_lineno} {code.co_name}")
        traceback = traceback.tb_next
    return frames[-_FRAMES_MAX:]

"""Where a handle may stand: in the values of header fields and in the body of http.request, and nowhere else.

A text that looks like a handle and stands anywhere else refuses the effect, whoever made it: a path, a URL, a name or
a file that held one would carry what cannot be masked, or show that somebody tries. What does not look like one, such
as a handle in two halves or in another encoding, is no handle: nothing is put in its place.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

import orjson

from engine.errors import Violation
from engine.values import JsonObject, JsonValue
from gateway.errors import SanitizationError
from gateway.vault.names import HANDLE, HANDLE_PREFIX

Handles = Mapping[str, str]  # handle → name of the secret
Path = tuple[str, ...]

_PREFIX: Final = HANDLE_PREFIX.encode()
_REQUEST: Final = "http.request"
_HEADER_DEPTH: Final = 2
_MISPLACED: Final = "a handle of a secret can only stand in the value of a header field or in the body of a request"
_FOREIGN: Final = "this is no handle of a secret that this attempt of this step has been given"


class BodyForm(Enum):
    """How a value is written into a body, so that it stays what the body says it is."""

    RAW = auto()
    JSON = auto()  # escaped, within a string
    FORM = auto()  # percent-encoded


@dataclass(frozen=True, slots=True)
class _Found:
    path: Path
    is_key: bool
    handle: str


def used_secrets(op: str, args: JsonObject, handles: Handles, *, field: str) -> tuple[str, ...]:
    """Return the names of the secrets whose handles stand in the arguments of an effect, sorted.

    Raises:
        SanitizationError: `effect.secret_misplaced`, `effect.secret_foreign`.
    """
    if _PREFIX not in orjson.dumps(args).lower():  # one pass in C; most effects hold none
        return ()
    names: set[str] = set()
    for found in _walk(args, ()):
        place = ".".join((field, *found.path))
        if found.is_key or not _may_hold(op, found.path):
            raise _refused("effect.secret_misplaced", _MISPLACED, place)
        if found.handle not in handles:
            raise _refused("effect.secret_foreign", _FOREIGN, place)
        names.add(handles[found.handle])
    body = args.get("body")
    if op == _REQUEST and isinstance(body, str) and HANDLE.search(body):
        _check_body(body, args.get("headers"), f"{field}.body")
    return tuple(sorted(names))


def body_form(body: str, headers: JsonValue) -> BodyForm:
    """Return what a body is: by its media type, and as JSON where it has none and is."""
    media_type = ""
    if isinstance(headers, Mapping):
        for name, value in headers.items():
            if name.lower() == "content-type" and isinstance(value, str):
                media_type = value.partition(";")[0].strip().lower()
    if media_type == "application/x-www-form-urlencoded":
        return BodyForm.FORM
    if media_type == "application/json" or media_type.endswith("+json"):
        return BodyForm.JSON
    return BodyForm.JSON if _parsed(body) is not None else BodyForm.RAW


def _check_body(body: str, headers: JsonValue, field: str) -> None:
    """Refuse a handle in a body that says it is JSON, where it stands in a name, or outside of a string."""
    if body_form(body, headers) is not BodyForm.JSON:
        return
    parsed = _parsed(body)
    if parsed is None or any(found.is_key for found in _walk(parsed[0], ())):
        raise _refused("effect.secret_misplaced", _MISPLACED, field)


def _parsed(body: str) -> tuple[JsonValue] | None:
    """Return the JSON value that a body is. Names that stand twice are kept by nobody, so such a body is none."""
    try:
        return (json.loads(body, object_pairs_hook=_members),)
    except (ValueError, RecursionError):
        return None


def _members(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a name stands there twice")
    return members


def _may_hold(op: str, path: Path) -> bool:
    if op != _REQUEST:
        return False
    return path == ("body",) or (len(path) == _HEADER_DEPTH and path[0] == "headers")


def _walk(value: JsonValue, path: Path) -> Iterator[_Found]:
    """Yield what looks like a handle, in texts and in names; the depth is that of a document, which is bounded."""
    if isinstance(value, str):
        for match in HANDLE.finditer(value):
            yield _Found(path, False, match.group())
    elif isinstance(value, Mapping):
        for key, item in value.items():
            for match in HANDLE.finditer(key):
                yield _Found(path, True, match.group())
            yield from _walk(item, (*path, key))
    elif isinstance(value, list | tuple):
        for at, item in enumerate(value):
            yield from _walk(item, (*path, str(at)))


def _refused(code: str, message: str, field: str) -> SanitizationError:
    return SanitizationError([Violation(code=code, message=message, field=HANDLE.sub("…", field))])

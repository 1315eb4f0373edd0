"""Paths of files, relative to the mission's workspace, with `/` between segments.

The kernel is the boundary (`openat2` with RESOLVE_BENEATH, in the file effect); this is the early answer, and it
also refuses what only a lenient consumer further on would take for a traversal.
"""

import re
import unicodedata
from typing import Final

from gateway.sanitizer.characters import SUSPECTS, scan
from gateway.sanitizer.finding import Finding
from gateway.sanitizer.percent import ROUNDS_MAX, decode_once

PATH_BYTES_MAX: Final = 4_095  # PATH_MAX without its NUL
SEGMENT_BYTES_MAX: Final = 255  # NAME_MAX

_EMPTY: Final = Finding("empty", "is empty; name a file of the workspace")
_TOO_LONG: Final = Finding("too_long", f"is longer than {PATH_BYTES_MAX} bytes")
_LONG_SEGMENT: Final = Finding("segment_too_long", f"has a segment longer than {SEGMENT_BYTES_MAX} bytes")
_ABSOLUTE: Final = Finding("absolute", "is absolute; paths are relative to the workspace")
_DRIVE: Final = Finding("drive", "begins with a drive letter; paths are relative to the workspace")
_BACKSLASH: Final = Finding("backslash", "holds a backslash; segments are separated by /")
_TRAVERSAL: Final = Finding("traversal", "has a .. segment; a path may not leave the workspace")
_EMPTY_SEGMENT: Final = Finding(
    "empty_segment", "has an empty segment; write one / between segments and none at the end"
)
_SPACE: Final = Finding("space", "has a segment that begins or ends with white space; remove it")
_CONTROL: Final = Finding("control", "holds a control character or line separator")
_ENCODING: Final = Finding("encoding", "percent-decodes to bytes that are no UTF-8")
_DEPTH: Final = Finding("encoding_depth", f"is percent-encoded more than {ROUNDS_MAX} times over")
_SURROGATE: Final = Finding(
    "surrogate", "holds half of a surrogate pair, which is no character; send well-formed Unicode"
)

# What a reader sees: nothing of what is invisible, also where text may hold it (an emoji's selector, a byte order
# mark), and a slash in what looks like one, beyond what NFKC folds to it. Some converters write both the same way.
_AS_SEEN: Final = str.maketrans(
    {**dict.fromkeys(SUSPECTS, ""), **dict.fromkeys("\u2044\u2215\u2216\u29f5\u29f8\u29f9", "/")}
)
_DRIVE_LETTER: Final = re.compile(r"[A-Za-z]:")
_LINE: Final = re.compile(r"[\t\n\r\u2028\u2029]")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,126}(?:/[A-Za-z0-9_-][A-Za-z0-9._-]{0,126}){0,15}")


def check_path(value: str) -> Finding | None:
    """Return the rule that `value`, or anything that it decodes or normalises to, breaks; or None."""
    if _PLAIN.fullmatch(value):
        return None
    if not value:
        return _EMPTY
    try:
        data = value.encode()
    except UnicodeEncodeError:
        return _SURROGATE
    if len(data) > PATH_BYTES_MAX:
        return _TOO_LONG
    # Also what keeps NFKC cheap: it is quadratic in a run of combining marks.
    if any(len(segment) > SEGMENT_BYTES_MAX for segment in data.split(b"/")):
        return _LONG_SEGMENT
    return _check_decodings(value)


def _check_decodings(value: str) -> Finding | None:
    """Check the path as written, and each form that percent-decoding and NFKC make of it, until it is stable."""
    form = value
    for _ in range(ROUNDS_MAX + 1):
        if finding := _check_form(form):
            return finding
        folded = unicodedata.normalize("NFKC", form)
        try:
            decoded = decode_once(folded.encode()).decode()
        except UnicodeError:
            return _ENCODING
        if decoded == form:
            return None
        form = decoded
    return _DEPTH


def _check_form(form: str) -> Finding | None:
    """Check one decoding of the path."""
    if finding := scan(form):
        return finding
    if _LINE.search(form):
        return _CONTROL
    folded = unicodedata.normalize("NFKC", form)
    if "\\" in folded:
        return _BACKSLASH
    seen = folded.translate(_AS_SEEN)
    if _DRIVE_LETTER.match(seen):
        return _DRIVE
    return _check_segments(seen.split("/"))


def _check_segments(segments: list[str]) -> Finding | None:
    if not segments[0]:
        return _ABSOLUTE
    for segment in segments:
        if not segment:
            return _EMPTY_SEGMENT
        if segment != segment.strip():
            return _SPACE
        if segment == "..":
            return _TRAVERSAL
    return None

"""Names of things: unambiguous to the eye, the same after normalisation, and no path.

Letters, digits and marks of one script, `_` and `-`, with single dots between them; of a script's characters those
that IDNA 2008 lets into a name (PVALID, RFC 5892), upper case added.
"""

import re
import unicodedata
from typing import Final

from idna import idnadata
from idna.intranges import intranges_contain

from gateway.sanitizer.characters import scan
from gateway.sanitizer.finding import Finding
from gateway.sanitizer.scripts import is_single_script, scripts_of

IDENTIFIER_CHARS_MAX: Final = 256
MARKS_MAX: Final = 4  # in a row; UTS #39, 5.4

_EMPTY: Final = Finding("empty", "is empty")
_TOO_LONG: Final = Finding("too_long", f"is longer than {IDENTIFIER_CHARS_MAX} characters")
_CHARACTERS: Final = Finding(
    "characters", "is no name: letters, digits, _ and -, single dots between them, no - or . at the start"
)
_UNSTABLE: Final = Finding("normalization", "changes under NFKC; write the plain form of its characters")
_MIXED: Final = Finding("mixed_script", "mixes scripts; write it in one")
_MARKS: Final = Finding("marks", f"has more than {MARKS_MAX} combining marks in a row")

_ASCII_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*")
_PVALID: Final = idnadata.codepoint_classes["PVALID"]
_CASED_SCRIPTS: Final = frozenset({"LATIN", "GREEK", "CYRILLIC"})


def check_identifier(value: str) -> Finding | None:
    """Return the rule that `value` breaks, or None."""
    if not value:
        return _EMPTY
    if len(value) > IDENTIFIER_CHARS_MAX:
        return _TOO_LONG
    if value.isascii():
        return None if _ASCII_NAME.fullmatch(value) else _CHARACTERS
    if finding := scan(value):
        return finding
    if not unicodedata.is_normalized("NFKC", value):
        return _UNSTABLE
    return _check_unicode(value)


def _check_unicode(value: str) -> Finding | None:
    # The places of dots and hyphens are those of the ASCII grammar.
    if not _ASCII_NAME.fullmatch("".join(c if c.isascii() else "x" for c in value)):
        return _CHARACTERS
    if unicodedata.category(value[0])[0] == "M" or not all(map(_is_name_character, value)):
        return _CHARACTERS
    if not is_single_script(value):
        return _MIXED
    return _MARKS if _has_long_run_of_marks(value) else None


def _is_name_character(char: str) -> bool:
    if char.isascii():
        return True  # the grammar has passed it
    if not all(intranges_contain(ord(c), _PVALID) for c in char.lower()):
        return False
    if not scripts_of(char) & _CASED_SCRIPTS or unicodedata.category(char)[0] != "L":
        return True
    # Phonetic letters look like others ("small capital a"): in these scripts a letter of a name has a case.
    return char.upper() != char.lower() and "SMALL CAPITAL" not in unicodedata.name(char)


def _has_long_run_of_marks(value: str) -> bool:
    run = 0
    for char in value:
        run = run + 1 if unicodedata.category(char)[0] == "M" else 0
        if run > MARKS_MAX:
            return True
    return False

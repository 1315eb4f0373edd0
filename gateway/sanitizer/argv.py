"""One token of an argument vector, for an exec without a shell.

The grammar is what `shlex.quote` leaves alone, less `%`: a token that every POSIX shell, were one to see it by
mistake, reads as one literal word, and that nothing percent-decodes or expands (`%PATH%`). Options (`-x`), response
files (`@file`) and assignments (`a=b`) are tokens too: which of them a command takes is the allow-list's to say.
"""

import re
from typing import Final

from gateway.sanitizer.finding import Finding

ARGV_CHARS_MAX: Final = 4_096

_EMPTY: Final = Finding("empty", "is empty; leave the argument out")
_TOO_LONG: Final = Finding("too_long", f"is longer than {ARGV_CHARS_MAX} characters")
_CHARACTERS: Final = Finding("characters", "holds a character outside A-Z a-z 0-9 _ - . / : = @ , +")
_TOKEN: Final = re.compile(r"[A-Za-z0-9_\-./:=@,+]+")


def check_argv(value: str) -> Finding | None:
    """Return the rule that `value` breaks, or None."""
    if not value:
        return _EMPTY
    if len(value) > ARGV_CHARS_MAX:
        return _TOO_LONG
    return None if _TOKEN.fullmatch(value) else _CHARACTERS

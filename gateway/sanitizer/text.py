"""Free text: any language, any markup, any code; only what a reader cannot see or trust is refused.

A payload for some other interpreter (SQL, a template, XML) is ordinary text here: what interprets it guards itself.
"""

from typing import Final

from gateway.sanitizer.characters import scan
from gateway.sanitizer.finding import Finding

TEXT_CHARS_MAX: Final = 1024 * 1024

_TOO_LONG: Final = Finding("too_long", f"is longer than {TEXT_CHARS_MAX} characters; send it in parts")


def check_text(value: str) -> Finding | None:
    """Return the rule that `value` breaks, or None."""
    return _TOO_LONG if len(value) > TEXT_CHARS_MAX else scan(value)

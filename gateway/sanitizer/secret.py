"""A secret: only ever a reference to one, so that no value is written into a mission, a log or a guest's memory."""

import re
from typing import Final

from gateway.sanitizer.finding import Finding

_LITERAL: Final = Finding("literal", "must be exactly ${secrets.NAME}: secrets are referred to, never written out")
# Before it is resolved, and the handle that stands there from then on. Whose handle it is, is asked at the effect.
_REFERENCE: Final = re.compile(r"\$\{secrets\.[A-Za-z_][A-Za-z0-9_]{0,63}\}|mgsecret_[0-9a-f]{64}")


def check_secret(value: str) -> Finding | None:
    """Return the rule that `value` breaks, or None."""
    return None if _REFERENCE.fullmatch(value) else _LITERAL

"""Digests of values that nobody has vouched for yet: what cannot be written as JSON has none, and equals nothing."""

from gateway import events

NO_DIGEST = "no JSON"


def digest(value: object) -> str:
    """Return what the log would have for a value; NO_DIGEST for one that it could not have."""
    try:
        return events.digest(value)
    except (TypeError, ValueError):  # orjson's: nested over 254 levels, a lone surrogate
        return NO_DIGEST

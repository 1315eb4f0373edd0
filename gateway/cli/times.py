"""Times as people give them on the command line."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from engine.clock import Clock
from gateway.errors import ConfigurationError

_AGO: Final = re.compile(r"([1-9][0-9]{0,4})([mhd])")
_UNITS: Final[Mapping[str, str]] = {"m": "minutes", "h": "hours", "d": "days"}


def moment_of(text: str, option: str, clock: Clock) -> datetime | None:
    """Return the time that is meant, in UTC; None for an empty text. Without a zone it is UTC.

    Raises:
        ConfigurationError: `usage.since`, `usage.until`, as the option is called.
    """
    if not text:
        return None
    try:
        if ago := _AGO.fullmatch(text):
            return clock.now() - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        moment = datetime.fromisoformat(text)
        return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        message = f"--{option}: {text!r} is neither a time such as 2026-01-31T12:00:00Z, nor 7d, 12h or 30m"
        raise ConfigurationError(message, code=f"usage.{option}") from error

"""Which events are wanted, as a value that an index and a scan both answer."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from engine.values import JsonObject, JsonValue
from gateway.auditing.facts import Facts

TYPES_MAX: Final = 64
TEXT_CHARS_MAX: Final = 512  # of an id or a name that is looked for
ALL_BELOW: Final = ".*"
_PATTERN: Final = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*(?:\.\*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """What an event has to be, all of it; what is left out holds of every event.

    Raises:
        ValueError: a value can be of no event; the text names the field first.
    """

    mission_id: str = ""
    actor: str = ""  # exactly as events name it
    event_types: tuple[str, ...] = ()  # `step.allowed`, or `step.*`; any of them
    since: datetime | None = None  # not before; of any zone
    until: datetime | None = None  # before
    allow: bool | None = None
    decision_id: str = ""

    def __post_init__(self) -> None:
        for name in ("mission_id", "actor", "decision_id"):
            if len(getattr(self, name)) > TEXT_CHARS_MAX:
                raise ValueError(f"{name}: must be at most {TEXT_CHARS_MAX} characters")
        if len(self.event_types) > TYPES_MAX:
            raise ValueError(f"event_types: must be at most {TYPES_MAX}")
        for pattern in self.event_types:
            if _PATTERN.fullmatch(pattern) is None:
                raise ValueError(
                    f"event_types: {pattern[:64]!r} is no event type, and no `step.*` for all that begin so"
                )

    def matches(self, facts: Facts) -> bool:
        """Return whether an event is wanted."""
        return (
            (not self.mission_id or self.mission_id in facts.missions)
            and (not self.actor or self.actor == facts.actor)
            and (not self.event_types or self.takes_type(facts.event_type))
            and (self.since is None or facts.timestamp >= timestamp_text(self.since))
            and (self.until is None or facts.timestamp < timestamp_text(self.until))
            and (self.allow is None or self.allow is facts.allow)
            and (not self.decision_id or self.decision_id == facts.decision_id)
        )

    def takes_type(self, event_type: str) -> bool:
        """Return whether an event may be of this type."""
        return any(
            event_type.startswith(pattern[:-1]) if pattern.endswith(ALL_BELOW) else event_type == pattern
            for pattern in self.event_types
        )

    def document(self) -> JsonObject:
        """Return what is asked, as JSON, without what is left out."""
        out: dict[str, JsonValue] = {}
        for name in ("mission_id", "actor", "decision_id"):
            if text := getattr(self, name):
                out[name] = text
        if self.event_types:
            out["event_types"] = list(self.event_types)
        if self.since is not None:
            out["since"] = timestamp_text(self.since)
        if self.until is not None:
            out["until"] = timestamp_text(self.until)
        if self.allow is not None:
            out["decision"] = "allow" if self.allow else "deny"
        return out


def timestamp_text(moment: datetime) -> str:
    """Return a moment as lines spell it, so that texts compare as times do; without a zone it is UTC."""
    utc = moment.astimezone(UTC) if moment.tzinfo is not None else moment
    return utc.strftime("%Y-%m-%dT%H:%M:%S.%f").rjust(26, "0") + "Z"  # rjust: glibc writes the year 999 in three digits

"""The part of OCSF that audit events are projected to: classes, activities and the captions of their numbers.

Source: github.com/ocsf/ocsf-schema, version 1.8.0. tests/vectors/ocsf has the schema that tests hold this to.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

VERSION: Final = "1.8.0"
OTHER: Final = 99  # of every enumeration: the caption beside it says what


class _Captioned(IntEnum):
    """A number of OCSF's, whose member is named as the schema captions it."""

    @property
    def caption(self) -> str:
        """What stands beside the number."""
        return self.name.capitalize()


class Severity(_Captioned):
    """`severity_id`."""

    INFORMATIONAL = 1
    LOW = 2
    MEDIUM = 3
    HIGH = 4
    CRITICAL = 5


class Status(_Captioned):
    """`status_id`; of what is neither done nor failed yet, the caption is ours."""

    SUCCESS = 1
    FAILURE = 2
    PENDING = OTHER


class Action(_Captioned):
    """`action_id` of the profile `security_control`, with the `disposition_id` that it comes with."""

    ALLOWED = 1
    DENIED = 2
    OBSERVED = 3
    MODIFIED = 4

    @property
    def disposition(self) -> tuple[int, str]:
        """`disposition_id` and `disposition`."""
        return _DISPOSITIONS[self]


_DISPOSITIONS: Final[Mapping[Action, tuple[int, str]]] = {
    Action.ALLOWED: (1, "Allowed"),
    Action.DENIED: (2, "Blocked"),
    Action.OBSERVED: (15, "Detected"),
    Action.MODIFIED: (11, "Corrected"),
}


@dataclass(frozen=True, slots=True, eq=False)  # each there is once
class EventClass:
    """A class of events, and what the numbers of its activities are called."""

    uid: int
    name: str
    category_name: str
    activities: Mapping[int, str]
    actor_by_profile: bool = False  # the class has an actor only together with the profile `host`
    has_actor: bool = True

    @property
    def category_uid(self) -> int:
        """The first digit of the class."""
        return self.uid // 1_000


_APPLICATION: Final = "Application Activity"
BASE_EVENT: Final = EventClass(0, "Base Event", "Uncategorized", {}, has_actor=False)
EVENT_LOG: Final = EventClass(
    1008,
    "Event Log Activity",
    "System Activity",
    {2: "Delete", 3: "Export", 4: "Archive", 5: "Rotate", 6: "Start", 7: "Stop", 8: "Restart"},
)
DETECTION: Final = EventClass(
    2004, "Detection Finding", "Findings", {1: "Create", 2: "Update", 3: "Close"}, actor_by_profile=True
)
ENTITY: Final = EventClass(
    3004,
    "Entity Management",
    "Identity & Access Management",
    {1: "Create", 2: "Read", 3: "Update", 4: "Delete", 8: "Enable", 9: "Disable", 10: "Activate", 11: "Deactivate"},
)
LIFECYCLE: Final = EventClass(
    6002, "Application Lifecycle", _APPLICATION, {3: "Start", 4: "Stop"}, actor_by_profile=True
)
API: Final = EventClass(6003, "API Activity", _APPLICATION, {1: "Create", 2: "Read", 3: "Update", 4: "Delete"})
APPLICATION_ERROR: Final = EventClass(
    6008, "Application Error", _APPLICATION, {1: "General Error"}, actor_by_profile=True
)
CLASSES: Final = (BASE_EVENT, EVENT_LOG, DETECTION, ENTITY, LIFECYCLE, API, APPLICATION_ERROR)

"""How it stands with witnesses and anchors, for whoever watches the gateway."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A witness, or an anchor."""

    name: str
    size: int  # events of the newest checkpoint that it has taken; 0 where none is known
    lag: int  # events of the newest signed checkpoint that it has not
    at: datetime | None  # when it last took one
    error: str  # of the last try; empty where that went well
    error_at: datetime | None
    alarm: str  # what it holds against this log's history; empty where nothing

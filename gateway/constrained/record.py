"""How a broken constraint gets into the log: as `constraint.violated`, before it has a consequence."""

from typing import Final

from engine.constraints.enforcer import Report
from gateway.events import Audit, EventType, Trail

_GATEWAY: Final = "gateway"


def in_trail(trail: Trail, target: str) -> Report:
    """Return a report to a mission's own trail."""
    return lambda breach: trail.record(EventType.CONSTRAINT_VIOLATED, target, breach.document())


def in_log(audit: Audit) -> Report:
    """Return a report of rules that belong to no mission, or to one that is not known yet: the target is the rule."""
    return lambda breach: audit.append(
        EventType.CONSTRAINT_VIOLATED, actor=_GATEWAY, target=breach.rule, details=breach.document()
    )

"""Which events somebody is told of: by names of types, or beginnings of names."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeFilter:
    """`step.refused`, or `step.*`: a beginning ends in `*`. Without `include`, everything; `exclude` goes before it."""

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()

    def takes(self, event_type: str) -> bool:
        """Return whether an event of this type is told."""
        return not _any(self.exclude, event_type) and (not self.include or _any(self.include, event_type))


def _any(patterns: Sequence[str], event_type: str) -> bool:
    return any(
        event_type.startswith(pattern[:-1]) if pattern.endswith("*") else event_type == pattern for pattern in patterns
    )

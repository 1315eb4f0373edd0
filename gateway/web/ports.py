"""What the second port needs of a gateway, as protocols."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol


class ComponentState(Protocol):
    """How it stands with one part of a gateway."""

    @property
    def component(self) -> str:
        """Its name."""

    @property
    def serving(self) -> bool:
        """Whether it does its work."""

    @property
    def since(self) -> datetime:
        """Since when that is so."""

    @property
    def code(self) -> str:
        """Why it does not; "" where it does."""


class HealthSource(Protocol):
    """How it stands with the whole."""

    @property
    def serving(self) -> bool:
        """Whether calls may come."""

    @property
    def states(self) -> Sequence[ComponentState]:
        """How it stands with each component."""

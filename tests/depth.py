"""How often the tests that repeat something do so: as often as each change needs, or as ever, by `make fuzz`."""

import os
from typing import Final

VARIABLE: Final = "MISSIONGATE_FUZZ"  # any text in it asks for all
IS_FUZZ: Final = bool(os.environ.get(VARIABLE))


def times(usual: int, fuzz: int) -> int:
    """Return how often: `usual` in `make test`, `fuzz` in `make fuzz`."""
    return fuzz if IS_FUZZ else usual

"""How often the tests that repeat something do so: as often as each change needs, or as ever, by `make fuzz`."""

import os
from collections.abc import Sequence
from itertools import cycle, islice, product
from typing import Final, TypeVar

VARIABLE: Final = "MISSIONGATE_FUZZ"  # any text in it asks for all
IS_FUZZ: Final = bool(os.environ.get(VARIABLE))

_A = TypeVar("_A")
_B = TypeVar("_B")


def times(usual: int, fuzz: int) -> int:
    """Return how often: `usual` in `make test`, `fuzz` in `make fuzz`."""
    return fuzz if IS_FUZZ else usual


def some(usual: Sequence[_A], fuzz: Sequence[_A]) -> Sequence[_A]:
    """Return which: `usual` in `make test`, all of `fuzz` in `make fuzz`."""
    return fuzz if IS_FUZZ else usual


def pairs(first: Sequence[_A], second: Sequence[_B]) -> Sequence[tuple[_A, _B]]:
    """Return pairs with each of both at least once; in `make fuzz`, every pair.

    The first of the one comes with the first of the other, and so on: the order says which pairs are the usual ones.
    """
    count = max(len(first), len(second))
    usual = list(zip(islice(cycle(first), count), islice(cycle(second), count), strict=True))
    return some(usual, list(product(first, second)))

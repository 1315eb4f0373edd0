"""Which bundles the gateway expects of an OPA, and which of them it has found there, byte for byte.

An OPA swaps its bundle in a moment of its own choosing: for a while decisions that the old engine asked for are answered
from the bundle that the new one waits for. The answer says from which, so it is taken, with the new bundle's digest,
once that bundle has been compared; no request is lost to the swap.
"""

import asyncio
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Expectation:
    """A bundle that an engine waits for, or answers from."""

    revision: str
    digest: str
    compared: asyncio.Event = field(default_factory=asyncio.Event)  # it is there, or nobody waits for it any more
    there: bool = False


class Expected:
    """The expectations of all engines of one server; two engines for the same bundle have two."""

    def __init__(self) -> None:
        self._all: list[Expectation] = []

    def add(self, revision: str, digest: str) -> Expectation:
        """Expect a bundle.

        Raises:
            ValueError: another bundle has the revision, so that answers could not tell them apart.
        """
        if any(one.revision == revision and one.digest != digest for one in self._all):
            raise ValueError(f"another bundle of the revision {revision!r} is in force: give each one of its own")
        expectation = Expectation(revision, digest)
        self._all.append(expectation)
        return expectation

    def found(self, expectation: Expectation) -> None:
        """Note that the bundle is there, and the same."""
        expectation.there = True
        expectation.compared.set()

    def remove(self, expectation: Expectation) -> None:
        """Expect it no longer, by this engine."""
        if expectation in self._all:
            self._all.remove(expectation)
        expectation.there = False
        expectation.compared.set()

    async def digest_of(self, revision: str) -> str | None:
        """Return the digest of the bundle that has the revision, once it has been compared; None: nobody expects it."""
        while of_it := [one for one in self._all if one.revision == revision]:
            if any(one.there for one in of_it):
                return of_it[0].digest
            await of_it[-1].compared.wait()
        return None

"""What the missions of each tenant and each principal take up now, and whether there is room for another.

Counted as missions begin and end, by whoever runs them, so that a start of the gateway counts what it takes up again.
A mission that is a part of another is counted, and never refused: what runs does not break by what else its tenant has
begun, and is bounded by its whole (`gateway.missions.tree`). For the same reason stored bytes are asked about where a
mission begins, and a mission that runs goes on.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from engine.values import JsonValue
from gateway.errors import LimitedError
from gateway.limits.amounts import Allowance, Allowances, Owner
from gateway.limits.places import Places

RUNNING_RETRY_SECONDS: Final = 1.0  # a mission may end at any moment, and nobody knows when
STORED_RETRY_SECONDS: Final = 300.0  # retention looks every hour; somebody may erase something earlier


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBytes:
    """What is kept of the missions of a tenant, and of one principal of it."""

    tenant: int = 0
    principal: int = 0


class MissionQuotas:
    """The accounts of those that have missions which have not ended."""

    def __init__(self, allowances: Allowances) -> None:
        self._allowances = allowances
        self._missions: Places[Owner] = Places()  # without parts
        self._tenant_missions: Places[str] = Places()
        self._steps: Places[Owner] = Places()
        self._tenant_steps: Places[str] = Places()
        self.refused: Counter[str] = Counter()  # by limit, without names of tenants
        self._followers: list[Callable[[Callable[[str], tuple[int, int]]], None]] = []

    def adopt(self, allowances: Allowances) -> None:
        """From now on go by these; what runs goes on."""
        self._allowances = allowances
        for follow in self._followers:
            follow(self.slots)

    def follow(self, adopt: Callable[[Callable[[str], tuple[int, int]]], None]) -> None:
        """From now on tell this of each change of how many steps may run."""
        self._followers.append(adopt)

    def slots(self, tenant: str) -> tuple[int, int]:
        """Return how many steps a tenant may run at once, and each principal of it."""
        allowances = self._allowances
        return allowances.of_tenant(tenant).steps_running_max, allowances.of_principal(tenant).steps_running_max

    def used(self, owner: Owner) -> tuple[int, int, int, int]:
        """Return missions and steps of a principal, then of its tenant."""
        tenant = owner[0]
        return (
            self._missions.held(owner),
            self._steps.held(owner),
            self._tenant_missions.held(tenant),
            self._tenant_steps.held(tenant),
        )

    def document(self) -> dict[str, JsonValue]:
        """Return what all of them take up, as JSON; nobody is named."""
        return {
            "missions": self._missions.total,
            "steps": self._steps.total,
            "principals": len(self._steps),
            "tenants": len(self._tenant_steps),
        }

    @contextmanager
    def place(self, owner: Owner, steps: int, stored: StoredBytes) -> Iterator[None]:
        """Hold room for a mission that is about to begin, and is no part of another.

        Raises:
            LimitedError: `limits.missions`, `limits.steps`, `limits.stored_bytes`.
        """
        self._require(owner, steps, stored)
        self.begin(owner, steps, part=False)
        try:
            yield
        finally:
            self.end(owner, steps, part=False)

    def begin(self, owner: Owner, steps: int, *, part: bool) -> None:
        """Count a mission that begins."""
        self._missions.add(owner, int(not part))
        self._tenant_missions.add(owner[0], int(not part))
        self._steps.add(owner, steps)
        self._tenant_steps.add(owner[0], steps)

    def end(self, owner: Owner, steps: int, *, part: bool) -> None:
        """Count it no longer."""
        self._missions.remove(owner, int(not part))
        self._tenant_missions.remove(owner[0], int(not part))
        self._steps.remove(owner, steps)
        self._tenant_steps.remove(owner[0], steps)

    def _require(self, owner: Owner, steps: int, stored: StoredBytes) -> None:
        tenant = owner[0]
        own = self._allowances.of_principal(tenant)
        missions, pending, tenant_missions, tenant_pending = self.used(owner)
        self._check(tenant, "principal", own, missions, pending + steps, stored.principal)
        whole = self._allowances.of_tenant(tenant)
        self._check(tenant, "tenant", whole, tenant_missions, tenant_pending + steps, stored.tenant)

    def _check(self, tenant: str, scope: str, most: Allowance, missions: int, steps: int, stored: int) -> None:
        for over, kind, name, value, retry_seconds in (
            (
                missions >= most.missions_running_max,
                "missions",
                "missions_running_max",
                most.missions_running_max,
                RUNNING_RETRY_SECONDS,
            ),
            (
                steps > most.steps_submitted_max,
                "steps",
                "steps_submitted_max",
                most.steps_submitted_max,
                RUNNING_RETRY_SECONDS,
            ),
            (
                stored >= most.stored_bytes_max,
                "stored_bytes",
                "stored_bytes_max",
                most.stored_bytes_max,
                STORED_RETRY_SECONDS,
            ),
        ):
            if over:
                self.refused[f"{scope}.{name}"] += 1
                raise LimitedError(
                    f"the {kind.replace('_', ' ')} of the {scope} are used up",
                    code=f"limits.{kind}",
                    limit=self._allowances.key(tenant, scope, name),
                    value=value,
                    retry_seconds=retry_seconds,
                )

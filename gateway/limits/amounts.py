"""What the limits are: plain values, which `gateway.limits_config` reads from the file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

RATE_MAX: Final = 1_000_000.0  # a second
BURST_MAX: Final = 10_000_000
Owner: TypeAlias = tuple[str, str]
"""Tenant and subject of a principal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """So many a second in the long run, and at most `burst` at once.

    Raises:
        ValueError: either is not above 0, or too large.
    """

    per_second: float
    burst: int

    def __post_init__(self) -> None:
        """Check both."""
        if not 0 < self.per_second <= RATE_MAX or not 1 <= self.burst <= BURST_MAX:
            raise ValueError(f"a rate is above 0 and at most {RATE_MAX:g} a second, a burst from 1 to {BURST_MAX}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What one principal, or all of one tenant together, may have. Every field is a maximum."""

    mutations: Rate
    reads: Rate
    controls: Rate
    calls_open_max: int  # at once; of control calls as many again
    streams_open_max: int
    missions_running_max: int
    steps_submitted_max: int  # of missions that have not ended
    steps_running_max: int
    stored_bytes_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowances:
    """The allowance of every principal and every tenant: the same for all, but for the tenants that are named."""

    principal: Allowance
    tenant: Allowance
    tenants: Mapping[str, Allowance] = field(default_factory=dict)
    principals: Mapping[str, Allowance] = field(default_factory=dict)  # of a tenant, by its name

    def of_tenant(self, tenant: str) -> Allowance:
        """Return what a tenant may have."""
        return self.tenants.get(tenant, self.tenant)

    def of_principal(self, tenant: str) -> Allowance:
        """Return what each principal of a tenant may have."""
        return self.principals.get(tenant, self.principal)

    def key(self, tenant: str, scope: str, name: str) -> str:
        """Return how the configuration calls the limit that holds: a tenant hears its own name, and no other."""
        if scope == "tenant":
            return f"tenants.{tenant}.{name}" if tenant in self.tenants else f"tenant.{name}"
        return f"tenants.{tenant}.principal.{name}" if tenant in self.principals else f"principal.{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Strangers:
    """What callers that have not said who they are may have, by the address that they come from."""

    calls: Rate
    open_max: int  # calls and streams at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Shedding:
    """From when on calls are turned away because the gateway as a whole has no room for them."""

    wait_ms_max: float  # that work waits on its way, as long as `interval_ms`: then calls that bring more are bounded
    reads_wait_ms_max: float  # likewise: reads are, too
    interval_ms: float
    calls_open_max: int  # calls under way, streams until they are decided; new work may have three quarters of them
    retry_seconds: float  # callers are told to wait this long up to three times as long


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSettings:
    """All that bounds calls."""

    allowances: Allowances
    strangers: Strangers
    shedding: Shedding
    streams_open_max: int  # of all callers together

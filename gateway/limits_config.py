"""`[limits]` of the configuration: what missions may be, and what principals, tenants and strangers may have."""

from typing import Annotated, Final

from pydantic import Field

from engine.mission import MissionLimits
from gateway.limits.amounts import BURST_MAX, RATE_MAX, Allowance, Allowances, CallSettings, Rate, Shedding, Strangers
from gateway.limits.transport import Transport
from gateway.section import Section

TENANTS_MAX: Final = 10_000
_RESERVED_CALLS: Final = 2_048  # above all that is limited: for control, health, and refusals on their way

_PerSecond = Annotated[float, Field(gt=0, le=RATE_MAX)]
_Burst = Annotated[int, Field(ge=1, le=BURST_MAX)]
_Calls = Annotated[int, Field(ge=1, le=100_000)]
_Streams = Annotated[int, Field(ge=1, le=100_000)]
_Missions = Annotated[int, Field(ge=1, le=100_000)]
_Steps = Annotated[int, Field(ge=1, le=1_000_000_000)]
_Bytes = Annotated[int, Field(ge=0, le=1 << 53)]
_Seconds = Annotated[float, Field(ge=0.05, le=31_536_000)]
_Ms = Annotated[float, Field(ge=1, le=60_000)]
_WaitMs = Annotated[float, Field(ge=20, le=60_000)]  # an idle gateway's calls wait two or three
_Tenant = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@:-]{0,127}$")]


class AllowanceConfig(Section):
    """What a principal or a tenant may have."""

    mutations_per_second: _PerSecond = 1_000.0
    mutations_burst: _Burst = 4_000
    reads_per_second: _PerSecond = 4_000.0
    reads_burst: _Burst = 8_000
    controls_per_second: _PerSecond = 1_000.0
    controls_burst: _Burst = 2_000
    calls_open_max: _Calls = 1_024
    streams_open_max: _Streams = 2_048
    missions_running_max: _Missions | None = None  # none: as many as all together
    steps_submitted_max: _Steps = 1_000_000
    steps_running_max: _Steps | None = None  # likewise
    stored_bytes_max: _Bytes = 64 * 1024**3

    def allowance(self, missions_running_max: int, steps_running_max: int) -> Allowance:
        """Return it as a value, given what all together may have."""
        return Allowance(
            mutations=Rate(per_second=self.mutations_per_second, burst=self.mutations_burst),
            reads=Rate(per_second=self.reads_per_second, burst=self.reads_burst),
            controls=Rate(per_second=self.controls_per_second, burst=self.controls_burst),
            calls_open_max=self.calls_open_max,
            streams_open_max=self.streams_open_max,
            missions_running_max=self.missions_running_max or missions_running_max,
            steps_submitted_max=self.steps_submitted_max,
            steps_running_max=self.steps_running_max or steps_running_max,
            stored_bytes_max=self.stored_bytes_max,
        )


class AllowanceChange(Section):
    """What of an allowance is another for one tenant; a key that is not there is as for all."""

    mutations_per_second: _PerSecond | None = None
    mutations_burst: _Burst | None = None
    reads_per_second: _PerSecond | None = None
    reads_burst: _Burst | None = None
    controls_per_second: _PerSecond | None = None
    controls_burst: _Burst | None = None
    calls_open_max: _Calls | None = None
    streams_open_max: _Streams | None = None
    missions_running_max: _Missions | None = None
    steps_submitted_max: _Steps | None = None
    steps_running_max: _Steps | None = None
    stored_bytes_max: _Bytes | None = None

    def over(self, general: AllowanceConfig) -> AllowanceConfig:
        """Return what is for all, with this in place of it."""
        given = {name: value for name in AllowanceConfig.model_fields if (value := getattr(self, name)) is not None}
        return general.model_copy(update=given)


class TenantLimitsConfig(AllowanceChange):
    """The limits of one tenant, and of each of its principals."""

    principal: AllowanceChange | None = None


class StrangersConfig(Section):
    """What comes from one address without a credential that is accepted."""

    calls_per_second: _PerSecond = 200.0
    calls_burst: _Burst = 1_000
    open_max: _Calls = 256

    def strangers(self) -> Strangers:
        """Return it as a value."""
        rate = Rate(per_second=self.calls_per_second, burst=self.calls_burst)
        return Strangers(calls=rate, open_max=self.open_max)


class SheddingConfig(Section):
    """When the gateway as a whole turns calls away."""

    wait_ms_max: _WaitMs = 200.0
    reads_wait_ms_max: _WaitMs = 800.0
    interval_ms: _Ms = 500.0
    calls_open_max: Annotated[int, Field(ge=4, le=100_000)] = 2_048
    retry_seconds: Annotated[float, Field(ge=0.05, le=3_600)] = 1.0

    def shedding(self) -> Shedding:
        """Return it as a value."""
        return Shedding(**self.model_dump())


class ConnectionsConfig(Section):
    """What bounds connections, and the streams on them; read at the start only."""

    connections_max: Annotated[int, Field(ge=1, le=100_000)] = 1_024
    streams_per_connection_max: Annotated[int, Field(ge=1, le=10_000)] = 256
    message_bytes_max: Annotated[int, Field(ge=64 * 1024, le=64 * 1024 * 1024)] = 8 * 1024 * 1024
    metadata_bytes_max: Annotated[int, Field(ge=1_024, le=256 * 1024)] = 16 * 1024
    handshake_seconds_max: _Seconds = 10.0
    idle_seconds_max: _Seconds = 1_800.0
    age_seconds_max: _Seconds = 86_400.0
    age_grace_seconds: _Seconds = 600.0
    ping_seconds_min: _Seconds = 10.0
    keepalive_seconds: _Seconds = 60.0
    keepalive_timeout_seconds: _Seconds = 20.0
    read_seconds_max: _Seconds = 30.0
    requests_slow_max: Annotated[int, Field(ge=1, le=10_000)] = 16
    write_seconds_max: _Seconds = 30.0

    def transport(self, calls_open_max: int) -> Transport:
        """Return it as a value; `calls_open_max` is of all calls."""
        return Transport(**self.model_dump(), calls_open_max=calls_open_max)


class LimitsConfig(Section):
    """What one mission, and all missions together, may ask for at most; and who may have how much of the gateway."""

    document_bytes_max: Annotated[int, Field(ge=1_024, le=4 * 1024 * 1024)] = 4 * 1024 * 1024
    steps_max: Annotated[int, Field(ge=1, le=100_000)] = 10_000
    parallel_limit_max: Annotated[int, Field(ge=1, le=10_000)] = 1_024
    missions_running_max: Annotated[int, Field(ge=1, le=100_000)] = 1_000
    steps_running_max: Annotated[int, Field(ge=1, le=100_000)] = 2_048
    streams_open_max: _Streams = 4_096
    principal: AllowanceConfig = Field(default_factory=AllowanceConfig)
    tenant: AllowanceConfig = Field(default_factory=AllowanceConfig)
    tenants: Annotated[dict[_Tenant, TenantLimitsConfig], Field(max_length=TENANTS_MAX)] = Field(default_factory=dict)
    strangers: StrangersConfig = Field(default_factory=StrangersConfig)
    shedding: SheddingConfig = Field(default_factory=SheddingConfig)
    connections: ConnectionsConfig = Field(default_factory=ConnectionsConfig)

    def mission_limits(self) -> MissionLimits:
        """Return the part that the engine checks."""
        return MissionLimits(
            document_bytes_max=self.document_bytes_max,
            steps_max=self.steps_max,
            parallel_limit_max=self.parallel_limit_max,
        )

    def allowances(self) -> Allowances:
        """Return what principals and tenants may have."""
        whole = self.missions_running_max, self.steps_running_max
        own = {name: entry.principal for name, entry in self.tenants.items() if entry.principal is not None}
        return Allowances(
            principal=self.principal.allowance(*whole),
            tenant=self.tenant.allowance(*whole),
            tenants={name: entry.over(self.tenant).allowance(*whole) for name, entry in self.tenants.items()},
            principals={name: change.over(self.principal).allowance(*whole) for name, change in own.items()},
        )

    def call_settings(self) -> CallSettings:
        """Return what bounds calls."""
        return CallSettings(
            allowances=self.allowances(),
            strangers=self.strangers.strangers(),
            shedding=self.shedding.shedding(),
            streams_open_max=self.streams_open_max,
        )

    def transport(self) -> Transport:
        """Return what bounds connections; gRPC's own bound of calls lies above all of ours, and is met last."""
        calls_open_max = self.shedding.calls_open_max + self.streams_open_max + _RESERVED_CALLS
        return self.connections.transport(calls_open_max)

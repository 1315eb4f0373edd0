"""The `[audit]` section of the configuration: when segments end, and how long the log may be silent."""

from typing import Annotated

from pydantic import Field

from engine.audit.writer import AuditLimits
from gateway.section import Section

_MIB = 1024 * 1024
_HOUR_SECONDS = 3_600


class AuditConfig(Section):
    """How the audit log is kept."""

    segment_mib_max: Annotated[int, Field(ge=1, le=1_024)] = 64
    segment_hours_max: Annotated[int, Field(ge=1, le=8_784)] = 24
    heartbeat_seconds: Annotated[float, Field(ge=1, le=86_400)] = 300.0

    def limits(self) -> AuditLimits:
        """Return them as the log wants them."""
        return AuditLimits(
            segment_bytes_max=self.segment_mib_max * _MIB,
            segment_seconds_max=self.segment_hours_max * _HOUR_SECONDS,
            heartbeat_seconds=self.heartbeat_seconds,
        )

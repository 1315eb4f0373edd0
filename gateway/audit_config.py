"""The `[audit]` section of the configuration: how the log is kept, who holds it to its word, and who is told of it."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from engine.audit.writer import AuditLimits
from gateway.anchoring.sections import AnchorSection, WitnessSection
from gateway.anchoring.settings import AnchoringSettings
from gateway.archiving.retention import LogRetentionSettings
from gateway.exporting.exports import ExportSettings
from gateway.exporting.sections import AuditExportSection
from gateway.limits.event_quota import PER_MINUTE_DEFAULT
from gateway.signing.section import SigningSection

_MIB = 1024 * 1024
_HOUR_SECONDS = 3_600
_WITNESSES_MAX = 32  # their cosignatures and the log's own have to fit into the 64 of a note
_EXPORTS_MAX = 8


class AuditConfig(SigningSection):
    """How the audit log is kept."""

    segment_mib_max: Annotated[int, Field(ge=1, le=1_024)] = 64
    segment_hours_max: Annotated[int, Field(ge=1, le=8_784)] = 24
    heartbeat_seconds: Annotated[float, Field(ge=1, le=86_400)] = 300.0
    acknowledge: Literal["signed", "witnessed"] = "signed"  # what an event has to be before anything rests on it
    witnesses: Annotated[list[WitnessSection], Field(max_length=_WITNESSES_MAX)] = Field(default_factory=list)
    witnesses_required: Annotated[int, Field(ge=1, le=_WITNESSES_MAX)] | None = None  # none: all of them
    witness_seconds_max: Annotated[float, Field(gt=0, le=3_600)] = 10.0
    anchors: Annotated[list[AnchorSection], Field(max_length=16)] = Field(default_factory=list)
    exports: Annotated[list[AuditExportSection], Field(max_length=_EXPORTS_MAX)] = Field(default_factory=list)
    exports_hold_days: Annotated[int, Field(ge=0, le=36_500)] = 30
    principal_events_per_minute_max: Annotated[int, Field(ge=1, le=1_000_000)] = PER_MINUTE_DEFAULT  # by calls
    archive: str = ""  # where segments go that retention takes out of the log
    archive_discard: bool = False  # they go nowhere, and are lost

    @model_validator(mode="after")
    def _witnesses_fit(self) -> Self:
        keys = [section.witness_key() for section in self.witnesses]
        if self.acknowledge == "witnessed" and not keys:
            raise ValueError('acknowledge = "witnessed" needs [[audit.witnesses]]')
        if self.witnesses_required is not None and self.witnesses_required > len(keys):
            raise ValueError(f"witnesses_required is {self.witnesses_required}, and there are {len(keys)} witnesses")
        if len({key.name for key in keys}) < len(keys) or len({key.public for key in keys}) < len(keys):
            raise ValueError("two witnesses have the same name or the same public key: they would count as one")
        places = [anchor.file or anchor.url for anchor in self.anchors]
        if len(set(places)) < len(places):
            raise ValueError("two anchors are the same place")
        return self

    @field_validator("exports")
    @classmethod
    def _exports_differ(cls, exports: list[AuditExportSection]) -> list[AuditExportSection]:
        for what in ("name", "file"):
            given = [value for value in (getattr(entry, what) for entry in exports) if value]
            if len(set(given)) < len(given):
                raise ValueError(f"two entries have the same {what}")
        return exports

    def export_settings(self, home: Path) -> tuple[ExportSettings, ...]:
        """Return whom the log of a home is exported to."""
        return tuple(entry.settings(home) for entry in self.exports)

    def retention(self, home: Path) -> LogRetentionSettings:
        """Return what happens to segments that are old enough."""
        return LogRetentionSettings(
            archive=home / self.archive if self.archive else None,
            discard=self.archive_discard,
            hold=timedelta(days=self.exports_hold_days),
        )

    def limits(self) -> AuditLimits:
        """Return them as the log wants them."""
        return AuditLimits(
            segment_bytes_max=self.segment_mib_max * _MIB,
            segment_seconds_max=self.segment_hours_max * _HOUR_SECONDS,
            heartbeat_seconds=self.heartbeat_seconds,
            witness_seconds_max=self.witness_seconds_max,
        )

    def anchoring(self, home: Path) -> AnchoringSettings | None:
        """Return what outside holds the log to its word; None where nothing does."""
        if not self.witnesses and not self.anchors:
            return None
        return AnchoringSettings(
            home=home,
            witnesses=tuple(self.witnesses),
            required=self.witnesses_required or len(self.witnesses),
            waited_for=self.acknowledge == "witnessed",
            witness_seconds_max=self.witness_seconds_max,
            anchors=tuple(self.anchors),
        )

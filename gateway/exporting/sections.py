"""`[[audit.exports]]` of the configuration: whom the log is told to, and what of it."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from gateway.exporting.exports import ExportSettings
from gateway.exporting.type_filter import TypeFilter
from gateway.section import Section

_Pattern = Annotated[str, Field(pattern=r"^(?:\*|[a-z][a-z0-9_.]{0,127}\*?)$")]  # a type, or the beginning of one


class AuditExportSection(Section):
    """One sink: a file, or a collector at a URL. Paths are relative to the home."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
    file: str = ""
    url: Annotated[str, Field(validate_default=True)] = ""
    token_file: str = ""
    ca_file: str = ""
    format: Literal["ndjson", "json"] = "ndjson"  # of a request
    include: Annotated[list[_Pattern], Field(max_length=64)] = Field(default_factory=list)
    exclude: Annotated[list[_Pattern], Field(max_length=64)] = Field(default_factory=list)
    batch_events_max: Annotated[int, Field(ge=1, le=10_000)] = 500
    raw: bool = False

    @field_validator("url")
    @classmethod
    def _is_one_place(cls, url: str, info: ValidationInfo) -> str:
        if "file" in info.data and bool(info.data["file"]) == bool(url):
            raise ValueError("write either file or url")
        return url

    @field_validator("token_file", "ca_file")
    @classmethod
    def _are_of_a_url(cls, path: str, info: ValidationInfo) -> str:
        given = info.data
        if path and not given.get("url"):
            raise ValueError("goes with url only")
        return path

    def settings(self, home: Path) -> ExportSettings:
        """Return them for a home."""

        def path(value: str) -> Path | None:
            return home / value if value else None

        return ExportSettings(
            name=self.name,
            file=path(self.file),
            url=self.url,
            token_file=path(self.token_file),
            ca_file=path(self.ca_file),
            form=self.format,
            wanted=TypeFilter(include=tuple(self.include), exclude=tuple(self.exclude)),
            events_max=self.batch_events_max,
            raw=self.raw,
        )

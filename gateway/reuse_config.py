"""The section `[reuse]` of the configuration: of which step kinds results are used again, and for how long."""

from typing import Annotated, Literal

from pydantic import Field

from gateway.section import Section

_Kind = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class ReuseConfig(Section):
    """Results of pure steps that are kept, for each tenant apart; where no kind is named there are none."""

    kinds: Annotated[list[_Kind], Field(max_length=64)] = Field(default_factory=list)
    ttl_seconds: Annotated[float, Field(gt=0, le=86_400)] = 300.0
    entries_max: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000  # of one tenant
    bytes_max: Annotated[int, Field(ge=1_024, le=4 * 1024**3)] = 16 * 1024 * 1024  # of one tenant
    tenants_max: Annotated[int, Field(ge=1, le=10_000)] = 64  # that have any at a time
    eviction: Literal["used", "kept"] = "used"  # what goes first: what was used longest ago, or kept longest ago

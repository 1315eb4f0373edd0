"""What every section of the configuration file is: typed strictly, frozen, and without unknown keys."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A table of `missiongate.toml`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

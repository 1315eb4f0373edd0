"""The `[operation]` section of the configuration: how a gateway starts and stops."""

from typing import Annotated

from pydantic import Field

from gateway.section import Section


class OperationConfig(Section):
    """How much room a start needs, and how long a stop may take."""

    drain_seconds: Annotated[float, Field(ge=0, le=3_600)] = 10.0  # for steps at work; what is left is suspended
    disk_free_mib_min: Annotated[int, Field(ge=1, le=1_048_576)] = 64  # less, and the gateway does not start

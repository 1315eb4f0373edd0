"""The sections `[log]`, `[web]` and `[tracing]`: what operators see of a gateway, and where."""

import re
from ipaddress import ip_address
from typing import Annotated, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from gateway.section import Section

_ADDRESS: Final = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):(?P<port>[0-9]{1,5})")
_PORT_MAX: Final = 65_535
_HOSTS_MAX: Final = 64
_Host = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]  # as URLs are normalised


class LogConfig(Section):
    """The gateway's log of itself, on stderr; what it did is in the audit log."""

    level: Literal["debug", "info", "warning", "error", "critical"] = "info"
    format: Literal["auto", "json", "console"] = "auto"  # auto: console on a terminal, JSON elsewhere


class WebConfig(Section):
    """The second port: metrics and health over HTTP, to anybody who reaches it."""

    listen: str = ""  # host:port; none: there is no second port, and no metrics are kept
    allow_remote: bool = False  # an address that is not this machine's loopback
    names: Annotated[list[_Host], Field(max_length=_HOSTS_MAX)] = Field(default_factory=list)  # beside localhost

    @property
    def address(self) -> tuple[str, int]:
        """Host and port; not without `listen`."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)

    @field_validator("listen")
    @classmethod
    def _listen_is_an_address(cls, listen: str) -> str:
        found = _ADDRESS.fullmatch(listen)
        if listen and (found is None or int(found["port"]) > _PORT_MAX):
            raise ValueError("write host:port, such as 127.0.0.1:7444; port 0 takes a free one")
        return listen

    @model_validator(mode="after")
    def _stays_here(self) -> Self:
        if self.listen and not self.allow_remote and not _is_loopback(self.address[0]):
            raise ValueError(
                f"listen: {self.listen} is not a loopback address, and whoever reaches it reads metrics without a "
                "token; say allow_remote = true where only your own network reaches it"
            )
        return self


class TracingConfig(Section):
    """Traces, to a collector that speaks OTLP over HTTP."""

    url: str = ""  # such as http://127.0.0.1:4318/v1/traces; none: nothing is traced
    token_file: str = ""
    ca_file: str = ""
    ratio: Annotated[float, Field(ge=0, le=1)] = 0.05  # of the traces that begin here
    follow_callers: bool = True  # a call is a part of the trace that its caller names, sampled as that says
    propagate_to: Annotated[list[_Host], Field(max_length=_HOSTS_MAX)] = Field(default_factory=list)
    service: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$")] = "missiongate"


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False

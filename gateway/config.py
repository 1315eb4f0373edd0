"""The gateway's configuration: one TOML file in the home directory, parsed into one frozen, typed value."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from engine.audit.keys import VerifierKey
from engine.breaker import BreakerSettings
from gateway.audit_config import AuditConfig
from gateway.authn.sockets import SOCKETS_MAX
from gateway.config_sources import Layers, read_layers, validated
from gateway.errors import ConfigurationError
from gateway.identity_config import (
    CertificateConfig,
    IssuerConfig,
    SocketConfig,
    TlsConfig,
    TokenConfig,
    is_loopback_address,
    require_address,
    require_distinct,
)
from gateway.limits_config import LimitsConfig
from gateway.operation_config import OperationConfig
from gateway.policy_config import PolicyConfig
from gateway.reuse_config import ReuseConfig
from gateway.sandbox.routing import Duty
from gateway.sandbox.signature import RESERVED, Publisher
from gateway.section import Section
from gateway.security_levels import ALLOWED_DEFAULT
from gateway.telemetry_config import LogConfig, TracingConfig, WebConfig
from gateway.vault.master import MasterSource
from gateway.workers.isolation import Isolation

CONFIG_NAME: Final = "missiongate.toml"

_Level = Literal["strict", "balanced", "relaxed", "none"]
_HookName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
_Pattern = Annotated[str, Field(pattern=r"^(?:\*|[a-z][a-z0-9_.]{0,127}\*?)$")]  # a name, or the beginning of one


class HookConfig(Section):
    """A hook: a step kind beside the built-in ones, or a screen, a rewrite or an observer in its place.

    It is the site's own, pinned by the SHA-256 of its module, or one that the package ships.
    """

    path: str | None = None
    sha256: Annotated[str | None, Field(pattern=r"^[0-9a-f]{64}$", validate_default=True)] = None
    builtin: Annotated[str | None, Field(validate_default=True)] = None
    profile: str | None = None  # instead of the one that the hook names
    order: Annotated[int, Field(ge=-1_000_000, le=1_000_000)] = 0
    step_types: Annotated[list[_HookName], Field(max_length=64)] = Field(default_factory=list)
    labels: Annotated[dict[str, str], Field(max_length=16)] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict, repr=False)

    @field_validator("builtin")
    @classmethod
    def _says_where_it_is(cls, builtin: str | None, info: ValidationInfo) -> str | None:
        if "path" in info.data and (info.data["path"] is None) == (builtin is None):
            raise ValueError("write either path and sha256, or builtin")
        return builtin

    @field_validator("sha256")
    @classmethod
    def _pins_its_module(cls, sha256: str | None, info: ValidationInfo) -> str | None:
        if "path" in info.data and (info.data["path"] is None) != (sha256 is None):
            raise ValueError("required beside path, and beside nothing else")
        return sha256


class PublisherConfig(Section):
    """Whose signature makes a hook acceptable, and for what. A list that is empty limits nothing."""

    key: str
    kinds: list[Literal["step", "screen", "rewrite", "observe"]] = Field(default_factory=list)
    effects: list[_Pattern] = Field(default_factory=list, max_length=64)
    names: list[_Pattern] = Field(default_factory=list, max_length=64)

    @field_validator("key")
    @classmethod
    def _key_is_one(cls, key: str) -> str:
        name = VerifierKey.parse(key).name
        if name in RESERVED:
            raise ValueError(f"a publisher's key may not be named {name!r}")
        return key

    def publisher(self) -> Publisher:
        """Return it as signatures are checked with."""
        return Publisher(
            key=VerifierKey.parse(self.key),
            kinds=frozenset(self.kinds),
            effects=tuple(self.effects),
            names=tuple(self.names),
        )


class WorkersConfig(Section):
    """How many worker processes of each kind."""

    sandbox: Annotated[int, Field(ge=1, le=64)] = 2  # for steps; this and the next two, of each trust class
    screens: Annotated[int, Field(ge=1, le=64)] = 1  # for screens and rewrites, where there are any
    observers: Annotated[int, Field(ge=1, le=64)] = 1  # likewise
    policy: Annotated[int, Field(ge=1, le=64)] = 1
    accept_without: list[Literal["landlock", "seccomp"]] = Field(default_factory=list)

    def sizes(self) -> dict[Duty, int]:
        """Return how many sandbox workers each trust class gets, by what they are there for."""
        return {"steps": self.sandbox, "screens": self.screens, "observers": self.observers}

    def check(self, isolation: Isolation) -> None:
        """Refuse a kernel that lacks a layer which `accept_without` does not name; one that is there always applies.

        Raises:
            ConfigurationError: `config.isolation`, with what is missing and the key.
        """
        lacking = [str(layer) for layer in isolation.missing if layer not in self.accept_without]
        if lacking:
            raise ConfigurationError(
                f"workers.accept_without: this kernel lacks {' and '.join(lacking)}, which hold a worker that a module "
                f"or a policy has taken over; to run without, say accept_without = {json.dumps(lacking)}",
                code="config.isolation",
            )


class BreakersConfig(Section):
    """When steps of one kind and one target are left alone, and for how long; by tenant."""

    failures_max: Annotated[int, Field(ge=1, le=10_000)] = 5
    window_seconds: Annotated[float, Field(gt=0, le=86_400)] = 30.0
    open_seconds: Annotated[float, Field(gt=0, le=86_400)] = 10.0

    def settings(self) -> BreakerSettings:
        """Return them as the engine wants them."""
        return BreakerSettings(
            failures_max=self.failures_max, window_seconds=self.window_seconds, open_seconds=self.open_seconds
        )


class SecurityConfig(Section):
    """Which security levels missions may have; `none` only where it is named here."""

    levels: Annotated[tuple[_Level, ...], Field(min_length=1, strict=False)] = ALLOWED_DEFAULT


class SecretsConfig(Section):
    """Where the master key of the secrets comes from: the home's key file, unless a passphrase is named."""

    passphrase_file: str = ""

    def source(self, home: Path) -> MasterSource:
        """Return it for a home."""
        return MasterSource(home, home / self.passphrase_file if self.passphrase_file else None)


class Config(Section):
    """The whole file. Paths are relative to the home directory."""

    listen: str = "127.0.0.1:7443"
    anonymous: bool = False  # callers without a token, on a loopback address only
    tokens: list[TokenConfig] = Field(default_factory=list)
    tls: TlsConfig = Field(default_factory=TlsConfig)
    certificates: list[CertificateConfig] = Field(default_factory=list, max_length=4_096)
    issuers: list[IssuerConfig] = Field(default_factory=list, max_length=16)
    sockets: list[SocketConfig] = Field(default_factory=list, max_length=SOCKETS_MAX)
    hooks: list[HookConfig] = Field(default_factory=list)
    publishers: list[PublisherConfig] = Field(default_factory=list, max_length=32)
    policy: PolicyConfig = Field(default_factory=PolicyConfig)
    workers: WorkersConfig = Field(default_factory=WorkersConfig)
    limits: LimitsConfig = Field(default_factory=LimitsConfig)
    breakers: BreakersConfig = Field(default_factory=BreakersConfig)
    reuse: ReuseConfig = Field(default_factory=ReuseConfig)
    security: SecurityConfig = Field(default_factory=SecurityConfig)
    secrets: SecretsConfig = Field(default_factory=SecretsConfig)
    audit: AuditConfig = Field(default_factory=AuditConfig)
    operation: OperationConfig = Field(default_factory=OperationConfig)
    log: LogConfig = Field(default_factory=LogConfig)
    web: WebConfig = Field(default_factory=WebConfig)
    tracing: TracingConfig = Field(default_factory=TracingConfig)

    def check_listen(self) -> None:
        """Refuse to carry bearer tokens over a network in the clear.

        Raises:
            ConfigurationError: `config.listen`.
        """
        if not is_loopback_address(self.listen) and not self.tls.cert_file:
            raise ConfigurationError(
                f"listen: {self.listen} is not a loopback address, so it needs TLS, or tokens would travel in the "
                "clear: set tls.cert_file and tls.key_file, or listen on 127.0.0.1 behind something that ends TLS",
                code="config.listen",
            )

    @field_validator("listen")
    @classmethod
    def _listen_is_an_address(cls, listen: str) -> str:
        return require_address(listen)

    @field_validator("tokens")
    @classmethod
    def _tokens_differ(cls, tokens: list[TokenConfig]) -> list[TokenConfig]:
        if len({token.sha256 for token in tokens}) < len(tokens):
            raise ValueError("two entries have the same sha256, so one token would name two principals")
        return tokens

    @field_validator("certificates")
    @classmethod
    def _certificates_differ(cls, certificates: list[CertificateConfig]) -> list[CertificateConfig]:
        require_distinct([entry.name for entry in certificates], "spiffe_id or subject_name")
        return certificates

    @field_validator("issuers")
    @classmethod
    def _issuers_differ(cls, issuers: list[IssuerConfig]) -> list[IssuerConfig]:
        require_distinct([entry.issuer for entry in issuers], "issuer")
        return issuers

    @field_validator("sockets")
    @classmethod
    def _sockets_differ(cls, sockets: list[SocketConfig]) -> list[SocketConfig]:
        require_distinct([entry.folder for entry in sockets], "folder")
        return sockets

    @model_validator(mode="after")
    def _certificates_are_checked(self) -> Self:
        if self.certificates and not self.tls.client_ca_file:
            raise ValueError("certificates: they need tls.client_ca_file, which says whose certificates count")
        return self

    @field_validator("publishers")
    @classmethod
    def _publishers_differ(cls, publishers: list[PublisherConfig]) -> list[PublisherConfig]:
        """One name is one publisher: what two of them ship would share workers, and a name would be two owners'."""
        if len({entry.publisher().name for entry in publishers}) < len(publishers):
            raise ValueError("two entries have keys of the same name")
        return publishers


def load_config(
    home: Path,
    *,
    listen: str | None = None,
    anonymous: bool | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Config:
    """Read `missiongate.toml` of a home directory, with what flags and the environment put before it.

    Raises:
        ConfigurationError: the file is missing, unreadable, no TOML, or something breaks a rule; `problems` has all.
    """
    return validated(Config, config_layers(home, listen=listen, anonymous=anonymous, environ=environ))


def config_layers(
    home: Path,
    *,
    listen: str | None = None,
    anonymous: bool | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Layers:
    """Return what each place says of a home's configuration.

    Raises:
        ConfigurationError: the file is missing, unreadable or no TOML.
    """
    return read_layers(
        Config,
        home / CONFIG_NAME,
        environ=environ,
        flags={"listen": listen, "anonymous": anonymous},
    )

"""Who may come in, as the configuration says it: tokens, TLS, certificates, issuers of tokens, sockets."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AwareDatetime, Field, field_validator, model_validator

from gateway.addresses import is_loopback_host
from gateway.authn.claims import ClaimRules
from gateway.authn.sockets import Socket
from gateway.authn.tokens import TokenEntry
from gateway.identity import Principal
from gateway.section import Section

PORT_MAX: Final = 65_535
_ADDRESS: Final = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):(?P<port>[0-9]{1,5})")
_SPIFFE: Final = re.compile(r"spiffe://[a-z0-9._-]{1,255}(?:/[A-Za-z0-9._-]+)*")
_Tenant = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@:-]{0,127}$")]  # no "/": names are TENANT/SUBJECT
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@:/-]{0,127}$")]
_Claim = Annotated[str, Field(max_length=256)]
_Text = Annotated[str, Field(min_length=1, max_length=512)]


class PrincipalSection(Section):
    """Whom something names."""

    subject: _Name
    tenant: _Tenant = "default"
    roles: list[_Name] = Field(default_factory=list)

    def principal(self) -> Principal:
        """Return it as everything else knows it."""
        return Principal(subject=self.subject, tenant=self.tenant, roles=tuple(self.roles))


class TokenConfig(PrincipalSection):
    """A static bearer token, by its SHA-256: the token itself is in no file of the gateway."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", repr=False)]  # of a token that a person chose it tells much
    expires: AwareDatetime | None = None  # RFC 3339, with its offset

    def entry(self) -> TokenEntry:
        """Return the token as the authenticator wants it."""
        expires: datetime | None = None if self.expires is None else self.expires.astimezone(UTC)
        return TokenEntry(sha256=self.sha256, principal=self.principal(), expires=expires)


class CertificateConfig(PrincipalSection):
    """A client certificate, by its SPIFFE ID, or by the subject of one that has none."""

    spiffe_id: str = ""
    subject_name: Annotated[str, Field(max_length=1_024)] = ""  # RFC 4514: CN=worker,O=Example

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if bool(self.spiffe_id) == bool(self.subject_name):
            raise ValueError("write either spiffe_id or subject_name")
        if self.spiffe_id and (not _SPIFFE.fullmatch(self.spiffe_id) or _has_dots(self.spiffe_id)):
            raise ValueError("spiffe_id: write spiffe://trust-domain/path, without dots as segments")
        return self

    @property
    def name(self) -> str:
        """What the certificate has."""
        return self.spiffe_id or self.subject_name


class SocketConfig(PrincipalSection):
    """A Unix socket, alone in its directory."""

    folder: _Text

    def socket(self, home: Path) -> Socket:
        """Return it for a home."""
        return Socket(folder=home / self.folder, principal=self.principal())


class TlsConfig(Section):
    """TLS of the gateway itself, and what clients' certificates are checked by."""

    cert_file: str = ""
    key_file: str = ""
    client_ca_file: str = ""
    client_crl_file: str = ""
    client_listen: str = ""  # where certificates are wanted; "": where `listen` is
    plain_listen: str = ""  # one more address, of loopback, without TLS
    reload_seconds: Annotated[float, Field(ge=0.1, le=86_400)] = 10.0

    @field_validator("client_listen", "plain_listen")
    @classmethod
    def _are_addresses(cls, address: str) -> str:
        return require_address(address) if address else ""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if bool(self.cert_file) != bool(self.key_file):
            raise ValueError("cert_file and key_file go together")
        rest = (self.client_ca_file, self.client_crl_file, self.client_listen, self.plain_listen)
        if not self.cert_file and any(rest):
            raise ValueError("nothing of it counts without cert_file and key_file")
        if not self.client_ca_file and (self.client_crl_file or self.client_listen):
            raise ValueError("client_crl_file and client_listen need client_ca_file")
        if self.plain_listen and not is_loopback_address(self.plain_listen):
            raise ValueError("plain_listen must be a loopback address: tokens would travel in the clear")
        return self


class IssuerConfig(Section):
    """Somebody whose JSON Web Tokens are accepted, and how they are read."""

    issuer: _Text
    audiences: Annotated[list[_Text], Field(min_length=1, max_length=16)]
    jwks_url: str = ""
    jwks_file: str = ""
    ca_file: str = ""
    algorithms: Annotated[tuple[Literal["EdDSA", "ES256", "RS256"], ...], Field(min_length=1, strict=False)] = (
        "EdDSA",
        "ES256",
        "RS256",
    )
    types: Annotated[tuple[_Text, ...], Field(min_length=1, max_length=8, strict=False)] = ("JWT", "at+jwt")
    subject_claim: Annotated[_Claim, Field(min_length=1)] = "sub"
    subject_prefix: Annotated[str, Field(pattern=r"^(?:[A-Za-z0-9][A-Za-z0-9._@:/-]{0,63})?$")] = ""
    tenant: _Tenant | None = None  # none: "default", or what tenant_claim says
    tenant_claim: _Claim = ""
    tenants: Annotated[list[_Tenant], Field(max_length=1_024)] = Field(default_factory=list)
    roles: Annotated[list[_Name], Field(max_length=64)] = Field(default_factory=list)
    roles_claim: _Claim = ""
    roles_of: Annotated[dict[str, list[_Name]], Field(max_length=1_024)] = Field(default_factory=dict)
    clock_skew_seconds: Annotated[float, Field(ge=0, le=300)] = 60.0
    lifetime_seconds_max: Annotated[float, Field(ge=1, le=31_536_000)] = 86_400.0
    refresh_seconds: Annotated[float, Field(ge=1, le=86_400)] = 300.0
    unknown_key_seconds: Annotated[float, Field(ge=1, le=3_600)] = 30.0
    stale_seconds_max: Annotated[float, Field(ge=1, le=604_800)] = 3_600.0

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if bool(self.jwks_url) == bool(self.jwks_file):
            raise ValueError("write either jwks_url or jwks_file")
        if self.jwks_url and not _is_protected(self.jwks_url):
            raise ValueError("jwks_url must be https://host/path, or http to this machine: whoever answers can let in")
        if bool(self.tenant_claim) != bool(self.tenants):
            raise ValueError("tenant_claim and tenants go together: a claim names one of them, and no other")
        if self.tenant_claim and self.tenant is not None:
            raise ValueError("write either tenant or tenant_claim")
        if bool(self.roles_claim) != bool(self.roles_of):
            raise ValueError("roles_claim and roles_of go together: a value means what roles_of says, or nothing")
        if self.stale_seconds_max < self.refresh_seconds:
            raise ValueError("stale_seconds_max is below refresh_seconds: keys would be too old before they are read")
        return self

    def rules(self) -> ClaimRules:
        """Return how claims are read."""
        return ClaimRules(
            audiences=frozenset(self.audiences),
            skew_seconds=self.clock_skew_seconds,
            lifetime_seconds_max=self.lifetime_seconds_max,
            subject_claim=self.subject_claim,
            subject_prefix=self.subject_prefix,
            tenant=self.tenant or "default",
            tenant_claim=self.tenant_claim,
            tenants=frozenset(self.tenants),
            roles=tuple(self.roles),
            roles_claim=self.roles_claim,
            roles_of={value: tuple(roles) for value, roles in self.roles_of.items()},
        )


def require_address(address: str) -> str:
    """Return `host:port` if it is that.

    Raises:
        ValueError: it is not.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None or int(found["port"]) > PORT_MAX:
        raise ValueError("write host:port, such as 127.0.0.1:7443; port 0 takes a free one")
    return address


def is_loopback_address(address: str) -> bool:
    """Return whether `host:port` is of this machine alone."""
    return is_loopback_host(address.rpartition(":")[0].strip("[]"))


def require_distinct(values: Sequence[str], what: str) -> None:
    """Refuse what would name two principals.

    Raises:
        ValueError: two are the same.
    """
    if len(set(values)) < len(values):
        raise ValueError(f"two entries have the same {what}")


def _has_dots(spiffe_id: str) -> bool:
    return any(segment in {".", ".."} for segment in spiffe_id.split("/"))


def _is_protected(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    if not host or port == 0 or parts.username is not None or parts.fragment or not url.isprintable():
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback_host(host))

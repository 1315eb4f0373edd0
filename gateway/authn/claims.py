"""What a token that is signed has to say: for whom, for how long, and whom it names as the configuration reads it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.authn.refusals import Check, bearer_refused
from gateway.identity import Principal

VALUES_MAX: Final = 256  # audiences or roles of one token
ROLES_MAX: Final = 64  # of one principal
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:/|+=-]{0,127}")
_DATE_MAX: Final = 2**40


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRules:
    """How one issuer's claims are read. A claim is named as it stands, or by a JSON pointer that begins with `/`.

    A value that nothing is said of gives nothing: no role, and no tenant.
    """

    audiences: frozenset[str]
    skew_seconds: float = 60.0
    lifetime_seconds_max: float = 86_400.0
    subject_claim: str = "sub"
    subject_prefix: str = ""  # so that two issuers, or a token of the configuration, do not name one subject
    tenant: str = "default"
    tenant_claim: str = ""  # instead of `tenant`
    tenants: frozenset[str] = frozenset()  # which the claim may name
    roles: tuple[str, ...] = ()  # of everybody
    roles_claim: str = ""
    roles_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # what a value of the claim means

    def require_current(self, claims: Mapping[str, Any], now: float) -> tuple[float, float]:
        """Return from when to when a token is good, clock skew included, in Unix seconds.

        Raises:
            UnauthenticatedError: not now, not for us, or for longer than tokens may be good.
        """
        skew = self.skew_seconds
        expires, since, issued = _date(claims, "exp"), _date(claims, "nbf"), _date(claims, "iat")
        if expires is None or now >= expires + skew:
            raise bearer_refused(Check.JWT_EXPIRED)
        begins = max((each for each in (since, issued) if each is not None), default=now)
        if begins > now + skew:
            raise bearer_refused(Check.JWT_NOT_YET)
        if expires - (issued if issued is not None else now) > self.lifetime_seconds_max + skew:
            raise bearer_refused(Check.JWT_LIFETIME)
        if not self.audiences & set(_texts(claims.get("aud"))):
            raise bearer_refused(Check.JWT_AUDIENCE)
        return begins - skew, expires + skew

    def principal(self, claims: Mapping[str, Any]) -> Principal:
        """Return whom a token names.

        Raises:
            UnauthenticatedError: its subject or tenant cannot be had.
        """
        subject = _claim(claims, self.subject_claim)
        if not isinstance(subject, str) or not NAME.fullmatch(name := self.subject_prefix + subject):
            raise bearer_refused(Check.JWT_CLAIMS)
        tenant = self.tenant
        if self.tenant_claim:
            named = _claim(claims, self.tenant_claim)
            if not isinstance(named, str) or named not in self.tenants:
                raise bearer_refused(Check.JWT_CLAIMS)
            tenant = named
        given = _texts(_claim(claims, self.roles_claim)) if self.roles_claim else []
        roles = dict.fromkeys([*self.roles, *(role for value in given for role in self.roles_of.get(value, ()))])
        if len(roles) > ROLES_MAX:
            raise bearer_refused(Check.JWT_CLAIMS)
        return Principal(subject=name, tenant=tenant, roles=tuple(roles))


def _date(claims: Mapping[str, Any], name: str) -> float | None:
    """Return a NumericDate (RFC 7519, 2); None: the claim is not there."""
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _DATE_MAX:
        raise bearer_refused(Check.JWT_FORM)
    return float(value)


def _texts(value: Any) -> list[str]:
    """Return the texts of a claim that is one or a list of them; nothing where it is anything else."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or len(value) > VALUES_MAX:
        return []
    return [each for each in value if isinstance(each, str)]


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """Return a claim, or what a JSON pointer (RFC 6901) leads to in objects; None where there is nothing."""
    if not name.startswith("/"):
        return claims.get(name)
    found: Any = claims
    for token in name[1:].split("/"):
        if not isinstance(found, Mapping):
            return None
        found = found.get(token.replace("~1", "/").replace("~0", "~"))
    return found

"""Verifies JSON Web Tokens of the issuers that are configured, and says whom they name.

1. The form, within its bounds, each part once and one way only. 2. The header: an algorithm of ours, a type that is
expected, nothing that has to be understood and is not. 3. Whose it claims to be: only now is there somebody whose
keys count. 4. The key of that name, for its own algorithm. 5. The signature, over exactly these bytes. 6. Dates and
audience, by the gateway's clock. 7. Whom it names.

Source: RFC 7515, RFC 7519, RFC 8725 (3.1, 3.8, 3.9, 3.11), RFC 9068, 4. PyJWT verifies the signature; dates are ours,
since its own clock cannot be given to it.
"""

import asyncio
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import jwt
from jwt.utils import base64url_decode

from engine.clock import Clock
from engine.errors import MissionInvalidError
from engine.json_text import read_json
from engine.lru import LruCache
from engine.mission import MissionLimits
from gateway.authn.claims import ClaimRules
from gateway.authn.issuer_keys import IssuerKeys
from gateway.authn.jwks import ALGORITHMS, KID_CHARS_MAX, KeySet, VerificationKey
from gateway.authn.refusals import Check, bearer_refused
from gateway.identity import Principal

JWT_BYTES_MAX: Final = 8 * 1024
HEADER_BYTES_MAX: Final = 2 * 1024
CACHED_MAX: Final = 4_096
_FORM: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)")
_LIMITS: Final = MissionLimits(nesting_max=8, values_max=1_000)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Issuer:
    """Somebody whose tokens are accepted."""

    name: str  # `iss`, character by character
    keys: IssuerKeys
    algorithms: frozenset[str] = frozenset(ALGORITHMS)
    types: frozenset[str] = frozenset({"jwt", "at+jwt"})  # in small letters; a token without one is a `jwt`
    claims: ClaimRules


@dataclass(frozen=True, slots=True)
class _Accepted:
    """A token that was good by these keys; what is left to look at is the time."""

    issuer: Issuer
    keys: KeySet
    principal: Principal
    since: float  # Unix seconds, clock skew included
    until: float


class JwtVerifier:
    """Knows the issuers."""

    def __init__(self, issuers: Sequence[Issuer], clock: Clock) -> None:
        self._issuers = {issuer.name: issuer for issuer in issuers}
        self._clock = clock
        self._accepted: LruCache[bytes, _Accepted] = LruCache(CACHED_MAX, CACHED_MAX)
        self._jws = jwt.PyJWS(algorithms=list(ALGORITHMS))

    @property
    def issuers(self) -> tuple[Issuer, ...]:
        """Whose tokens are accepted."""
        return tuple(self._issuers.values())

    def adopt(self, issuers: Sequence[Issuer]) -> None:
        """From now on accept tokens of these issuers and no others; nobody asks for keys of the others any more."""
        gone = [issuer for issuer in self._issuers.values() if issuer not in issuers]
        self._issuers = {issuer.name: issuer for issuer in issuers}
        self._accepted.clear()
        for issuer in gone:
            issuer.keys.stop()

    async def open(self) -> None:
        """Ask for all keys once, side by side; an issuer that is away stops nothing."""
        await asyncio.gather(*(issuer.keys.ask() for issuer in self._issuers.values()))

    async def close(self) -> None:
        """Give up questions that are under way, and ask none any more."""
        await asyncio.gather(*(issuer.keys.close() for issuer in self._issuers.values()))

    async def authenticate(self, token: str) -> Principal:
        """Return whom a token names.

        Raises:
            UnauthenticatedError: it is not good.
            KeysUnavailableError: its issuer's keys are not known, so nobody can say.
        """
        if len(token) > JWT_BYTES_MAX or (parts := _FORM.fullmatch(token)) is None:  # (1)
            raise bearer_refused(Check.JWT_FORM)
        digest = hashlib.sha256(token.encode()).digest()
        if (known := self._known(digest)) is not None:
            return known.principal
        header, claims = _object(parts[1], HEADER_BYTES_MAX), _object(parts[2], JWT_BYTES_MAX)
        algorithm, kid, kind = _read_header(header)  # (2)
        name = claims.get("iss")
        issuer = self._issuers.get(name) if isinstance(name, str) else None  # (3)
        if issuer is None:
            raise bearer_refused(Check.JWT_ISSUER)
        if algorithm not in issuer.algorithms:
            raise bearer_refused(Check.JWT_ALGORITHM)
        if kind not in issuer.types:
            raise bearer_refused(Check.JWT_TYPE)
        key = await issuer.keys.find(kid, algorithm)  # (4): that may take a while
        if self._issuers.get(issuer.name) is not issuer:
            raise bearer_refused(Check.JWT_ISSUER)
        if key is None:
            raise bearer_refused(Check.JWT_KEY)
        self._require_signed(token, key)  # (5)
        since, until = issuer.claims.require_current(claims, self._clock.now().timestamp())  # (6)
        principal = issuer.claims.principal(claims)  # (7)
        keys = issuer.keys.keys
        if keys is not None:
            self._accepted.put(digest, _Accepted(issuer, keys, principal, since, until), 1)
        return principal

    def _known(self, digest: bytes) -> _Accepted | None:
        """Return what was found out of a token, if keys and time have not changed that."""
        known, now = self._accepted.get(digest), self._clock.now().timestamp()
        if known is None or known.issuer.keys.current() is not known.keys or not known.since <= now < known.until:
            return None
        return known

    def _require_signed(self, token: str, key: VerificationKey) -> None:
        try:
            self._jws.decode_complete(token, key.key, algorithms=[key.algorithm])
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise bearer_refused(Check.JWT_SIGNATURE) from error


def _read_header(header: dict[str, Any]) -> tuple[str, str, str]:
    """Return algorithm, name of the key or "", and type in small letters without `application/`."""
    algorithm, kid, kind = header.get("alg"), header.get("kid", ""), header.get("typ", "JWT")
    if not isinstance(algorithm, str):
        raise bearer_refused(Check.JWT_ALGORITHM)
    if not isinstance(kid, str) or len(kid) > KID_CHARS_MAX or "crit" in header or "b64" in header:
        raise bearer_refused(Check.JWT_FORM)
    if not isinstance(kind, str):
        raise bearer_refused(Check.JWT_TYPE)
    return algorithm, kid, kind.lower().removeprefix("application/")


def _object(part: str, bytes_max: int) -> dict[str, Any]:
    """Return the JSON object in a part of a token."""
    try:
        raw = base64url_decode(part)
        value = read_json(raw.decode("utf-8"), _LIMITS) if len(raw) <= bytes_max else None
    except (ValueError, MissionInvalidError) as error:
        raise bearer_refused(Check.JWT_FORM) from error
    if not isinstance(value, dict):
        raise bearer_refused(Check.JWT_FORM)
    return value

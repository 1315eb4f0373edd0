"""A set of public keys that tokens are signed with: bytes become keys, each with the one algorithm that it is for.

The algorithm follows from the key, never from the token: EdDSA is Ed25519, ES256 is P-256, RS256 is RSA. What a set
holds beside that, secrets (`oct`) and private keys included, is passed over. Source: RFC 7517, RFC 7518, RFC 8037.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from engine.errors import MissionInvalidError
from engine.json_text import read_json
from engine.mission import MissionLimits

SET_BYTES_MAX: Final = 256 * 1024
KEYS_MAX: Final = 100
KID_CHARS_MAX: Final = 256
RSA_BITS: Final = range(2_048, 8_193)
ALGORITHMS: Final = ("EdDSA", "ES256", "RS256")
_LIMITS: Final = MissionLimits(nesting_max=8, values_max=4_000)
_KINDS: Final[Mapping[tuple[Any, Any], str]] = MappingProxyType(
    {("OKP", "Ed25519"): "EdDSA", ("EC", "P-256"): "ES256", ("RSA", None): "RS256"}  # (kty, crv)
)
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]+")
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


class KeySetError(Exception):
    """What was read is no set of keys that anything can be verified with."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key. `kid` is "" where the set gives it no name."""

    kid: str
    algorithm: str
    key: PublicKey


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of one issuer at one time."""

    keys: tuple[VerificationKey, ...]

    @classmethod
    def parse(cls, raw: bytes) -> "KeySet":
        """Return the keys of a JWK Set that are for one of our algorithms.

        Raises:
            KeySetError: it is none, is too large, has no such key, or two of one name and algorithm.
        """
        if len(raw) > SET_BYTES_MAX:
            raise KeySetError(f"the key set is over {SET_BYTES_MAX} bytes")
        try:
            document = read_json(raw.decode("utf-8"), _LIMITS)
        except (UnicodeDecodeError, MissionInvalidError) as error:
            raise KeySetError("the key set is no JSON, or says something twice") from error
        entries = document.get("keys") if isinstance(document, dict) else None
        if not isinstance(entries, list) or len(entries) > KEYS_MAX:
            raise KeySetError(f"the key set has no list of at most {KEYS_MAX} keys")
        keys = tuple(key for entry in entries if isinstance(entry, dict) and (key := _key(entry)) is not None)
        if not keys:
            raise KeySetError("the key set has no public key for EdDSA, ES256 or RS256")
        if len({(key.kid, key.algorithm) for key in keys}) < len(keys):
            raise KeySetError("the key set has two keys of one name")
        return cls(keys)

    def find(self, kid: str, algorithm: str) -> VerificationKey | None:
        """Return the key of a name for an algorithm; without a name, the only one that the set has for it."""
        fitting = [key for key in self.keys if key.algorithm == algorithm and kid in {"", key.kid}]
        return fitting[0] if len(fitting) == 1 else None


def _key(entry: dict[str, Any]) -> VerificationKey | None:
    """Return the key of an entry; None: it is of another kind, for something else, weak, or damaged (RFC 7517, 5)."""
    kid = entry.get("kid", "")
    kind, curve = entry.get("kty"), entry.get("crv")
    if not isinstance(kind, str) or not isinstance(curve, str | None):
        return None
    algorithm = _KINDS.get((kind, curve))
    if algorithm is None or not isinstance(kid, str) or len(kid) > KID_CHARS_MAX:
        return None
    if "d" in entry or entry.get("alg", algorithm) != algorithm or entry.get("use", "sig") != "sig":
        return None
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    numbers = [entry[name] for name in ("x", "y", "n", "e") if name in entry]
    if not all(isinstance(each, str) and _BASE64URL.fullmatch(each) for each in numbers):
        return None
    try:
        key = jwt.PyJWK(entry, algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    if isinstance(key, rsa.RSAPublicKey):
        fits = key.key_size in RSA_BITS and key.public_numbers().e >= 65_537  # noqa: PLR2004 - F4, FIPS 186-5, 5.4
    else:
        fits = isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey)
    return VerificationKey(kid, algorithm, key) if fits else None

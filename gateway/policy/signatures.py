"""OPA's bundle signatures: `.signatures.json` verified against configured keys, and made.

One JWT names every file of the bundle with its hash. It is verified in this order:

1. the file has one token, for OPA's own verifier and no plugin;
2. the token's key id, `kid` of its header or else its claim `keyid`, names a configured key; a token that names none is
   tried with each, as `opa sign` names none;
3. the signature holds, with the algorithm that is configured beside the key: what the token says is compared, and
   never chosen by;
4. the claim `scope` is the key's;
5. the claim `files` names each file of the bundle once, with its hash, and no other.

`exp`, `nbf` and `iat` are not judged, as in OPA: what is old is told by a bundle's sequence, not by a clock.

Source: openpolicyagent.org/docs/management-bundles, "Signing"; OPA 1.22's v1/bundle/{verify,sign,hash}.go.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Self, TypeAlias

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from gateway.errors import PolicyInvalidError
from gateway.policy.bundle_parts import MANIFEST, SIGNATURES, check_value, parse_json
from gateway.policy.yaml_data import parse_yaml

Algorithm: TypeAlias = Literal["EdDSA", "ES256", "RS256"]
PublicKey: TypeAlias = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey
PrivateKey: TypeAlias = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

RSA_BITS_MIN: Final = 2048
TOKEN_CHARS_MAX: Final = 1024 * 1024
_HASHES: Final = {"SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512"}  # OPA has weaker ones as well
_HEX: Final = re.compile(r"(?:[0-9a-f]{2}|[0-9A-F]{2})+")
_CLAIMS: Final = ("files", "keyid", "scope", "iat", "iss")  # which OPA reads; Go takes them in any case of letters
_STRUCTURED: Final = frozenset({MANIFEST, "data.json", "data.yaml", "data.yml"})
_OWN_PLUGIN: Final = frozenset({"", "_default"})


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleKey:
    """A public key that bundles may be signed with, for one algorithm and one scope."""

    id: str
    algorithm: Algorithm
    key: PublicKey
    scope: str = ""

    @classmethod
    def from_pem(cls, pem: bytes, *, id: str, algorithm: Algorithm, scope: str = "") -> Self:  # noqa: A002
        """Parse a PEM `PUBLIC KEY`.

        Raises:
            ValueError: no public key, or one that is not for `algorithm`: Ed25519 for EdDSA, P-256 for ES256, RSA of
                2048 bits or more for RS256.
        """
        try:
            key = load_pem_public_key(pem)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise ValueError("is no public key in PEM") from error
        if not isinstance(key, PublicKey) or _algorithm_of(key) != algorithm:
            raise ValueError(f"is no key for {algorithm}")
        return cls(id=id, algorithm=algorithm, key=key, scope=scope)


def _algorithm_of(key: PublicKey | PrivateKey) -> Algorithm | None:
    """Return the one algorithm that a key is for here; None for a curve or a size that is not taken."""
    if isinstance(key, ed25519.Ed25519PublicKey | ed25519.Ed25519PrivateKey):
        return "EdDSA"
    if isinstance(key, ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey):
        return "ES256" if isinstance(key.curve, ec.SECP256R1) else None
    return "RS256" if key.key_size >= RSA_BITS_MIN else None


def verify(files: Mapping[str, bytes], keys: Sequence[BundleKey]) -> str:
    """Return the id of the key that has signed exactly these files.

    Raises:
        PolicyInvalidError: `policy.unsigned`, there is no signature; `policy.bad_signature`, it is of no form, of an
            unknown key, not valid, for another scope, or over other files.
    """
    if SIGNATURES not in files:
        raise PolicyInvalidError("the bundle is not signed", code="policy.unsigned", file=SIGNATURES)
    token = _token(files[SIGNATURES])  # (1)
    key, claims = _claims(token, keys)  # (2), (3)
    scope = claims.get("scope", "")
    if scope != key.scope:  # (4)
        raise _bad(f"is for the scope {scope!r}, and the key {key.id!r} is for {key.scope!r}")
    _check_files({name: content for name, content in files.items() if name != SIGNATURES}, claims.get("files"))  # (5)
    return key.id


def sign(files: Mapping[str, bytes], pem: bytes, *, key_id: str, scope: str = "") -> bytes:
    """Return the `.signatures.json` of these files, which OPA verifies too; one that is among them is left out.

    Args:
        files: content by name, as `bundle_files` reads them.
        pem: a private key without a passphrase: Ed25519, P-256, or RSA of 2048 bits or more.
        key_id: under which verifiers have the public key.
        scope: what the signature is good for; "" is OPA's default.

    Raises:
        ValueError: no such key.
        PolicyInvalidError: a file cannot be hashed: it is no JSON.
    """
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ValueError("is no private key in PEM, or needs a passphrase") from error
    if not isinstance(key, PrivateKey) or (algorithm := _algorithm_of(key)) is None:
        raise ValueError("is no key for EdDSA, ES256 or RS256")
    listed = [
        {"name": name, "hash": _hash("SHA-256", name, content), "algorithm": "SHA-256"}
        for name, content in sorted(files.items())
        if name != SIGNATURES
    ]
    claims: dict[str, Any] = {"files": listed, "keyid": key_id} | ({"scope": scope} if scope else {})
    token = jwt.encode(claims, key, algorithm=algorithm, headers={"kid": key_id})
    return json.dumps({"signatures": [token]}, indent=1).encode() + b"\n"


def _bad(why: str) -> PolicyInvalidError:
    return PolicyInvalidError(why, code="policy.bad_signature", file=SIGNATURES)


def _token(content: bytes) -> str:
    try:
        value = parse_json(content, SIGNATURES)
    except PolicyInvalidError as error:
        raise _bad(error.message) from error
    if not isinstance(value, dict) or value.keys() - {"signatures", "plugin"}:
        raise _bad('must be an object with "signatures"')
    if value.get("plugin", "") not in _OWN_PLUGIN:
        raise _bad("names a plugin of OPA's, which there is none of here")
    tokens = value.get("signatures")
    if not isinstance(tokens, list) or len(tokens) != 1 or not isinstance(tokens[0], str):
        raise _bad("must have exactly one signature")
    if len(tokens[0]) > TOKEN_CHARS_MAX:
        raise _bad(f"has a signature over {TOKEN_CHARS_MAX} characters")
    token: str = tokens[0]
    return token


def _claims(token: str, keys: Sequence[BundleKey]) -> tuple[BundleKey, dict[str, Any]]:
    """Return the key that a token was signed with, and the claims of it."""
    try:
        named = jwt.get_unverified_header(token).get("kid") or _payload(token).get("keyid")
    except (jwt.InvalidTokenError, ValueError, RecursionError) as error:
        raise _bad("is no token") from error
    candidates = [key for key in keys if key.id == named] if named else list(keys)
    if not candidates:
        raise _bad(f"names the key {str(named)[:128]!r}, which is not configured")
    for key in candidates:
        try:
            jwt.PyJWS().decode(token, key.key, algorithms=[key.algorithm])
        except (jwt.InvalidTokenError, jwt.InvalidKeyError, ValueError, TypeError):
            continue
        return key, _payload(token)
    raise _bad("the signature does not hold" + (f" for the key {named!r}" if named else " for any configured key"))


def _payload(token: str) -> dict[str, Any]:
    """Return a token's claims; they are worth what its signature is."""
    raw = jwt.PyJWS().decode_complete(token, options={"verify_signature": False})["payload"]
    try:
        claims = parse_json(raw, SIGNATURES)
    except PolicyInvalidError as error:
        raise _bad(f"has claims that are no JSON: {error.message}") from error
    if not isinstance(claims, dict):
        raise _bad("has claims that are no object")
    for claim in claims:
        if claim not in _CLAIMS and claim.casefold() in _CLAIMS:
            raise _bad(f"has a claim {claim!r}, which OPA would take for {claim.casefold()!r}")
    for claim in ("keyid", "scope", "iss"):
        if not isinstance(claims.get(claim, ""), str):
            raise _bad(f"has a claim {claim!r} that is no text")
    if type(claims.get("iat", 0)) is not int:
        raise _bad("has a claim 'iat' that is no whole number")
    return claims


def _check_files(files: Mapping[str, bytes], listed: Any) -> None:
    """Compare a bundle's files with those that were signed, both ways."""
    if not isinstance(listed, list):
        raise _bad("has no list of files")
    seen: set[str] = set()
    for entry in listed:
        if not isinstance(entry, dict) or entry.keys() != {"name", "hash", "algorithm"}:
            raise _bad("has a file without exactly name, hash and algorithm")
        name, wanted, algorithm = entry["name"], entry["hash"], entry["algorithm"]
        if not isinstance(name, str) or name in seen:
            raise _bad(f"names the file {str(name)[:255]!r} twice, or by no text")
        seen.add(name)
        if not isinstance(algorithm, str) or algorithm not in _HASHES:
            raise _bad(f"has a hash of {name} by {str(algorithm)[:32]!r}; SHA-256, SHA-384 and SHA-512 are taken")
        if name not in files:
            raise _bad(f"names {name}, which the bundle does not have")
        if not isinstance(wanted, str) or not _HEX.fullmatch(wanted):
            raise _bad(f"has a hash of {name} that is no hexadecimal number")
        if not hmac.compare_digest(_hash(algorithm, name, files[name]), wanted.lower()):
            raise _bad(f"{name} is not the file that was signed")
    if unsigned := sorted(files.keys() - seen):
        raise _bad(f"does not name {unsigned[0]}")


def _hash(algorithm: str, name: str, content: bytes) -> str:
    """Return a file's hash as OPA takes it: of manifest and data by their value, of all others by their bytes."""
    base = name.rpartition("/")[2]
    if base in _STRUCTURED:
        yaml = base in {"data.yaml", "data.yml"}
        value = parse_yaml(content, name) if yaml else parse_json(content, name, numbers_as=_Number)
        check_value(value, name)
        content = _canonical(value).encode()
    return hashlib.new(_HASHES[algorithm], content).hexdigest()


class _Number(str):
    """A number by its text: OPA hashes it as it is written."""

    __slots__ = ()


def _canonical(value: Any) -> str:
    """Return JSON as OPA hashes it: keys sorted, no white space, texts escaped as Go's encoder does without HTML."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{_quoted(key)}:{_canonical(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_canonical, value)) + "]"
    if isinstance(value, _Number):
        return str(value)
    return _quoted(value) if isinstance(value, str) else json.dumps(value)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")

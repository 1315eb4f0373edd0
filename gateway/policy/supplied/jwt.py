"""JSON Web Tokens: decoding and the verification of signatures and claims, as OPA does it.

Source: OPA v1/topdown/tokens.go; RFC 7515, RFC 7519. `io.jwt.decode_verify` needs the constraint `time`: a policy has
no clock here, and its answer would depend on the moment.
"""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from gateway.policy.supplied.encoding import base64url_bytes
from gateway.policy.supplied.jsontext import read
from gateway.policy.supplied.keys import ALGORITHMS, PublicKey, VerificationKey, parse_keys
from gateway.policy.supplied.operands import OperandError, Value, mapping, string, text

_HASHES: Final = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
_CURVES: Final = {"ES256": 256, "ES384": 384, "ES512": 521}  # bits of the key
_NESTED_MAX: Final = 4
_CONSTRAINTS: Final = frozenset({"cert", "secret", "alg", "iss", "aud", "time"})
_SECOND: Final = 1_000_000_000

_Verify = Callable[[PublicKey, bytes, bytes], bool]  # key, signed text, signature


@dataclass(frozen=True, slots=True)
class _Token:
    signed: bytes  # header and payload as they came, with the period
    header: dict[str, Any]
    payload: str  # base64url
    signature: bytes


def decode(value: Value) -> list[Any]:
    """`io.jwt.decode(token)`: header, payload and the signature in hexadecimal; nothing is verified."""
    for _ in range(_NESTED_MAX):
        token = _split(string(value))
        payload = text(base64url_bytes(token.payload))
        if _header_text(token.header, "cty") != "JWT":
            return [token.header, _object(payload), token.signature.hex()]
        value = payload.strip("\"'")
    raise OperandError(f"tokens nested over {_NESTED_MAX} deep")


def verify(algorithm: str) -> Callable[[Value, Value], bool]:
    """Return `io.jwt.verify_<algorithm>(token, key)` for RS, PS, ES and EdDSA: key is PEM, a JWK or a JWK set."""
    matches = _matcher(algorithm)

    def builtin(value: Value, key: Value) -> bool:
        token = _split(string(value))
        keys = parse_keys(string(key))
        alg, kid = _checked_header(token.header)
        return any(matches(one.key, token.signed, token.signature) for one in _candidates(keys, alg, kid))

    return builtin


def verify_secret(algorithm: str) -> Callable[[Value, Value], bool]:
    """Return `io.jwt.verify_<algorithm>(token, secret)` for HS."""

    def builtin(value: Value, secret: Value) -> bool:
        encoded = string(value)
        key = string(secret)
        parts = encoded.split(".")
        if len(parts) != 3:  # noqa: PLR2004 - header, payload, signature; OPA does not look into the header here
            raise OperandError("a token has three sections")
        return _mac_matches(algorithm, key, f"{parts[0]}.{parts[1]}".encode(), base64url_bytes(parts[2]))

    return builtin


def decode_verify(value: Value, constraints: Value) -> list[Any]:
    """`io.jwt.decode_verify(token, constraints)`: whether all holds, header, payload; the latter two only if so."""
    wanted = _constraints(mapping(constraints))
    unverified: list[Any] = [False, {}, {}]
    for _ in range(_NESTED_MAX):
        token = _split(string(value))
        alg, kid = _checked_header(token.header)
        cty = _header_text(token.header, "cty")
        if not _acceptable(token.header) or wanted.get("alg", alg) not in {alg, ""}:
            return unverified
        if not _signature_holds(wanted, token, alg, kid):
            return unverified
        payload = text(base64url_bytes(token.payload))
        if cty.upper() != "JWT":
            claims = _object(payload)
            return [True, token.header, claims] if _claims_hold(wanted, claims) else unverified
        value = payload
    raise OperandError(f"tokens nested over {_NESTED_MAX} deep")


def _split(encoded: str) -> _Token:
    parts = encoded.split(".")
    if len(parts) != 3:  # noqa: PLR2004 - header, payload, signature
        raise OperandError("a token has three sections")
    header = _object(text(base64url_bytes(parts[0])))
    if "enc" in header:
        raise OperandError("an encrypted token")
    return _Token(f"{parts[0]}.{parts[1]}".encode(), header, parts[1], base64url_bytes(parts[2]))


def _object(json_text: str) -> dict[str, Any]:
    value = read(json_text)
    if not isinstance(value, dict):
        raise OperandError("a section of a token is an object")
    return value


def _header_text(header: dict[str, Any], name: str) -> str:
    return string(header.get(name, ""))


def _checked_header(header: dict[str, Any]) -> tuple[str, str]:
    """Return `alg` and `kid` of a header whose known members have the right types."""
    alg, kid, *_ = (_header_text(header, name) for name in ("alg", "kid", "typ", "cty"))
    critical = header.get("crit", [""])
    if not isinstance(critical, list) or not critical or not all(isinstance(one, str) for one in critical):
        raise OperandError("crit: must be a nonempty list of strings")
    return alg, kid


def _acceptable(header: dict[str, Any]) -> bool:
    unknown = header.keys() - {"alg", "kid", "typ", "cty", "crit"}
    return bool(header.get("alg")) and not unknown & set(header.get("crit", ()))


def _candidates(keys: list[VerificationKey], alg: str, kid: str) -> list[VerificationKey]:
    """Return the keys to try: the first of the token's kid alone, where there is one."""
    named = [key for key in keys if kid and key.kid == kid]
    return named[:1] or [key for key in keys if key.alg in {"", alg}]


def _signature_holds(wanted: dict[str, Any], token: _Token, alg: str, kid: str) -> bool:
    if alg == "none":
        return False
    if alg not in ALGORITHMS:
        raise OperandError("the token's alg is none that is known here")
    if "cert" not in wanted:
        if not alg.startswith("HS"):
            return False
        return _mac_matches(alg, wanted["secret"], token.signed, token.signature)
    if alg.startswith("HS"):
        return False
    matches = _matcher(alg, strict=True)
    return any(matches(one.key, token.signed, token.signature) for one in _candidates(wanted["cert"], alg, kid))


def _mac_matches(algorithm: str, secret: str, signed: bytes, signature: bytes) -> bool:
    digest = hmac.new(secret.encode(), signed, getattr(hashlib, f"sha{algorithm[-3:]}")).digest()
    return hmac.compare_digest(digest, signature)


def _matcher(algorithm: str, *, strict: bool = False) -> _Verify:
    """Return the check of one algorithm; `strict` is how `decode_verify` does it, by another library than the rest."""
    if algorithm == "EdDSA":
        return _matches_eddsa
    digest = _HASHES[algorithm[-3:]]
    if algorithm.startswith("ES"):
        bits = _CURVES[algorithm] if strict else None
        return lambda key, signed, signature: _matches_ecdsa(key, signed, signature, digest, bits)
    scheme: padding.AsymmetricPadding = padding.PKCS1v15()
    if algorithm.startswith("PS"):
        salt = padding.PSS.DIGEST_LENGTH if strict else padding.PSS.AUTO
        scheme = padding.PSS(padding.MGF1(digest), salt)
    return lambda key, signed, signature: (
        isinstance(key, rsa.RSAPublicKey) and _holds(lambda: key.verify(signature, signed, scheme, digest))
    )


def _matches_ecdsa(
    key: PublicKey, signed: bytes, signature: bytes, digest: hashes.HashAlgorithm, bits: int | None
) -> bool:
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return False
    if bits is not None and key.key_size != bits:
        raise OperandError("the token's alg is not the one of the key's curve")
    half = len(signature) // 2
    if bits is not None and len(signature) != 2 * ((bits + 7) // 8):
        return False
    r, s = int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
    return _holds(lambda: key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(digest)))


def _matches_eddsa(key: PublicKey, signed: bytes, signature: bytes) -> bool:
    return isinstance(key, ed25519.Ed25519PublicKey) and _holds(lambda: key.verify(signature, signed))


def _holds(check: Callable[[], None]) -> bool:
    try:
        check()
    except InvalidSignature:
        return False
    return True


def _constraints(given: dict[Any, Any]) -> dict[str, Any]:
    """Return the constraints, checked, with the keys of `cert` parsed."""
    if unknown := given.keys() - _CONSTRAINTS:
        raise OperandError(f"unknown token validation constraint: {min(map(str, unknown))}")
    if "time" not in given:
        raise OperandError('decode_verify needs the constraint "time" (ns): there is no clock in a policy')
    time = given["time"]
    if type(time) not in {int, float} or time < 0:
        raise OperandError("token time constraint: must be a number that is not negative")
    out: dict[str, Any] = {name: string(given[name]) for name in given.keys() - {"time"}}
    if "cert" in out:
        out["cert"] = parse_keys(out["cert"])
    if ("cert" in out) == bool(out.get("secret")):
        raise OperandError("one of cert and secret")
    return {**out, "time": Fraction(repr(float(time) / _SECOND))}  # in seconds; rounded as OPA rounds it


def _claims_hold(wanted: dict[str, Any], claims: dict[str, Any]) -> bool:
    if wanted.get("iss") and ("iss" not in claims or string(claims["iss"]) != wanted["iss"]):
        return False
    audience = claims.get("aud")
    if "aud" in claims:
        if wanted.get("aud", "") not in (audience if isinstance(audience, list) else [audience]):
            return False
    elif wanted.get("aud"):
        return False
    if "exp" in claims and wanted["time"] >= _seconds(claims["exp"]):
        return False
    return "nbf" not in claims or wanted["time"] >= _seconds(claims["nbf"])


def _seconds(value: Any) -> Fraction:
    if type(value) not in {int, float}:
        raise OperandError("exp and nbf are numbers")
    return Fraction(repr(value))

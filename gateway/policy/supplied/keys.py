"""Public keys for signatures of tokens: a PEM certificate, a PEM public key, or a JSON Web Key (set).

Source: OPA v1/topdown/tokens.go `parseKeysFromCertOrJWK`. What two libraries could read differently is refused: text
around a PEM block, members of a key that nobody needs for a signature, keys of unusual size.
"""

import re
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from gateway.policy.supplied.encoding import base64url_bytes
from gateway.policy.supplied.jsontext import read
from gateway.policy.supplied.operands import OperandError

PublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

ALGORITHMS: Final = frozenset(
    {f"{family}{bits}" for family in ("HS", "RS", "PS", "ES") for bits in (256, 384, 512)} | {"EdDSA"}
)
RSA_BITS: Final = range(2_048, 8_192 + 1)
_EXPONENTS: Final = frozenset({3, 65_537})
_CURVES: Final = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
_PEM: Final = re.compile(
    r"-----BEGIN (CERTIFICATE|PUBLIC KEY)-----\n"
    r"(?:[A-Za-z0-9+/]{1,76}\n)*[A-Za-z0-9+/]{0,76}={0,2}\n"
    r"-----END \1-----\n?"
)
_MEMBERS: Final = frozenset({"kty", "n", "e", "crv", "x", "y", "alg", "kid", "use"})


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """One key, with what its JSON form says of it; "" where it says nothing."""

    key: PublicKey
    alg: str = ""
    kid: str = ""


def parse_keys(text: str) -> list[VerificationKey]:
    """Return the keys of a certificate, a public key, a JSON Web Key or a set of them.

    Raises:
        OperandError: it is none of those, or not one that is surely read as OPA reads it.
    """
    if "-----BEGIN" in text:
        return [VerificationKey(_usual(_pem(text)))]
    value = read(text)
    if not isinstance(value, dict):
        raise OperandError("is no JSON Web Key")
    keys = value["keys"] if value.keys() == {"keys"} else [value]
    if not isinstance(keys, list) or not keys:
        raise OperandError("a set of JSON Web Keys has a list of at least one")
    return [_jwk(one) for one in keys]


def _pem(text: str) -> Any:
    found = _PEM.fullmatch(text)
    if found is None:
        raise OperandError("is no single PEM certificate or public key")
    try:
        if found[1] == "CERTIFICATE":
            return x509.load_pem_x509_certificate(text.encode()).public_key()
        return load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise OperandError("the PEM block has no key that can be read") from error


def _jwk(value: Any) -> VerificationKey:
    if (
        not isinstance(value, dict)
        or not value.keys() <= _MEMBERS
        or not all(isinstance(v, str) for v in value.values())
    ):
        raise OperandError(f"a JSON Web Key has these members here, all strings: {', '.join(sorted(_MEMBERS))}")
    alg, kid = value.get("alg", ""), value.get("kid", "")
    if ("alg" in value and alg not in ALGORITHMS) or ("use" in value and value["use"] not in {"sig", "enc"}):
        raise OperandError("a JSON Web Key for something else than signatures of tokens")
    try:
        return VerificationKey(_usual(_jwk_key(value)), alg, kid)
    except (KeyError, ValueError) as error:
        raise OperandError("is no public JSON Web Key") from error


def _jwk_key(value: dict[str, str]) -> PublicKey:
    kty = value["kty"]
    if kty == "RSA":
        return rsa.RSAPublicNumbers(_number(value["e"]), _number(value["n"])).public_key()
    if kty == "EC":
        curve = _CURVES[value["crv"]]
        size = (curve.key_size + 7) // 8
        if any(len(base64url_bytes(value[name])) != size for name in ("x", "y")):
            raise OperandError("a coordinate of unusual length")
        return ec.EllipticCurvePublicNumbers(_number(value["x"]), _number(value["y"]), curve).public_key()
    if kty == "OKP" and value["crv"] == "Ed25519":
        return ed25519.Ed25519PublicKey.from_public_bytes(_bytes(value["x"]))
    raise OperandError("a JSON Web Key of a kind that is not read here")


def _bytes(value: str) -> bytes:
    if "=" in value:
        raise OperandError("a member of a JSON Web Key has no padding")
    return base64url_bytes(value)


def _number(value: str) -> int:
    return int.from_bytes(_bytes(value), "big")


def _usual(key: Any) -> PublicKey:
    """Return a key of a usual kind and size; Go refuses small RSA keys, and OpenSSL large ones."""
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        if key.key_size not in RSA_BITS or key.key_size % 8 or numbers.e not in _EXPONENTS or not numbers.n % 2:
            raise OperandError("an RSA key of unusual size or exponent")
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in {"secp256r1", "secp384r1", "secp521r1"}:
        return key
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    raise OperandError("a key of a kind that is not read here")

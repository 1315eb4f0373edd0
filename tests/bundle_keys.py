"""Keys that bundles are signed with in tests: one of each algorithm, made anew for each run."""

from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from gateway.policy.signatures import BundleKey

Algorithm: TypeAlias = Literal["EdDSA", "ES256", "RS256"]
ALGORITHMS: tuple[Algorithm, ...] = ("EdDSA", "ES256", "RS256")


def pair(algorithm: Algorithm, which: int = 0) -> tuple[bytes, bytes]:
    """Return (private, public) PEM; `which` tells keys of one algorithm apart."""
    return _pair(algorithm, which)


@cache
def _pair(algorithm: Algorithm, which: int) -> tuple[bytes, bytes]:
    del which
    key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    if algorithm == "EdDSA":
        key = ed25519.Ed25519PrivateKey.generate()
    elif algorithm == "ES256":
        key = ec.generate_private_key(ec.SECP256R1())
    else:
        key = rsa.generate_private_key(65537, 2048)
    return pem_of(key)


def pem_of(
    key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
) -> tuple[bytes, bytes]:
    """Return (private, public) PEM of a key."""
    return (
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    )


def key(algorithm: Algorithm = "EdDSA", id: str = "k1", scope: str = "", which: int = 0) -> BundleKey:  # noqa: A002
    """Return the public key as it would be configured."""
    return BundleKey.from_pem(pair(algorithm, which)[1], id=id, algorithm=algorithm, scope=scope)


def write_pair(folder: Path, algorithm: Algorithm) -> tuple[Path, Path]:
    """Write both halves to files, for OPA's command line."""
    private, public = folder / f"{algorithm}.key", folder / f"{algorithm}.pub"
    private.write_bytes(pair(algorithm)[0])
    public.write_bytes(pair(algorithm)[1])
    return private, public

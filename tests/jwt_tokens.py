"""Keys, certificates and tokens of every algorithm, and what may be wrong with them."""

import base64
import datetime as dt
import hashlib
import hmac
import json
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

SECRET = "a secret of some length, é"  # noqa: S105 - of a test
HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
ALGORITHMS = [f"{family}{bits}" for family in ("HS", "RS", "PS", "ES") for bits in HASHES] + ["EdDSA"]


@cache
def key(algorithm: str) -> Any:
    """Return the private key for an algorithm."""
    if algorithm.startswith(("RS", "PS")):
        return (
            rsa.generate_private_key(public_exponent=65_537, key_size=2_048) if algorithm == "RS256" else key("RS256")
        )
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(
        {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}[algorithm]
    )


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def sign(algorithm: str, signed: bytes) -> bytes:
    """Return a signature as JWS has it."""
    if algorithm.startswith("HS"):
        return hmac.new(SECRET.encode(), signed, getattr(hashlib, f"sha{algorithm[2:]}")).digest()
    private = key(algorithm)
    if algorithm == "EdDSA":
        return bytes(private.sign(signed))
    digest = HASHES[algorithm[2:]]
    if algorithm.startswith("RS"):
        return bytes(private.sign(signed, padding.PKCS1v15(), digest))
    if algorithm.startswith("PS"):
        return bytes(private.sign(signed, padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH), digest))
    size = (private.key_size + 7) // 8
    return b"".join(n.to_bytes(size, "big") for n in decode_dss_signature(private.sign(signed, ec.ECDSA(digest))))


def token(algorithm: str, claims: Any, **header: Any) -> str:
    """Return a signed token."""
    head = b64(json.dumps({"alg": algorithm, "typ": "JWT", **header}).encode())
    body = b64(claims if isinstance(claims, bytes) else json.dumps(claims).encode())
    return f"{head}.{body}.{b64(sign(algorithm, f'{head}.{body}'.encode()))}"


def pem(algorithm: str) -> str:
    return key(algorithm).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def certificate(algorithm: str) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder(name, name, key(algorithm).public_key(), 7, start, start.replace(year=2040))
    digest = None if algorithm == "EdDSA" else hashes.SHA256()
    return builder.sign(key(algorithm), digest).public_bytes(Encoding.PEM).decode()


def jwk(algorithm: str, **more: str) -> dict[str, str]:
    public = key(algorithm).public_key()
    if algorithm == "EdDSA":
        raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return {"kty": "OKP", "crv": "Ed25519", "x": b64(raw), **more}
    numbers = public.public_numbers()
    if algorithm.startswith("ES"):
        size = (public.key_size + 7) // 8
        curve = {256: "P-256", 384: "P-384", 521: "P-521"}[public.key_size]
        return {
            "kty": "EC",
            "crv": curve,
            "x": b64(numbers.x.to_bytes(size, "big")),
            "y": b64(numbers.y.to_bytes(size, "big")),
            **more,
        }
    return {"kty": "RSA", "n": b64(numbers.n.to_bytes(256, "big")), "e": b64(numbers.e.to_bytes(3, "big")), **more}


def damaged(text: str) -> list[str]:
    """Return tokens near a good one."""
    head, body, signature = text.split(".")
    return [
        text,
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{text}.x",
        f"{head}.{body}.{signature[:-2]}",
        f"{head}.{body}.{signature[:-4]}AAAA",
        f"{head}.{body}.{signature}=",
        f"{head}.{b64(b'{}')}.{signature}",
        f"{b64(b'{}')}.{body}.{signature}",
        f"{b64(b'[]')}.{body}.{signature}",
        f"{b64(json.dumps({'alg': 'none'}).encode())}.{body}.",
        f"{b64(json.dumps({'alg': 'HS256', 'enc': 'x'}).encode())}.{body}.{signature}",
        f"{b64(b'{')}.{body}.{signature}",
        f"{head}.{b64(bytes([0xFF]))}.{signature}",
        f"{head}!.{body}.{signature}",
        "",
        "..",
        "é.é.é",
    ]


NOW = 1_800_000_000
CLAIMS = {"iss": "me", "aud": "you", "exp": NOW + 10, "nbf": NOW - 10, "n": [1, 0.5, None], "s": "é"}


def keys(algorithm: str) -> list[str]:
    """Return the forms in which a public key is given, good and bad."""
    other = jwk("ES256" if algorithm != "ES256" else "ES384", kid="other")
    return [
        pem(algorithm),
        certificate(algorithm),
        json.dumps(jwk(algorithm)),
        json.dumps({"keys": [other, jwk(algorithm, kid="k1", alg=algorithm)]}),
        json.dumps({"keys": [jwk(algorithm, kid="k1", alg="HS256"), jwk(algorithm, kid="k2")]}),
        json.dumps({"keys": [other]}),
        pem("ES256" if algorithm != "ES256" else "ES384"),
        pem(algorithm) + "x",
        "x" + pem(algorithm),
        pem(algorithm).strip(),
        pem(algorithm).replace("PUBLIC", "PRIVATE"),
        "{}",
        '{"keys": []}',
        "",
    ]


def verify_calls(algorithm: str) -> list[list[Any]]:
    """Return operands of `io.jwt.verify_<algorithm>`."""
    good = token(algorithm, CLAIMS)
    if algorithm.startswith("HS"):
        return [[text, SECRET] for text in damaged(good)] + [[good, "other"], [good, ""], [good, 1], [1, SECRET]]
    named = [token(algorithm, CLAIMS, kid=kid) for kid in ("k1", "k2", "k3", "other")]
    odd = [token(algorithm, CLAIMS, kid=1), token(algorithm, CLAIMS, crit=[]), token(algorithm, CLAIMS, cty="JWT")]
    calls = [[text, pem(algorithm)] for text in damaged(good)]
    calls += [[text, public] for text in [good, *named] for public in keys(algorithm)]
    calls += [[text, pem(algorithm)] for text in odd]
    calls += [[token(other, CLAIMS), pem(algorithm)] for other in ALGORITHMS if other != algorithm]
    return [*calls, [good, 1], [1, pem(algorithm)]]


def decode_calls() -> list[list[Any]]:
    """Return operands of `io.jwt.decode`."""
    good = token("HS256", CLAIMS)
    bodies = [
        b"[]",
        b'"x"',
        b'{"a":1,"a":2}',
        b'{"a":"\\ud800"}',
        b'{"a":12345678901234567890123}',
        b'{"a":1.50}',
        b'{"a":1e3}',
        b"{} x",
    ]
    nested = [token("HS256", good.encode(), cty=cty) for cty in ("JWT", "jwt", "x")] + [
        token("HS256", f'"{good}"'.encode(), cty="JWT")
    ]
    return [[text] for text in [*damaged(good), *nested, *(token("HS256", body) for body in bodies), 1, None]]


def decode_verify_calls() -> list[list[Any]]:
    """Return operands of `io.jwt.decode_verify`; each has a `time`, without which only OPA answers."""
    time = NOW * 1_000_000_000
    calls: list[list[Any]] = []
    for algorithm in ALGORITHMS:
        how = {"secret": SECRET} if algorithm.startswith("HS") else {"cert": pem(algorithm)}
        base = {**how, "time": time, "iss": "me", "aud": "you"}
        good = token(algorithm, CLAIMS)
        calls += [[text, base] for text in damaged(good)]
        calls += [[token(other, CLAIMS), base] for other in ALGORITHMS]
        calls += [[good, {**base, "alg": other}] for other in (algorithm, "", "HS256", "RS256")]
    how = {"secret": SECRET, "time": time}
    constraints: list[Any] = [
        {**how, "aud": "you", **more}
        for more in (
            {},
            {"iss": "you"},
            {"iss": ""},
            {"iss": 1},
            {"time": 0},
            {"time": -1},
            {"time": "1"},
            {"x": 1},
            {"alg": 1},
        )
    ]
    constraints += [{**how, "aud": "you", "time": (NOW + shift) * 10**9} for shift in (-11, -10, 9, 10, 11)]
    constraints += [
        {**how, "aud": "you", "time": (NOW + 10) * 10**9 - 1},
        {"time": time},
        {**how, "cert": pem("ES256")},
    ]
    constraints += [how, {"secret": "", "time": time}, 1, None]
    calls += [[token("HS256", CLAIMS), one] for one in constraints]
    for change in (
        {"aud": ["you", 1]},
        {"aud": []},
        {"aud": 1},
        {"aud": ""},
        {"iss": 1},
        {"exp": "1"},
        {"exp": NOW + 0.5},
        {"exp": NOW},
        {"nbf": NOW},
        {"nbf": None},
    ):
        text = token("HS256", {**CLAIMS, **change})
        calls += [[text, {**how, "aud": "you"}], [text, how]]
        if "iss" not in change:  # OPA 1.22.0 breaks off the connection over an issuer that is no string
            calls.append([text, {**how, "aud": "you", "iss": "me"}])
    inner = token("HS256", CLAIMS)
    calls += [[token("HS256", inner.encode(), cty=cty), {**how, "aud": "you"}] for cty in ("JWT", "jwt", "x")]
    calls += [
        [token("HS256", CLAIMS, crit=crit, **more), {**how, "aud": "you"}]
        for crit in (["b"], ["c"], [], "b")
        for more in ({}, {"b": 1})
    ]
    sets = [{"cert": public, "time": time, "aud": "you"} for public in keys("RS256")]
    return calls + [[token("RS256", CLAIMS, kid=kid), one] for kid in ("k1", "k2", "k3") for one in sets]

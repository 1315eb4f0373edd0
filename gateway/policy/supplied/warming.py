"""Makes the libraries behind supplied builtins load what they load late, while they still may.

A policy worker is locked down once its engine is built: a library that opens its configuration at its first signature
would be ended by the kernel for it. The zygote calls this before it forks any.
"""

from typing import Final

import regorus
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.policy.supplied import digests, jwt, keys

# regorus counts the processors when it first keeps a compiled pattern.
_PATTERNS: Final = (
    'regex.match("a", "a")',
    'regex.replace("a", "a", "b")',
    'regex.find_n("a", "a", 1)',
    'regex.find_all_string_submatch_n("a", "a", 1)',
    'regex.is_valid("a")',
    'glob.match("a", [], "a")',
)
_CURVES: Final = {256: ec.SECP256R1(), 384: ec.SECP384R1(), 512: ec.SECP521R1()}
_SIGNATURES: Final = {"ES384": 128, "ES512": 176, **{f"{name}{bits}": 342 for name in ("RS", "PS") for bits in _CURVES}}
_MODULUS: Final = (1 << 2_047) | 1  # no key, but of the size of one
# A certificate of the private key 1, which nobody trusts.
_CERTIFICATE: Final = """\
-----BEGIN CERTIFICATE-----
MIIBDDCBs6ADAgECAgEBMAoGCCqGSM49BAMCMA8xDTALBgNVBAMMBHdhcm0wIBcN
MjYwMTAxMDAwMDAwWhgPMjEyNjAxMDEwMDAwMDBaMA8xDTALBgNVBAMMBHdhcm0w
WTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARrF9Hy4SxCR/i85uVjpEDydwN9gS3r
M6D0oTlF2JjClk/jQuL+Gn+bjufrSnwPnhYrzjNXazFezsu2QGg3v1H1MAoGCCqG
SM49BAMCA0gAMEUCIDegF4g/uZ2mtGi7nzMdXvTfaMt9TqbSEXayNzalZuaoAiEA
7NI9zjiwBGIACYKNVIaz8O59pUGnU8zUysSIVUV4wPU=
-----END CERTIFICATE-----
"""


def warm() -> None:
    """Match a pattern, read a certificate, make each digest, look at one false signature of each algorithm."""
    for query in _PATTERNS:
        regorus.Engine().eval_query_as_json(query)
    keys.parse_keys(_CERTIFICATE)
    for algorithm, public in _keys():
        text = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        signature = "A" * _SIGNATURES.get(algorithm, 86)
        token = f"eyJhbGciOiJub25lIn0.e30.{signature}"
        jwt.verify(algorithm)(token, text)
        jwt.decode_verify(token, {"cert": text, "time": 0})
    for name in ("md5", "sha1", "sha256", "sha512"):
        digests.mac(name)("", "")
        digests.digest(name)("")


def _keys() -> list[tuple[str, keys.PublicKey]]:
    out: list[tuple[str, keys.PublicKey]] = []
    for bits, curve in _CURVES.items():
        rsa_key = rsa.RSAPublicNumbers(65_537, _MODULUS).public_key()
        out += [(f"RS{bits}", rsa_key), (f"PS{bits}", rsa_key)]
        out.append((f"ES{bits}", ec.derive_private_key(1, curve).public_key()))
    return [*out, ("EdDSA", ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key())]

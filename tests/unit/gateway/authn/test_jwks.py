"""Key sets."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from gateway.authn.jwks import KEYS_MAX, SET_BYTES_MAX, KeySet, KeySetError
from tests.tokens_of_issuers import jwk, new_key

ES, ED, RS = (jwk(each, new_key(each), each.lower()) for each in ("ES256", "EdDSA", "RS256"))


def parsed(*entries: Any) -> KeySet:
    return KeySet.parse(json.dumps({"keys": entries}).encode())


def test_each_key_is_for_one_algorithm() -> None:
    """That of its kind, whatever a token would like."""
    keys = parsed(ES, ED, RS)
    assert [(key.kid, key.algorithm) for key in keys.keys] == [
        ("es256", "ES256"), ("eddsa", "EdDSA"), ("rs256", "RS256"),
    ]  # fmt: skip
    assert keys.find("es256", "RS256") is None
    assert keys.find("es256", "ES256") is keys.keys[0]


def test_a_token_without_a_name_has_the_only_key() -> None:
    """With two that would fit, it has none."""
    assert parsed(ES, ED).find("", "ES256") is not None
    assert parsed(ES, {**jwk("ES256", new_key("ES256")), "kid": "two"}).find("", "ES256") is None


def small() -> dict[str, Any]:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=1_024)  # noqa: S505 - to be refused
    return dict(RSAAlgorithm.to_jwk(key.public_key(), as_dict=True))


@pytest.mark.parametrize(
    "entry",
    [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "s", "alg": "HS256"},
        {**ES, "alg": "RS256"},
        {**RS, "alg": "PS256"},
        {**ES, "use": "enc"},
        {**ES, "key_ops": ["encrypt"]},
        {**ES, "d": "AAAA"},
        {**ES, "x": ES["y"]},
        {**ES, "x": ES["x"] + "="},
        {**ES, "x": 7},
        {**ES, "kid": 7},
        {**ES, "kty": ["EC"]},
        {**ES, "crv": {}},
        {**RS, "e": "AQ"},
        dict(ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP384R1()).public_key(), as_dict=True)),
        small(),
        "text",
    ],
)
def test_what_is_not_for_us_is_passed_over(entry: Any) -> None:
    """Secrets, private keys, other curves, weak or damaged ones; the others of the set still count."""
    assert parsed(entry, ED).keys == parsed(ED).keys
    with pytest.raises(KeySetError, match="no public key"):
        parsed(entry)


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"[]", b"{}", b'{"keys":{}}', b'{"keys":[]}', b"\xff", b'{"keys":[],"keys":[]}',
        b'{"keys":[' + b"[" * 100 + b"]" * 100 + b"]}", b" " * (SET_BYTES_MAX + 1),
        json.dumps({"keys": [{}] * (KEYS_MAX + 1)}).encode(), json.dumps({"keys": [ES, ES]}).encode(),
    ],
)  # fmt: skip
def test_what_is_no_set_is_refused(raw: bytes) -> None:
    """As a whole, so that what was known stays; two keys of one name are not told apart."""
    with pytest.raises(KeySetError):
        KeySet.parse(raw)

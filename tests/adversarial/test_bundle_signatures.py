import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from gateway.errors import PolicyInvalidError
from gateway.policy.bundle import Bundle
from gateway.policy.signatures import BundleKey, sign, verify
from tests.bundle_hashes import FILES as VECTORS
from tests.bundle_hashes import HASHES
from tests.bundle_keys import ALGORITHMS, Algorithm, key, pair, pem_of

FILES = {".manifest": b'{"revision": "r1"}', "data.json": b'{"a": [1.0, 2]}', "x.rego": b"package gateway.step\n"}
KEYS = [key("EdDSA", "ed"), key("ES256", "es"), key("RS256", "rs")]
IDS: dict[Algorithm, str] = {"EdDSA": "ed", "ES256": "es", "RS256": "rs"}


def listed(files: Mapping[str, bytes] = FILES, algorithm: str = "SHA-256") -> list[dict[str, str]]:
    """Return what a signature over these files names, by the implementation under test."""
    token = json.loads(sign(files, pair("EdDSA")[0], key_id="x"))["signatures"][0]
    names: list[dict[str, str]] = json.loads(_decode(token.split(".")[1]))["files"]
    return [{**entry, "algorithm": algorithm} for entry in names]


def token(claims: Any, algorithm: Algorithm = "EdDSA", headers: dict[str, Any] | None = None, which: int = 0) -> str:
    """Return a token that is signed as it says, over claims that may be of any form."""
    raw = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    headers = {"kid": IDS[algorithm]} if headers is None else headers
    return jwt.PyJWS().encode(raw, load_pem_private_key(pair(algorithm, which)[0], None), algorithm, headers)


def signatures(token: Any) -> bytes:
    return json.dumps({"signatures": [token]}).encode()


def refusal(content: bytes, files: Mapping[str, bytes] = FILES, keys: list[BundleKey] = KEYS) -> PolicyInvalidError:
    with pytest.raises(PolicyInvalidError) as caught:
        verify({**files, ".signatures.json": content}, keys)
    return caught.value


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_good_signature_names_its_key(algorithm: Algorithm) -> None:
    """What the attacks below change was good before: ours, and one that the test has put together by hand."""
    signed = sign(FILES, pair(algorithm)[0], key_id=IDS[algorithm])
    assert verify({**FILES, ".signatures.json": signed}, KEYS) == IDS[algorithm]
    assert (
        verify({**FILES, ".signatures.json": signatures(token({"files": listed()}, algorithm))}, KEYS) == IDS[algorithm]
    )


def test_files_are_hashed_as_opa_hashes_them() -> None:
    """Escapes, order, numbers by their text, YAML: each by OPA's own SHA-256."""
    assert {entry["name"]: entry["hash"] for entry in listed(VECTORS)} == HASHES


def test_a_signature_is_of_the_content_not_of_its_spelling() -> None:
    """Manifest and data are hashed by value, as OPA does; every other file by its bytes."""
    signed = {**FILES, ".signatures.json": sign(FILES, pair("EdDSA")[0], key_id="ed")}
    assert verify({**signed, "data.json": b'{ "a" : [1.0,2] }\n'}, KEYS) == "ed"
    for changed in ({"data.json": b'{"a": [1, 2]}'}, {"x.rego": FILES["x.rego"] + b"\n"}, {".manifest": b"{}"}):
        with pytest.raises(PolicyInvalidError, match="is not the file that was signed"):
            verify({**signed, **changed}, KEYS)


def test_no_algorithm_is_no_signature() -> None:
    """`alg: none`, in every spelling, with and without a signature."""
    payload = _encode(json.dumps({"files": listed()}).encode())
    for alg in ("none", "None", "NONE", "nOnE", "", None):
        for kid in ("ed", "es", "rs", None):
            header = _encode(json.dumps({"alg": alg, "typ": "JWT", **({"kid": kid} if kid else {})}).encode())
            for signature in ("", _encode(bytes(64))):
                assert refusal(signatures(f"{header}.{payload}.{signature}")).code == "policy.bad_signature"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("mac", ["HS256", "HS384", "HS512"])
def test_a_public_key_is_no_shared_secret(algorithm: Algorithm, mac: str) -> None:
    """HMAC over the public key, as PEM, as DER and as raw bytes: the key's own algorithm is the only one tried."""
    public = KEYS[ALGORITHMS.index(algorithm)].key
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for secret in (pair(algorithm)[1], pair(algorithm)[1].strip(), der, der[-32:]):
        header = _encode(json.dumps({"alg": mac, "typ": "JWT", "kid": IDS[algorithm]}).encode())
        signed = f"{header}.{_encode(json.dumps({'files': listed()}).encode())}"
        signature = hmac.new(secret, signed.encode(), {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}[mac])
        assert refusal(signatures(f"{signed}.{_encode(signature.digest())}")).code == "policy.bad_signature"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("named", ALGORITHMS)
def test_a_key_signs_under_its_own_name_only(algorithm: Algorithm, named: Algorithm) -> None:
    """A token that names another key than the one it was signed with is refused."""
    if algorithm != named:
        content = signatures(token({"files": listed()}, algorithm, {"kid": IDS[named]}))
        assert refusal(content).code == "policy.bad_signature"
    content = signatures(token({"files": listed()}, algorithm, {"kid": IDS[algorithm]}, which=1))
    assert "does not hold" in refusal(content).message


def test_another_algorithm_of_the_same_key_is_refused() -> None:
    """RS512 and PS256 with the RSA key that is configured for RS256."""
    private = load_pem_private_key(pair("RS256")[0], None)
    for algorithm in ("RS384", "RS512", "PS256"):
        content = jwt.encode({"files": listed()}, private, algorithm, {"kid": "rs"})
        assert "does not hold" in refusal(signatures(content)).message


def test_an_unknown_key_is_refused() -> None:
    """By `kid`, by `keyid`, and by neither; `kid` goes before `keyid`, as in OPA."""
    assert "not configured" in refusal(signatures(token({"files": listed()}, headers={"kid": "other"}))).message
    assert "not configured" in refusal(signatures(token({"files": listed(), "keyid": "other"}, headers={}))).message
    both = token({"files": listed(), "keyid": "ed"}, headers={"kid": "other"})
    assert "not configured" in refusal(signatures(both)).message
    assert "any configured key" in refusal(signatures(token({"files": listed()}, headers={}, which=1))).message
    nameless = {**FILES, ".signatures.json": signatures(token({"files": listed()}, headers={}))}
    assert verify(nameless, KEYS) == "ed"
    deprecated = {**FILES, ".signatures.json": signatures(token({"files": listed(), "keyid": "ed"}, headers={}))}
    assert verify(deprecated, KEYS) == "ed"


def test_a_key_in_the_token_is_not_used() -> None:
    """`jwk`, `jku`, `x5u`: a token does not bring the key that it is verified with."""
    public = load_pem_private_key(pair("ES256", 1)[0], None).public_key()
    headers = {"jwk": json.loads(jwt.algorithms.ECAlgorithm.to_jwk(public)), "jku": "https://evil.example/jwks.json"}
    for more in ({}, {"kid": "es"}):
        content = token({"files": listed()}, "ES256", {**headers, **more}, which=1)
        assert "does not hold" in refusal(signatures(content)).message


@pytest.mark.parametrize("headers", [{"kid": 5}, {"kid": ["ed"]}, {"kid": "ed", "crit": ["x"], "x": 1}])
def test_an_odd_header_is_refused(headers: dict[str, Any]) -> None:
    """A key id that is no text; an extension that has to be understood and is not."""
    text = json.dumps({"alg": "EdDSA", **headers}).encode()
    signed = f"{_encode(text)}.{_encode(json.dumps({'files': listed()}).encode())}"
    private = load_pem_private_key(pair("EdDSA")[0], None)
    content = f"{signed}.{_encode(private.sign(signed.encode()))}"  # type: ignore[union-attr,call-arg]
    assert refusal(signatures(content)).code == "policy.bad_signature"


LISTS: dict[str, Callable[[list[dict[str, Any]]], Any]] = {
    "no list": lambda _: None,
    "an object": lambda files: {entry["name"]: entry for entry in files},
    "empty": lambda _: [],
    "one left out": lambda files: files[1:],
    "one too many": lambda files: [*files, {**files[0], "name": "more.json"}],
    "one twice": lambda files: [*files, files[0]],
    "one twice, one hash wrong": lambda files: [{**files[0], "hash": "00"}, *files],
    "another hash": lambda files: [{**files[0], "hash": "00" * 32}, *files[1:]],
    "no hash": lambda files: [{**files[0], "hash": ""}, *files[1:]],
    "a short hash": lambda files: [{**files[0], "hash": files[0]["hash"][:32]}, *files[1:]],
    "a hash in other letters": lambda files: [{**files[0], "hash": "g" * 64}, *files[1:]],
    "a hash that is a number": lambda files: [{**files[0], "hash": 0}, *files[1:]],
    "MD5": lambda files: [{**files[0], "algorithm": "MD5", "hash": hashlib.md5(b"").hexdigest()}, *files[1:]],  # noqa: S324
    "SHA-1": lambda files: [{**files[0], "algorithm": "SHA-1"}, *files[1:]],
    "SHA-224": lambda files: [{**files[0], "algorithm": "SHA-224"}, *files[1:]],
    "SHA-512-256": lambda files: [{**files[0], "algorithm": "SHA-512-256"}, *files[1:]],
    "no algorithm": lambda files: [{**files[0], "algorithm": ""}, *files[1:]],
    "an algorithm in a list": lambda files: [{**files[0], "algorithm": ["SHA-256"]}, *files[1:]],
    "a name that is a number": lambda files: [{**files[0], "name": 1}, *files[1:]],
    "a name with a slash": lambda files: [{**files[0], "name": "/" + files[0]["name"]}, *files[1:]],
    "more in an entry": lambda files: [{**files[0], "Hash": files[0]["hash"]}, *files[1:]],
    "no object": lambda files: ["x", *files[1:]],
}


@pytest.mark.parametrize("change", LISTS.values(), ids=LISTS)
def test_a_list_that_is_not_the_bundle_is_refused(change: Callable[[list[dict[str, Any]]], Any]) -> None:
    """Every file is named once with its hash, by a hash that is worth something, and nothing else is."""
    assert refusal(signatures(token({"files": change(listed())}))).code == "policy.bad_signature"


CLAIMS: dict[str, Callable[[], bytes]] = {
    "no JSON": lambda: b"{",
    "a list": lambda: json.dumps(listed()).encode(),
    "not UTF-8": lambda: b'{"files": "\xff"}',
    "a claim twice": lambda: b'{"files": [], "files": %s}' % json.dumps(listed()).encode(),
    "a claim in other letters": lambda: json.dumps({"files": listed(), "Files": []}).encode(),
    "a scope in other letters": lambda: json.dumps({"files": listed(), "SCOPE": ""}).encode(),
    "a scope that is no text": lambda: json.dumps({"files": listed(), "scope": None}).encode(),
    "another scope": lambda: json.dumps({"files": listed(), "scope": "read"}).encode(),
    "a key id that is no text": lambda: json.dumps({"files": listed(), "keyid": 1}).encode(),
    "a time with a fraction": lambda: json.dumps({"files": listed(), "iat": 1.5}).encode(),
    "a time that is a text": lambda: json.dumps({"files": listed(), "iat": "1"}).encode(),
    "deep": lambda: b'{"files": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}


@pytest.mark.parametrize("claims", CLAIMS.values(), ids=CLAIMS)
def test_odd_claims_are_refused(claims: Callable[[], bytes]) -> None:
    """What readers of JSON may take differently is refused though it is signed."""
    assert refusal(signatures(token(claims()))).code == "policy.bad_signature"


FORMS: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "no signatures": b"{}",
    "none": b'{"signatures": []}',
    "two": json.dumps({"signatures": ["a.b.c", "a.b.c"]}).encode(),
    "a number": b'{"signatures": [1]}',
    "a text": b'{"signatures": "a.b.c"}',
    "no token": b'{"signatures": ["x"]}',
    "an empty token": b'{"signatures": [""]}',
    "dots": b'{"signatures": ["..."]}',
    "a plugin": b'{"signatures": ["a.b.c"], "plugin": "kms"}',
    "a plugin that is a number": b'{"signatures": ["a.b.c"], "plugin": 1}',
    "more": b'{"signatures": ["a.b.c"], "Signatures": []}',
    "signatures twice": b'{"signatures": ["a.b.c"], "signatures": ["a.b.c"]}',
    "deep": b"[" * 100_000,
    "long": json.dumps({"signatures": ["a" * (1024 * 1024 + 1)]}).encode(),
}


@pytest.mark.parametrize("content", FORMS.values(), ids=FORMS)
def test_an_odd_signatures_file_is_refused(content: bytes) -> None:
    """One token, for OPA's own verifier, and nothing beside it."""
    assert refusal(content).code == "policy.bad_signature"


def test_every_flipped_bit_of_a_token_is_refused() -> None:
    """In header, claims and signature; Base64's last bits, which mean nothing, may change and then change nothing."""
    good = token({"files": listed()})
    unnoticed = 0
    for at in range(0, len(good), 3):
        changed = good[:at] + chr(ord(good[at]) ^ 1) + good[at + 1 :]
        try:
            verify({**FILES, ".signatures.json": signatures(changed)}, KEYS)
            unnoticed += 1
        except PolicyInvalidError as error:
            assert error.code == "policy.bad_signature"  # noqa: PT017
    assert unnoticed <= 1


def test_a_bundle_of_a_configured_gateway_is_signed_or_refused() -> None:
    """With keys, no signature is a no; without keys, a signature is a no; authors' tools may look away."""
    files = {".manifest": b'{"roots": ["gateway"]}', "data.json": b"{}"}
    signed = {**files, ".signatures.json": sign(files, pair("EdDSA")[0], key_id="ed")}
    assert Bundle.from_files(signed, keys=KEYS).signed_by == "ed"
    assert Bundle.from_files(files).signed_by is None
    assert Bundle.from_files(signed, keys=None).signed_by is None
    for given, keys, code in ((files, KEYS, "policy.unsigned"), (signed, (), "policy.no_key")):
        with pytest.raises(PolicyInvalidError) as caught:
            Bundle.from_files(given, keys=keys)
        assert caught.value.code == code


def test_one_key_of_several_scopes() -> None:
    """The same public key under two ids: each signature counts under the id that it names, for that one's scope."""
    keys = [key("ES256", "prod", "prod"), key("ES256", "test", "test")]
    signed = {**FILES, ".signatures.json": sign(FILES, pair("ES256")[0], key_id="test", scope="test")}
    assert verify(signed, keys) == "test"
    crossed = sign(FILES, pair("ES256")[0], key_id="prod", scope="test")
    assert "scope" in refusal(crossed, keys=keys).message


SHORT = rsa.generate_private_key(65537, 1024)  # noqa: S505 - to be refused
WEAK: dict[str, tuple[bytes, Algorithm]] = {
    "RSA of 1024 bits": (pem_of(SHORT)[1], "RS256"),
    "another curve": (pem_of(ec.generate_private_key(ec.SECP384R1()))[1], "ES256"),
    "Ed448": (
        ed448.Ed448PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "EdDSA",
    ),
    "a private key": (pair("EdDSA")[0], "EdDSA"),
    "a key for another algorithm": (pair("RS256")[1], "ES256"),
    "no key": (b"hello", "RS256"),
    "nothing": (b"", "EdDSA"),
}


@pytest.mark.parametrize(("pem", "algorithm"), WEAK.values(), ids=WEAK)
def test_a_weak_or_wrong_key_is_not_configured(pem: bytes, algorithm: Algorithm) -> None:
    """A key is of the kind that its algorithm needs, and strong enough."""
    with pytest.raises(ValueError, match=r"no public key|no key for"):
        BundleKey.from_pem(pem, id="k", algorithm=algorithm)


def test_weak_keys_do_not_sign() -> None:
    """Nor does what is no private key."""
    for pem in (pem_of(SHORT)[0], pair("EdDSA")[1], b"", b"x"):
        with pytest.raises(ValueError, match=r"no private key|no key for"):
            sign(FILES, pem, key_id="k")

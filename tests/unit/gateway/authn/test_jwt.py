"""JSON Web Tokens: what is accepted, and everything near it that is not."""

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.authn.claims import ClaimRules
from gateway.errors import UnauthenticatedError
from gateway.identity import Principal
from tests.tokens_of_issuers import AUDIENCE, NAME, World, jwk, new_key

MINUTE, HOUR, DAY = 60, 3_600, 86_400


async def refused(world: World, token: str) -> str:
    """Return the check at which a token fails; the client is told the same of all."""
    with pytest.raises(UnauthenticatedError) as caught:
        await world.verifier.authenticate(token)
    assert (caught.value.code, caught.value.message) == ("auth.unauthenticated", "the bearer token is not accepted")
    return caught.value.check


def b64(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
async def test_a_good_token_names_its_principal(algorithm: str) -> None:
    """Of each algorithm; the second time it is not verified again, and still asked nobody but the set."""
    world = World.of(algorithm)
    token = world.token()
    for _ in range(2):
        assert await world.verifier.authenticate(token) == Principal(subject="ann", tenant="default")
    assert world.source.asked == 1


def unsigned(header: Any, claims: Any) -> str:
    return f"{b64(header)}.{b64(claims)}.AAAA"


OURS = {"iss": NAME}


@pytest.mark.parametrize("spelling", ["none", "None", "NONE", ""])
async def test_no_algorithm_is_no_signature(spelling: str) -> None:
    """`alg: none` in every spelling, with and without something in the signature's place."""
    world = World.of()
    body = b64(world.claims())
    for signature in ("", "AAAA"):
        assert await refused(world, f"{b64({'alg': spelling, 'typ': 'JWT'})}.{body}.{signature}") == "jwt_algorithm"


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
async def test_a_public_key_is_no_shared_secret(algorithm: str) -> None:
    """HS256 over the public key, in the forms in which an attacker has it."""
    world = World.of(algorithm)
    public = world.keys[f"k-{algorithm}"][1].public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for secret in (pem, pem.strip(), json.dumps(world.source.entries[0]).encode()):
        signed = f"{b64({'alg': 'HS256', 'kid': f'k-{algorithm}'})}.{b64(world.claims())}"
        mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
        assert await refused(world, f"{signed}.{b64(mac)}") == "jwt_algorithm"


async def test_the_algorithm_is_the_keys_not_the_tokens() -> None:
    """A token that says another than its key is for finds no key; nor does one that the issuer does not use."""
    world = World.of("ES256", "EdDSA")
    signed = jwt.encode(world.claims(), world.keys["k-EdDSA"][1], "EdDSA", headers={"kid": "k-ES256"})
    assert await refused(world, signed) == "jwt_key"
    narrow = World.of("EdDSA", algorithms=frozenset({"RS256"}))
    assert await refused(narrow, narrow.token()) == "jwt_algorithm"


async def test_the_wrong_key_does_not_sign() -> None:
    """Neither under the name of the right one, nor as a key in the token's own header."""
    world, stranger = World.of(), new_key("ES256")
    forged = jwt.encode(world.claims(), stranger, "ES256", headers={"kid": "k-ES256"})
    assert await refused(world, forged) == "jwt_signature"
    for inside in ({"jwk": jwk("ES256", stranger)}, {"jku": "https://evil.example"}, {"x5u": "https://evil.example"}):
        carried = jwt.encode(world.claims(), stranger, "ES256", headers={"kid": "k-ES256", **inside})
        assert await refused(world, carried) == "jwt_signature"


async def test_every_changed_character_is_refused() -> None:
    """Wherever it is, in header, claims or signature; so is a signature that is cut, and a fourth part."""
    world = World.of("EdDSA")
    good = world.token()
    assert await world.verifier.authenticate(good)
    for at in range(0, len(good), 7):
        other = "A" if good[at] != "A" else "B"
        changed = good[:at] + other + good[at + 1 :]
        assert await refused(world, changed)
    for changed in (good[:-4], good + ".x", good + "=", " " + good, good.replace(".", "..", 1), good + "\n"):
        assert await refused(world, changed)


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"aud": "another"}, "jwt_audience"),
        ({"aud": ["another", "third"]}, "jwt_audience"),
        ({"aud": None}, "jwt_audience"),
        ({"aud": {"missiongate": 1}}, "jwt_audience"),
        ({"aud": [AUDIENCE] * 300}, "jwt_audience"),
        ({"iss": "https://login.example/"}, "jwt_issuer"),
        ({"iss": None}, "jwt_issuer"),
        ({"iss": [NAME]}, "jwt_issuer"),
        ({"exp": None}, "jwt_expired"),
        ({"exp": -1}, "jwt_form"),
        ({"exp": "2099-01-01"}, "jwt_form"),
        ({"exp": True}, "jwt_form"),
        ({"exp": 10**15}, "jwt_form"),
        ({"iat": 0, "exp": 10**10}, "jwt_lifetime"),
        ({"iat": None, "exp": 10**10}, "jwt_lifetime"),
        ({"nbf": 10**10}, "jwt_not_yet"),
        ({"iat": 10**10, "exp": 10**10 + 5}, "jwt_not_yet"),
        ({"sub": None}, "jwt_claims"),
        ({"sub": ""}, "jwt_claims"),
        ({"sub": 7}, "jwt_claims"),
        ({"sub": "a b"}, "jwt_claims"),
        ({"sub": "x" * 200}, "jwt_claims"),
        ({"sub": "ann\n"}, "jwt_claims"),
    ],
)
async def test_claims_that_are_not_right(changes: dict[str, Any], check: str) -> None:
    """Signed, and refused all the same."""
    assert await refused(World.of(), World.of().token()) == "jwt_signature"  # the helper's keys are fresh each time
    world = World.of()
    assert await refused(world, world.token(**changes)) == check


async def test_dates_are_the_gateways_with_a_minute_to_spare() -> None:
    """exp, nbf and iat by our clock; a token that was good is refused once it is not, though it is remembered."""
    world = World.of()
    now = int(world.clock.now().timestamp())
    token = world.token(exp=now + 10, nbf=now + 50, iat=now + 59)
    assert await world.verifier.authenticate(token)
    world.clock.pass_(10 + MINUTE - 1)
    assert await world.verifier.authenticate(token)
    world.clock.pass_(1)
    assert await refused(world, token) == "jwt_expired"
    assert await refused(world, world.token(nbf=now + 10 + 2 * MINUTE + 1)) == "jwt_not_yet"


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "application/at+jwt", None])
async def test_types_that_are_expected(kind: str | None) -> None:
    """JWT, at+jwt (RFC 9068), and none, which is a JWT."""
    world = World.of()
    assert await world.verifier.authenticate(world.token(header={"typ": kind}))


@pytest.mark.parametrize("kind", ["secevent+jwt", "dpop+jwt", "logout+jwt", ""])
async def test_a_token_of_another_type_is_not_for_this(kind: str) -> None:
    """Something that the same issuer has signed for another purpose (RFC 8725, 3.11); strict issuers want at+jwt."""
    world = World.of()
    header = b64({"alg": "ES256", "kid": "k-ES256", "typ": kind})
    assert await refused(world, f"{header}.{b64(world.claims())}.AAAA") == "jwt_type"
    strict = World.of(types=frozenset({"at+jwt"}))
    assert await refused(strict, strict.token()) == "jwt_type"


@pytest.mark.parametrize(
    "token",
    [
        "a.b.c",
        "..",
        unsigned([], {}),
        unsigned({"alg": "ES256", "crit": ["b64"], "b64": False}, OURS),
        unsigned({"alg": "ES256", "crit": []}, OURS),
        unsigned({"alg": "ES256", "kid": 7}, OURS),
        unsigned({"alg": "ES256", "kid": "k" * 300}, OURS),
        unsigned(b'{"alg":"ES256","alg":"none"}', OURS),
        unsigned({"alg": "ES256"}, b'{"iss":"https://login.example","iss":"x"}'),
        unsigned({"alg": "ES256"}, b"[" * 500),
        unsigned({"alg": "ES256"}, b"\xff"),
        unsigned({"alg": "ES256", "x": "y" * 3_000}, OURS),
        unsigned({"alg": "ES256"}, {**OURS, "x": "y" * 9_000}),
    ],
)
async def test_what_is_no_token_of_ours(token: str) -> None:
    """Nonsense, what has to be understood and is not, names that stand twice, depth, sizes: no key is asked for."""
    world = World.of()
    assert await refused(world, token) == "jwt_form"
    assert world.source.asked == 0


async def test_claims_become_names_as_the_configuration_says() -> None:
    """Subject with its prefix, tenant and roles through lists: what nothing is said of gives nothing."""
    rules = ClaimRules(
        audiences=frozenset({AUDIENCE}),
        subject_claim="email",
        subject_prefix="corp:",
        tenant_claim="/org/name",
        tenants=frozenset({"red", "blue"}),
        roles=("viewer",),
        roles_claim="/realm~1access/groups",
        roles_of={"mg-admins": ("admin", "auditor"), "mg-users": ("submitter",)},
    )
    world = World.of(rules=rules)
    groups = {"realm/access": {"groups": ["mg-users", "mg-unknown", "admin", 7, "mg-users"]}}
    token = world.token(email="ann@example", org={"name": "red"}, **groups)
    found = await world.verifier.authenticate(token)
    assert found == Principal(subject="corp:ann@example", tenant="red", roles=("viewer", "submitter"))
    for tenant in ("green", "", None, ["red"]):
        assert await refused(world, world.token(email="ann@example", org={"name": tenant})) == "jwt_claims"
    assert await refused(world, world.token(email="ann@example")) == "jwt_claims"


async def test_who_is_no_issuer_any_more_is_refused_at_once() -> None:
    """Also where the token was accepted a moment ago."""
    world = World.of()
    token = world.token()
    assert await world.verifier.authenticate(token)
    world.verifier.adopt([])
    assert await refused(world, token) == "jwt_issuer"

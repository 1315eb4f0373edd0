"""Whatever is sent as a token: it names somebody, or is refused in the same words; nothing else happens."""

import asyncio
import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.authn.jwks import KeySet, KeySetError
from gateway.errors import UnauthenticatedError
from tests.tokens_of_issuers import AUDIENCE, NAME, World

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
HEADERS = st.fixed_dictionaries(
    {}, optional={"alg": JSON | st.just("ES256"), "kid": JSON | st.just("k-ES256"), "typ": JSON, "crit": JSON}
)
CLAIMS = st.fixed_dictionaries({}, optional=dict.fromkeys(("iss", "aud", "sub", "exp", "nbf", "iat", "roles"), JSON))
WORLD = World.of()


def assert_refused(token: str) -> None:
    with pytest.raises(UnauthenticatedError) as caught:
        asyncio.run(WORLD.verifier.authenticate(token))
    assert (caught.value.code, caught.value.message) == ("auth.unauthenticated", "the bearer token is not accepted")


@given(st.text(max_size=200) | st.from_regex(r"\A[A-Za-z0-9_-]{0,60}\.[A-Za-z0-9_-]{0,60}\.[A-Za-z0-9_-]{0,60}\Z"))
def test_no_text_is_a_token(text: str) -> None:
    """Nor anything that has its form."""
    assert_refused(text)


@given(HEADERS, CLAIMS)
def test_no_header_makes_an_unsigned_token_good(header: dict[str, object], claims: dict[str, object]) -> None:
    """Whatever it says of algorithm, key and type, and whatever the claims are."""
    parts = [json.dumps({"iss": NAME, "aud": AUDIENCE, **each}).encode() for each in (header, claims)]
    assert_refused(".".join([*(jwt_part(part) for part in parts), "AAAA"]))


@given(CLAIMS)
def test_signed_claims_of_any_form_name_somebody_or_nobody(claims: dict[str, object]) -> None:
    """An issuer whose claims are odd raises nothing but the refusal."""
    token = WORLD.token(**{**claims, "iss": NAME})
    try:
        found = asyncio.run(WORLD.verifier.authenticate(token))
    except UnauthenticatedError as error:
        if not error.check.startswith("jwt_"):
            raise
    else:
        assert found.tenant == "default"
        assert not found.roles


@given(st.binary(max_size=100) | JSON.map(lambda value: json.dumps({"keys": [value]}).encode()))
def test_no_nonsense_is_a_set_of_keys(raw: bytes) -> None:
    """What a source answers ends in keys of ours, or in the one error."""
    with pytest.raises(KeySetError):
        KeySet.parse(raw)


def jwt_part(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")

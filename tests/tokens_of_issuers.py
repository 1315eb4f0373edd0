"""An issuer of JSON Web Tokens for tests: keys, a key set that can be changed, and tokens, good and nearly so."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

from gateway.authn.claims import ClaimRules
from gateway.authn.issuer_keys import IssuerKeys, KeyTimes
from gateway.authn.jwt import Issuer, JwtVerifier
from gateway.authn.key_sources import KeySourceError
from tests.bundle_worlds import ManualClock

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
NAME = "https://login.example"
AUDIENCE = "missiongate"
TIMES = KeyTimes(refresh_seconds=300, again_seconds=30, stale_seconds_max=3_600)
_RSA = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


def new_key(algorithm: str) -> Any:
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP256R1()) if algorithm == "ES256" else _RSA


def jwk(algorithm: str, key: Any, kid: str = "", **more: Any) -> dict[str, Any]:
    """Return a public key as a set has it."""
    entry: dict[str, Any] = get_default_algorithms()[algorithm].to_jwk(key.public_key(), as_dict=True)
    entry.pop("key_ops", None)
    return {**entry, **({"kid": kid} if kid else {}), **more}


@dataclass
class FakeSource:
    """Gives a key set, or fails; counts how often it was asked."""

    entries: list[dict[str, Any]] = field(default_factory=list)
    fails: bool = False
    asked: int = 0
    name: str = "https://login.example/keys"

    async def read(self) -> bytes:
        self.asked += 1
        if self.fails:
            raise KeySourceError("no connection")
        return json.dumps({"keys": self.entries}).encode()


@dataclass
class World:
    """One issuer and who verifies its tokens."""

    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW))
    source: FakeSource = field(default_factory=FakeSource)
    keys: dict[str, tuple[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, *algorithms: str, rules: ClaimRules | None = None, **issuer: Any) -> "World":
        world = cls()
        for algorithm in algorithms or ("ES256",):
            world.add(f"k-{algorithm}", algorithm)
        world.issuer = Issuer(
            name=NAME,
            keys=IssuerKeys(world.source, TIMES, world.clock),
            claims=rules or ClaimRules(audiences=frozenset({AUDIENCE})),
            **issuer,
        )
        world.verifier = JwtVerifier([world.issuer], world.clock)
        return world

    issuer: Any = None
    verifier: Any = None

    def add(self, kid: str, algorithm: str = "ES256") -> None:
        """Make a key, and put it into the set."""
        self.keys[kid] = (algorithm, new_key(algorithm))
        self.source.entries.append(jwk(algorithm, self.keys[kid][1], kid))

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return good claims, changed; what is None is left out."""
        now = int(self.clock.now().timestamp())
        claims = {"iss": NAME, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 600, **changes}
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, kid: str | None = None, *, header: dict[str, Any] | None = None, **changes: Any) -> str:
        """Return a token that a key of the set has signed."""
        kid = kid or next(iter(self.keys))
        algorithm, key = self.keys[kid]
        payload = json.dumps(self.claims(**changes)).encode()
        return jwt.PyJWS().encode(payload, key, algorithm, headers={"kid": kid, **(header or {})})

"""Supplied builtins where policy really runs: in a worker, after the lockdown, under its limits."""

from collections.abc import AsyncIterator

import orjson
import pytest

from gateway.policy.bundle import Bundle
from gateway.policy.decision import Decision
from gateway.policy.pool import PRELOAD, WorkerPolicy
from gateway.policy.vetting import Module
from gateway.workers.supervisor import Zygote
from tests import jwt_tokens

POLICY = """package gateway.step

import rego.v1

default decision := {"allow": false, "reasons": [{"code": "a", "message": "b", "rule": "c"}]}

decision := {"allow": true, "reasons": []} if {
	[valid, _, claims] := io.jwt.decode_verify(input.token, {"cert": input.key, "time": input.now, "aud": "you"})
	valid
	claims.iss == "me"
	net.cidr_contains("10.0.0.0/8", input.address)
	glob.match(input.pattern, ["."], lower(input.host))
	crypto.sha256(input.host) == input.digest
	semver.compare(input.version, "1.2.0") >= 0
	time.weekday(input.now) == "Friday"
	json.unmarshal(json.marshal({"a": [input.host]})).a == [input.host]
	sprintf("%s:%d", [input.host, 80]) == "A.example.com:80"
	units.parse_bytes("1.5Gi") == 1610612736
	regex.replace(input.version, "[0-9]", "x") == "x.x.x"
}
"""


@pytest.fixture
async def policy() -> AsyncIterator[WorkerPolicy]:
    loaded = Bundle.build(manifest={"roots": ["gateway"]}, data={}, modules=[Module("step.rego", POLICY)])
    zygote = await Zygote.start(PRELOAD)
    policy = WorkerPolicy(zygote, loaded)
    try:
        await policy.start()
        yield policy
    finally:
        await policy.close()
        await zygote.close()


def document(algorithm: str, **more: object) -> bytes:
    good = {
        "token": jwt_tokens.token(algorithm, jwt_tokens.CLAIMS),
        "key": jwt_tokens.certificate(algorithm),
        "now": jwt_tokens.NOW * 10**9,
        "address": "10.1.2.3",
        "pattern": "*.example.com",
        "host": "A.example.com",
        "digest": "",
        "version": "1.2.3",
    }
    return orjson.dumps({**good, **more})


def codes(decision: Decision) -> list[str]:
    return [reason.code for reason in decision.reasons]


@pytest.mark.parametrize("algorithm", ["RS256", "PS384", "ES512", "EdDSA"])
async def test_they_answer_behind_the_lockdown(policy: WorkerPolicy, algorithm: str) -> None:
    """Signatures, networks, digests and texts: a worker that may do nothing but compute can compute them."""
    from hashlib import sha256  # noqa: PLC0415 - named beside its use

    digest = sha256(b"A.example.com").hexdigest()
    found = await policy.decide("step", document(algorithm, digest=digest))
    assert (found.allow, codes(found)) == (True, [])
    denied = await policy.decide("step", document(algorithm, digest=digest, address="11.1.2.3"))
    assert (denied.allow, codes(denied)) == (False, ["a"])


@pytest.mark.parametrize(
    "more",
    [
        {"token": "a\0b"},
        {"token": 1},
        {"token": "x" * 2_000_000},
        {"key": "-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----\n"},
        {"now": -1},
        {"address": "10.0.0.0.1"},
        {"now": None},
        {"token": "a.b.c"},
    ],
    ids=str,
)
async def test_what_they_cannot_take_is_a_deny(policy: WorkerPolicy, more: dict[str, object]) -> None:
    """Operands of the wrong kind, NUL, large numbers and large texts end the decision, and nothing else."""
    pids = policy.pids
    assert codes(await policy.decide("step", document("ES256", **more))) == ["policy.failed"]
    assert policy.pids == pids


@pytest.mark.parametrize(
    "text",
    [b'{"host": ' + b"[" * 3_000 + b"]" * 3_000 + b"}", b'{"host": "\\ud800"}', b'{"host": 1e999}', b"{", b"\xff"],
    ids=["deep", "half a surrogate", "beyond a float", "cut", "no UTF-8"],
)
async def test_hostile_documents_are_denied(policy: WorkerPolicy, text: bytes) -> None:
    """What no gateway would build is a deny with a code, in the worker as well."""
    found = await policy.decide("step", text)
    assert found.allow is False
    assert codes(found)[0] in {"policy.failed", "policy.crashed", "a"}

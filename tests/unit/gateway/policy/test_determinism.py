from pathlib import Path

import pytest

from gateway.policy.determinism import depends_on_more


@pytest.mark.parametrize(
    "call",
    [
        "time.now_ns()",
        "time . now_ns()",
        'time["now_ns"]()',
        'http.send({"url": "x"})',
        "opa.runtime()",
        'uuid.rfc4122("a")',
        'rand.intn("a", 2)',
        'net.lookup_ip_addr("a")',
        "rego.metadata.rule()",
        'io.jwt.decode_verify("a", {})',
        'crypto.x509.parse_and_verify_certificates("a")',
    ],
)
def test_what_depends_on_more_is_found(call: str) -> None:
    """Each builtin whose answer may change for the same input, however it is written."""
    assert depends_on_more(["package a\n\nb := 1\n", f"package c\n\nd := {call}\n"])


@pytest.mark.parametrize(
    "call", ["time.weekday(input.t)", "input.time.rfc3339", 'net.cidr_contains("::/0", input.a)', "input.http.x"]
)
def test_what_depends_on_the_input_is_not(call: str) -> None:
    """Arithmetic on given values, and fields that are named like the builtins' families."""
    assert not depends_on_more([f"package a\n\nb := {call}\n"])


def test_the_default_bundle_may_be_cached() -> None:
    """None of the policies that are shipped looks beyond its documents."""
    policies = Path(__file__).parents[4] / "policies"
    texts = [path.read_text() for path in policies.rglob("*.rego") if not path.name.endswith("_test.rego")]
    assert len(texts) > 5
    assert not depends_on_more(texts)

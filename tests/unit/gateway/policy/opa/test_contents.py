"""What an OPA has loaded, held against the bundle."""

from typing import Any

import orjson
import pytest

from gateway.policy.opa.contents import PARTS_MAX, DifferenceError, compare_policies, data_parts, same

STEP = "package gateway.step\n"
TEST = "package gateway.step_test\n"
MODULES = {"gateway/step.rego": STEP}
TESTS = {"gateway/step_test.rego": TEST}


def policy(name: str, text: str, package: str = "") -> dict[str, Any]:
    """Return one policy as OPA lists it."""
    path = [{"value": part} for part in ("data", *(package or text.split()[1]).split("."))]
    return {"id": name, "raw": text, "ast": {"package": {"path": path}}}


def listed(*policies: dict[str, Any]) -> bytes:
    return orjson.dumps({"result": policies})


STEP_POLICY = policy("home/bundle.tar.gz/gateway/step.rego", STEP)


@pytest.mark.parametrize("prefix", ["", "/", "missiongate/", "a/bundle.tar.gz/"])
def test_a_bundle_that_is_there(prefix: str) -> None:
    """Whatever OPA puts before the names; its packages are known then."""
    body = listed(policy(prefix + "gateway/step.rego", STEP))
    assert compare_policies(body, MODULES, {}) == {("gateway", "step")}


def test_tests_may_be_there_too_byte_for_byte() -> None:
    """An OPA that takes the bundle from its source has loaded them."""
    body = listed(STEP_POLICY, policy("b/gateway/step_test.rego", TEST))
    assert compare_policies(body, MODULES, TESTS) == {("gateway", "step"), ("gateway", "step_test")}


def test_opas_own_policies_are_not_ours() -> None:
    """Who may ask OPA is said in `system.authz`."""
    body = listed(STEP_POLICY, policy("authz.rego", "package system.authz\n"))
    assert compare_policies(body, MODULES, {}) == {("gateway", "step")}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (listed(), "OPA lacks the policy gateway/step.rego"),
        (listed(policy("b/gateway/step.rego", STEP + " ")), "the policy gateway/step.rego is another one"),
        (
            listed(policy("b/gateway/xstep.rego", STEP)),
            "OPA has the policy b/gateway/xstep.rego, and the bundle has not",
        ),
        (
            listed(policy("b/xgateway/step.rego", STEP)),
            "OPA has the policy b/xgateway/step.rego, and the bundle has not",
        ),
        (listed(STEP_POLICY, STEP_POLICY), "OPA has the policy .*, and the bundle has not"),
        (listed(STEP_POLICY, policy("x.rego", "package systems\n")), "OPA has the policy x.rego"),
        (
            listed(STEP_POLICY, policy("b/gateway/step_test.rego", TEST + " ")),
            "OPA has the policy b/gateway/step_test.rego, and the bundle has not",
        ),
        (b"", "OPA's list of policies is none"),
        (b"[]", "OPA's list of policies is none"),
        (b'{"result": null}', "OPA's list of policies is none"),
        (b'{"result": [1]}', "OPA's list of policies is none"),
        (listed({**STEP_POLICY, "raw": 5}), "OPA's list of policies is none"),
        (listed({**STEP_POLICY, "ast": {"package": {"path": [{"value": "data"}]}}}), "OPA's list of policies is none"),
        (listed({**STEP_POLICY, "id": "x", "ast": {"package": {"path": []}}}), "OPA's list of policies is none"),
        (
            listed({**STEP_POLICY, "ast": {"package": {"path": [{"value": "data"}, {}]}}}),
            "OPA's list of policies is none",
        ),
    ],
)
def test_what_is_not_the_bundle(body: bytes, message: str) -> None:
    """One missing, one changed, one too many, or no answer."""
    with pytest.raises(DifferenceError, match=message):
        compare_policies(body, MODULES, TESTS)


def test_a_test_that_could_decide_is_refused() -> None:
    """Rules of a test file in a package of the policy are rules of the policy, for OPA alone."""
    text = "package gateway.step\n\nallow := true\n"
    body = listed(STEP_POLICY, policy("b/gateway/step_test.rego", text))
    with pytest.raises(DifferenceError, match=r"is in the package gateway\.step, in which rules may decide"):
        compare_policies(body, MODULES, {"gateway/step_test.rego": text})


def test_data_is_compared_where_no_rule_can_be() -> None:
    """Below packages key by key, elsewhere as a whole; keys are percent-encoded."""
    document = {"gateway": {"config": {"a": 1}, "step": {"a/b é": 2}}, "x y": []}
    packages = frozenset({("gateway", "step"), ("gateway", "lib", "paths")})
    assert list(data_parts(document, packages)) == [
        ("gateway/config", {"a": 1}),
        ("gateway/step/a%2Fb%20%C3%A9", 2),
        ("x%20y", []),
    ]


def test_data_without_an_address_is_refused() -> None:
    """OPA's paths cannot say an empty key, nor `..`."""
    for key in ("", ".", ".."):
        with pytest.raises(DifferenceError, match="it cannot be compared"):
            list(data_parts({key: 1}, frozenset()))


def test_the_parts_of_data_have_a_maximum() -> None:
    """Each is a request."""
    assert len(list(data_parts({f"k{i}": 1 for i in range(PARTS_MAX)}, frozenset()))) == PARTS_MAX
    with pytest.raises(DifferenceError, match=f"more than {PARTS_MAX} keys"):
        list(data_parts({f"k{i}": 1 for i in range(PARTS_MAX + 1)}, frozenset()))


def test_values_are_the_same_as_json_not_as_python() -> None:
    """1, 1.0 and true differ; the order of keys does not matter."""
    assert same({"a": 1, "b": [None]}, {"b": [None], "a": 1})
    assert not same(1, 1.0)
    assert not same(1, True)
    assert not same([1, 2], [2, 1])

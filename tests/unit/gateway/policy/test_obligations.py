"""Obligations: which a decision may ask for where, and that what cannot be fulfilled is a no."""

import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.policy.decision import Decision, parse_decision
from gateway.policy.engine import ENTRYPOINTS, Entrypoint
from gateway.policy.obligations import FULFILLED, OBLIGATIONS, ApprovalDemand

ROOT = Path(__file__).parents[4]
ASKED: dict[str, Any] = {
    "constraints": {"fuel_max": 1},
    "profile": "fast",
    "require_approval": True,
    "redact": [],  # by entrypoint, below
    "labels": {"a": "b"},
}
ROOTS = {"effect": "/outcome/x"}


def decided(entrypoint: Entrypoint, **obligations: Any) -> Decision:
    answer = orjson.dumps({"allow": True, "reasons": [], **obligations})
    return parse_decision(answer, bundle="sha256:0", entrypoint=entrypoint)


def asked(entrypoint: Entrypoint, name: str) -> Any:
    return [ROOTS.get(entrypoint, "/output/x")] if name == "redact" else ASKED[name]


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
@pytest.mark.parametrize("name", OBLIGATIONS)
def test_an_obligation_is_fulfilled_or_the_yes_is_none(entrypoint: Entrypoint, name: str) -> None:
    """Nothing is passed over: it stands in the decision, or the decision is a no that names it."""
    decision = decided(entrypoint, **{name: asked(entrypoint, name)})
    if name in FULFILLED[entrypoint]:
        assert decision.allow
        assert getattr(decision, name)
    else:
        assert (decision.allow, decision.reasons[0].code) == (False, "policy.obligation_unsupported")
        assert name in decision.reasons[0].message
        assert (decision.require_approval, decision.redact, decision.profile) == (None, (), None)


def test_what_asks_for_nothing_is_no_obligation() -> None:
    """An empty list, an empty object and `false` stand anywhere."""
    for entrypoint in ENTRYPOINTS:
        assert decided(entrypoint, constraints={}, require_approval=False, redact=[], labels={}).allow


def test_a_no_owes_nothing() -> None:
    """It keeps its own reasons, whatever it asks for."""
    answer = b'{"allow":false,"reasons":[{"code":"a.b","message":"c","rule":"d"}],"require_approval":true}'
    decision = parse_decision(answer, bundle="sha256:0", entrypoint="rpc")
    assert [reason.code for reason in decision.reasons] == ["a.b"]


@pytest.mark.parametrize(
    ("spelled", "expected"),
    [
        (True, ApprovalDemand()),
        (False, None),
        ({}, ApprovalDemand()),
        ({"approvers": ["lead"]}, ApprovalDemand(approvers=("lead",))),
        ({"message": "Ship?", "expires_in_seconds": 60}, ApprovalDemand(message="Ship?", expires_in_seconds=60)),
    ],
)
def test_an_approval_is_asked_for_in_few_words_or_many(spelled: Any, expected: ApprovalDemand | None) -> None:
    """And read back from the decision's own document."""
    decision = decided("step", require_approval=spelled)
    assert (decision.allow, decision.require_approval) == (True, expected)
    document = decision.document()
    del document["bundle"]
    assert parse_decision(orjson.dumps(document), bundle="sha256:0", entrypoint="step") == decision


@pytest.mark.parametrize(
    "spelled",
    [
        None,
        1,
        "yes",
        [],
        {"approver": ["lead"]},
        {"approvers": []},
        {"approvers": "lead"},
        {"approvers": [""]},
        {"approvers": [1]},
        {"approvers": ["x" * 129]},
        {"approvers": ["a", "a"]},
        {"approvers": [f"r{n}" for n in range(17)]},
        {"message": 1},
        {"message": "x" * 4_097},
        {"expires_in_seconds": 0},
        {"expires_in_seconds": 1.5},
        {"expires_in_seconds": True},
        {"expires_in_seconds": 2_592_001},
        {"expires_in_seconds": None},
    ],
)
def test_another_demand_is_no_decision(spelled: Any) -> None:
    """Whatever departs from the contract, however slightly, is a deny."""
    decision = decided("step", require_approval=spelled)
    assert (decision.allow, decision.reasons[0].code) == (False, "policy.malformed")


@pytest.mark.parametrize(
    "spelled", [None, "/output/a", {}, [1], ["output"], ["/outcome/a"], ["/output/~x"], ["/output"] * 33]
)
def test_another_list_of_pointers_is_no_decision(spelled: Any) -> None:
    """A pointer that would mask nothing by mistake is told at once."""
    decision = decided("step", redact=spelled)
    assert (decision.allow, decision.reasons[0].code) == (False, "policy.malformed")


def test_the_page_has_the_table() -> None:
    """docs/obligations.md says the same as the code, for each entrypoint and field."""
    page = (ROOT / "docs/obligations.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \| (\S+) \| (\S+) \| (\S+) \|", page, re.MULTILINE)
    written = {name: dict(zip(ENTRYPOINTS, cells, strict=True)) for name, *cells in rows}
    expected = {
        name: {entry: "fulfilled" if name in FULFILLED[entry] else "refused" for entry in ENTRYPOINTS}
        for name in OBLIGATIONS
    }
    assert written == expected

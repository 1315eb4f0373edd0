"""Rules and quotas as policy data: read in full or not at all."""

import json
from pathlib import Path

import pytest

from engine.constraints.quotas import Quota
from gateway.constrained.data import policy_rule, quota_from, rules_from
from gateway.errors import PolicyInvalidError
from gateway.policy.engine import ENTRYPOINTS
from gateway.policy.pool import DEADLINES_MS

CONFIG = json.loads((Path(__file__).resolve().parents[4] / "policies/data.json").read_text())["gateway"]["config"]


def test_every_rule_has_a_default_and_none_fails_open() -> None:
    """Without data, the deadlines of policy are the pool's own; the sanitizer's are of CPU time, a whole one."""
    rules = rules_from({})
    assert set(rules) == {"sanitizer.mission", "sanitizer.step", *map(policy_rule, ENTRYPOINTS)}
    assert {name: rules[policy_rule(name)].wall_ms_max for name in ENTRYPOINTS} == dict(DEADLINES_MS)
    assert rules["sanitizer.step"].cpu_us_max == 1_000_000
    assert all(rule.fail_closed and rule.sampling_rate == 1 and rule.retries_max == 0 for rule in rules.values())


def test_the_bundle_says_the_defaults() -> None:
    """Who reads data.json finds what holds without it."""
    assert rules_from(CONFIG) == rules_from({})
    assert quota_from(CONFIG) == quota_from({}) == Quota()


def test_data_changes_what_it_names() -> None:
    """A part of an entry is enough."""
    rules = rules_from({"rules": {"policy.step": {"wall_ms": 250}, "sanitizer.step": {"cpu_shares": 50}}})
    assert rules["policy.step"].wall_ms_max == 250
    assert rules["sanitizer.step"].cpu_us_max == 500_000
    assert rules["policy.rpc"] == rules_from({})["policy.rpc"]
    assert quota_from({"quotas": {"runs": 5}}) == Quota(runs_max=5)


@pytest.mark.parametrize(
    "rules",
    [
        [],
        {"policy.everything": {}},
        {"policy.step": 5},
        {"policy.step": {"on_violation": "open"}},
        {"policy.step": {"wall_ms": 0}},
        {"policy.step": {"wall_ms": "5"}},
        {"sanitizer.step": {"cpu_shares": 101}},
        {"sanitizer.mission": {"wall_ms": 10**9}},
    ],
)
def test_a_rule_that_is_not_understood_refuses_the_bundle(rules: object) -> None:
    """Above all one that would have a sanitizer or a policy fail open."""
    with pytest.raises(PolicyInvalidError) as caught:
        rules_from({"rules": rules})  # type: ignore[dict-item]
    assert caught.value.code == "policy.rule_invalid"


@pytest.mark.parametrize("quotas", [[], {"run": 5}, {"runs": 0}, {"cpu_ms": "5"}, {"window_seconds": 10**9}])
def test_a_quota_that_is_not_understood_refuses_the_bundle(quotas: object) -> None:
    """A field that is mistyped would be a quota that does not hold."""
    with pytest.raises(PolicyInvalidError) as caught:
        quota_from({"quotas": quotas})  # type: ignore[dict-item]
    assert caught.value.code == "policy.quota_invalid"

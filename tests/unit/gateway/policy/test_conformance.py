from collections import Counter

import pytest

from tools.conformance.cases import load
from tools.conformance.verdicts import Kind, Verdict, judge

AGREE_MIN = 525  # of 1,089; docs/conformance.md has the counts


@pytest.fixture(scope="module")
def verdicts() -> list[Verdict]:
    return [judge(case) for case in load()]


def test_no_case_is_answered_otherwise_than_by_opa(verdicts: list[Verdict]) -> None:
    """Zero silent differences: each of OPA's own cases agrees, is refused, or ends in an error."""
    assert len(verdicts) == 1_089
    assert [(verdict.case.note, verdict.why) for verdict in verdicts if verdict.kind is Kind.DIFFERENT] == []


def test_a_good_part_agrees(verdicts: list[Verdict]) -> None:
    """Refusing everything would agree as well: this many cases are answered, and few end in an error."""
    kinds = Counter(verdict.kind for verdict in verdicts)
    assert kinds[Kind.AGREES] + kinds[Kind.SUPPLIED] >= AGREE_MIN
    assert kinds[Kind.ENDED] < 30


def test_every_refusal_says_where_and_why(verdicts: list[Verdict]) -> None:
    """A refusal has a stable code, the file and what is wrong."""
    for verdict in verdicts:
        if verdict.kind is Kind.REFUSED:
            assert verdict.rule.startswith("policy.")
            file, _, rest = verdict.why.partition(":")
            assert file
            assert len(rest) > 20

"""Parameters made again from what is recorded."""

from typing import Any

import orjson
import pytest

from gateway.commitments import Commitments
from gateway.replay.digests import NO_DIGEST, Digests
from gateway.replay.inputs import RecordedScope, candidates, found, holds, items_of, read_plan, referred
from gateway.replay.outcome import DifferenceFound, Reason
from tests.worlds import mission, step

DIGESTS = Digests(Commitments(bytes(32)))


def plan_of(*steps: Any, **fields: Any) -> Any:
    return read_plan(orjson.dumps(mission(*steps, **fields)))


def made(plan: Any, index: int, scope: RecordedScope) -> list[Any]:
    return list(candidates(plan, index, scope, None, str))


def test_a_kind_that_runs_missions_gets_values_escaped_and_the_digest_knows() -> None:
    """Both forms are tried, and only the one that the log names is given on."""
    plan = plan_of(step("a"), step("b", "a", kind="nesting", mission="${steps.a.output}"))
    scope = RecordedScope({}, {"a": "text ${x}"})
    plain, escaped = {"mission": "text ${x}"}, {"mission": "text $${x}"}
    assert made(plan, 1, scope) == [plain, escaped]
    for value in (plain, escaped):
        assert found(iter([plain, escaped]), DIGESTS.of(value), DIGESTS) == value
    with pytest.raises(DifferenceFound) as differs:
        found(iter([plain, escaped]), DIGESTS.of("other"), DIGESTS)
    assert (differs.value.reason, differs.value.replayed) == (Reason.INPUT, DIGESTS.of(plain))


def test_what_cannot_be_resolved_any_more_is_a_difference() -> None:
    """The output that is referred to has lost the member."""
    plan = plan_of(step("a"), step("b", "a", output="${steps.a.output.k}", foreach={"items": "${steps.a.output}"}))
    scope = RecordedScope({}, {"a": {"other": 1}})
    with pytest.raises(DifferenceFound, match="cannot be resolved"):
        found(candidates(plan, 1, scope, (1,), str), "d", DIGESTS)
    with pytest.raises(DifferenceFound, match="cannot be found"):
        items_of(plan, 1, scope)
    assert (items_of(plan, 0, scope), list(referred(plan, 1))) == (None, ["a"])


def test_a_plan_is_read_whatever_kinds_and_secrets_there_are_today() -> None:
    """They were admitted once."""
    plan = plan_of({**step("a"), "step_type": "of_yesterday"}, step("b", output="${secrets.GONE}"))
    assert [each.step_type for each in plan.mission.steps] == ["of_yesterday", "pure"]


def test_a_condition_is_asked_again() -> None:
    """True, false, or not to be told."""
    plan = plan_of(step("a"), step("b", "a", when={"eq": ["${steps.a.output.k}", 1]}))
    answers = [holds(plan, 1, RecordedScope({}, {"a": output})) for output in ({"k": 1}, {"k": 2}, {})]
    assert (answers, holds(plan, 0, RecordedScope({}, {}))) == ([True, False, None], None)


def test_what_is_no_json_has_no_digest() -> None:
    """And so equals nothing that the log has."""
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    assert DIGESTS.of(deep) == DIGESTS.of("\ud800") == NO_DIGEST

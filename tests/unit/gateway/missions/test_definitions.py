"""Definitions: a document that was seen is not parsed again, and nothing of it can change meanwhile."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from engine.clock import SystemClock
from engine.constraints.enforcer import ConstraintEnforcer
from engine.errors import MissionInvalidError
from engine.mission import MissionLimits
from gateway.admission import Admission
from gateway.constrained.data import rules_from
from gateway.constrained.sanitizer import ConstrainedSanitizer
from gateway.hookset import HookSet
from gateway.missions.definitions import REMEMBERED_MAX, Definitions
from gateway.sandbox.routing import RoutedSandbox
from tests.worlds import KINDS, LEVELS, FakePolicy, Faults, mission, step


class ChangingHooks:
    """Implements `gateway.hookset.Hooks` with a set that a test replaces."""

    def __init__(self) -> None:
        self.current = HookSet(kinds=KINDS, placed=(), sandbox=RoutedSandbox({}))


class Counting(Admission):
    """Counts how often stage 1 is passed."""

    def __init__(self) -> None:
        self.set = ChangingHooks()
        enforcer = ConstraintEnforcer(SystemClock(), chance=lambda: 0.0)
        super().__init__(
            hooks=self.set,
            levels=LEVELS,
            policy=FakePolicy(Faults()),
            limits=MissionLimits(),
            sanitizer=ConstrainedSanitizer(enforcer, rules_from({})),
        )
        self.calls = 0

    def sanitize(self, form: Any) -> Any:
        self.calls += 1
        return super().sanitize(form)


def document(name: str = "m") -> bytes:
    return orjson.dumps(mission(step("a"), name=name))


async def test_a_document_is_parsed_once() -> None:
    """The same bytes give the same value; other bytes are looked at, though they may say the same."""
    admission = Counting()
    definitions = Definitions(admission)
    first = await definitions.sanitize(document())
    assert await definitions.sanitize(document()) is first
    spelled = await definitions.sanitize(b" " + document())
    assert (spelled.digest, admission.calls) == (first.digest, 2)


async def test_a_refusal_is_not_remembered() -> None:
    """Every faulty document is refused, each time."""
    admission = Counting()
    definitions = Definitions(admission)
    for _ in range(2):
        with pytest.raises(MissionInvalidError):
            await definitions.sanitize(b"{}")
    assert admission.calls == 2


async def test_what_is_remembered_is_bounded() -> None:
    """However many documents come, what was used longest ago is let go."""
    admission = Counting()
    definitions = Definitions(admission)
    for n in range(REMEMBERED_MAX + 1):
        await definitions.sanitize(document(f"m{n}"))
    await definitions.sanitize(document(f"m{REMEMBERED_MAX}"))
    assert admission.calls == REMEMBERED_MAX + 1
    await definitions.sanitize(document("m0"))
    assert admission.calls == REMEMBERED_MAX + 2


async def test_another_set_of_hooks_forgets_what_was_sanitized_with_the_last() -> None:
    """A kind that was disabled, or may do more than before, is not admitted from memory."""
    admission = Counting()
    definitions = Definitions(admission)
    first = await definitions.sanitize(document())
    admission.set.current = replace(admission.set.current, kinds=dict(KINDS))
    assert await definitions.sanitize(document()) is not first
    admission.set.current = replace(admission.set.current, kinds={"other": KINDS["pure"]})
    with pytest.raises(MissionInvalidError) as caught:
        await definitions.sanitize(document())
    assert caught.value.violations[0].code == "mission.unknown_step_type"

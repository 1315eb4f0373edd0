"""Definitions: a document that was seen is not parsed again, and nothing of it can change meanwhile."""

from typing import Any

import orjson
import pytest

from engine.clock import SystemClock
from engine.constraints.enforcer import ConstraintEnforcer
from engine.errors import MissionInvalidError
from engine.mission import MissionLimits
from gateway.constrained.data import rules_from
from gateway.constrained.sanitizer import ConstrainedSanitizer
from gateway.missions.definitions import REMEMBERED_MAX, Definitions
from gateway.pipeline import Admission
from tests.worlds import KINDS, FakePolicy, Faults, mission, step


class Counting(Admission):
    """Counts how often stage 1 is passed."""

    def __init__(self) -> None:
        enforcer = ConstraintEnforcer(SystemClock(), chance=lambda: 0.0)
        sanitizer = ConstrainedSanitizer(enforcer, rules_from({}))
        super().__init__(kinds=KINDS, policy=FakePolicy(Faults()), limits=MissionLimits(), sanitizer=sanitizer)
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

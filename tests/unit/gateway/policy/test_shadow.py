"""A second bundle beside the one that decides: what is compared, what is told, and what it can never do."""

import asyncio
from dataclasses import replace

import pytest

from gateway.errors import Reason
from gateway.events import digest
from gateway.policy.decision import Decision
from gateway.policy.engine import Entrypoint
from gateway.policy.obligations import ApprovalDemand
from gateway.policy.shadow import QUEUE_BYTES_MAX, QUEUE_MAX, Disagreement, ShadowedPolicy, same_answer
from tests.worlds import StandingClock

LARGE = 4 * 1024 * 1024
YES = Decision(allow=True, bundle="sha256:a")
CLOSED = Reason("step.closed", "it is closed", "data.gateway.step.deny")
NO = Decision(allow=False, bundle="sha256:b", reasons=(CLOSED,))


class Answers:
    """An engine whose answers depend on the document; `held` stops it."""

    def __init__(self, digest: str, answers: dict[bytes, Decision]) -> None:
        self.digest, self.answers, self.asked = digest, answers, 0
        self.held = asyncio.Event()
        self.held.set()

    async def decide(self, _entrypoint: Entrypoint, document: bytes) -> Decision:
        await self.held.wait()
        self.asked += 1
        return self.answers.get(document, YES)


class World:
    """A shadowed policy whose reports are kept."""

    def __init__(self, shadow: dict[bytes, Decision]) -> None:
        self.told: list[Disagreement] = []
        self.shadow = Answers("sha256:b", shadow)
        self.policy = ShadowedPolicy(Answers("sha256:a", {}), self.shadow, StandingClock(), self._report)

    async def _report(self, found: Disagreement) -> None:
        self.told.append(found)

    async def settle(self) -> None:
        """Let the shadow answer all that waits."""
        task = asyncio.create_task(self.policy.run())
        for _ in range(20 + 4 * QUEUE_MAX):
            if self.policy._queue.empty():
                break
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])


async def test_a_disagreement_is_told_and_kept() -> None:
    """Once for each kind; each is counted, and can be looked at."""
    world = World({b"1": NO, b"2": NO})
    for document in (b"0", b"1", b"2"):
        assert await world.policy.decide("step", document) is YES
    await world.settle()
    assert [found.document for found in world.told] == [digest(b"1")]
    assert [found.document for found in world.policy.latest] == [digest(b"1"), digest(b"2")]
    counts = world.policy.counts
    assert (counts.compared, counts.disagreed, counts.missed, counts.bundle) == (3, 2, 0, "sha256:b")


async def test_the_shadow_holds_nothing_up() -> None:
    """It does not answer, and the decisions come all the same; what it cannot keep up with is counted."""
    world = World({})
    world.shadow.held.clear()
    for _ in range(QUEUE_MAX + 3):
        assert await world.policy.decide("step", b"{}") is YES
    assert world.policy.counts.missed == 3
    world.shadow.held.set()
    await world.settle()
    assert world.policy.counts.compared == QUEUE_MAX


async def test_the_shadow_holds_no_more_than_it_may() -> None:
    """Large documents fill its queue by their bytes; and of what it has been asked about, no document is left."""
    world = World({b"x" * LARGE: NO})
    world.shadow.held.clear()
    for _ in range(QUEUE_BYTES_MAX // LARGE + 3):
        assert await world.policy.decide("mission", b"x" * LARGE) is YES
    assert world.policy.counts.missed == 3
    world.shadow.held.set()
    await world.settle()
    assert world.policy.counts.disagreed == QUEUE_BYTES_MAX // LARGE
    assert {found.document for found in world.policy.latest} == {digest(b"x" * LARGE)}
    assert await world.policy.decide("mission", b"x" * LARGE) is YES
    assert world.policy.counts.missed == 3


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (replace(YES, bundle="sha256:c"), True),
        (replace(YES, profile="fast"), False),
        (replace(YES, require_approval=ApprovalDemand()), False),
        (replace(YES, redact=("/output/a",)), False),
        (replace(YES, constraints={"wall_ms_max": 1}), False),
        (replace(YES, labels={"a": "b"}), False),
        (NO, False),
    ],
)
def test_answers_are_the_same_where_they_let_the_same_happen(other: Decision, same: bool) -> None:
    """Obligations count, and so does the verdict; which bundle it was does not."""
    assert same_answer(YES, other) is same


def test_the_words_of_a_reason_do_not_matter_but_its_code_does() -> None:
    """A message that is written better is no disagreement."""
    assert same_answer(NO, replace(NO, reasons=(replace(CLOSED, message="closed"),)))
    assert not same_answer(NO, replace(NO, reasons=(replace(CLOSED, code="step.shut"),)))

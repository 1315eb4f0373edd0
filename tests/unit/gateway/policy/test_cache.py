"""The decision cache: what is kept, for whom, until when, and who waits for whom."""

import asyncio
from dataclasses import dataclass, field, replace
from sys import getsizeof

import pytest

from gateway.errors import Reason
from gateway.policy.cache import CachedPolicy, _cost
from gateway.policy.decision import Decision, denied
from gateway.policy.engine import Entrypoint
from gateway.policy.obligations import ApprovalDemand

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
YES = Decision(allow=True, bundle=DIGEST)


@dataclass
class Engine:
    """Answers what it is told to; holds each question while `gate` is closed."""

    digest: str = DIGEST
    asked: list[tuple[Entrypoint, bytes]] = field(default_factory=list)
    answer: Decision | None = None
    gate: asyncio.Event | None = None
    fault: Exception | None = None

    async def decide(self, entrypoint: Entrypoint, document: bytes) -> Decision:
        self.asked.append((entrypoint, document))
        bundle = self.digest
        if self.gate is not None:
            await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        reason = Reason("step.denied", document.decode(), "data.gateway.step.deny")
        return self.answer or Decision(allow=False, bundle=bundle, reasons=(reason,))


def cached(engine: Engine, *, entries_max: int = 10, deterministic: bool = True, **bounds: int) -> CachedPolicy:
    return CachedPolicy(engine, entries_max=entries_max, deterministic=deterministic, **bounds)


async def test_the_same_document_is_asked_once() -> None:
    """The second answer is the first one, and is counted as a hit."""
    engine = Engine()
    policy = cached(engine)
    first = await policy.decide("step", b"x")
    assert await policy.decide("step", b"x") is first
    assert (len(engine.asked), policy.hits, policy.misses, policy.entries) == (1, 1, 1, 1)


async def test_another_document_entrypoint_or_bundle_is_asked() -> None:
    """Each part of the key counts."""
    engine = Engine()
    policy = cached(engine)
    await policy.decide("step", b"x")
    await policy.decide("step", b"y")
    await policy.decide("effect", b"x")
    engine.digest = OTHER
    assert (await policy.decide("step", b"x")).bundle == OTHER
    assert engine.asked == [("step", b"x"), ("step", b"y"), ("effect", b"x"), ("step", b"x")]
    assert policy.digest == OTHER


async def test_a_new_bundle_forgets_the_answers_of_the_old() -> None:
    """They hold no memory, and a rollback asks again."""
    engine = Engine()
    policy = cached(engine)
    await policy.decide("step", b"x")
    engine.digest = OTHER
    await policy.decide("step", b"y")
    assert policy.entries == 1
    engine.digest = DIGEST
    await policy.decide("step", b"x")
    assert len(engine.asked) == 3


async def test_an_answer_of_a_bundle_that_came_meanwhile_is_not_kept() -> None:
    """It was asked of one bundle and answered by another: it is told, and kept for neither."""
    engine = Engine(answer=Decision(allow=True, bundle=OTHER))
    policy = cached(engine)
    assert (await policy.decide("step", b"x")).bundle == OTHER
    assert policy.entries == 0


async def test_an_answer_that_comes_after_a_swap_is_not_kept() -> None:
    """While it was evaluated another document was asked of the new bundle: the old one's answers are gone by then."""
    engine = Engine(gate=asyncio.Event())
    policy = cached(engine)
    old = asyncio.create_task(policy.decide("step", b"x"))
    await asyncio.sleep(0)
    engine.digest = OTHER
    new = asyncio.create_task(policy.decide("step", b"y"))
    await asyncio.sleep(0)
    assert engine.gate is not None
    engine.gate.set()
    assert ((await old).bundle, (await new).bundle, policy.entries) == (DIGEST, OTHER, 1)


@pytest.mark.parametrize(
    "code",
    ["policy.undefined", "policy.malformed", "policy.failed", "policy.timeout", "policy.crashed", "policy.unavailable"],
)
async def test_what_the_host_denies_in_place_of_policy_is_not_kept(code: str) -> None:
    """It may be over in a moment: the next asker tries again."""
    engine = Engine(answer=denied(code, "no", bundle=DIGEST))
    policy = cached(engine)
    await policy.decide("step", b"x")
    await policy.decide("step", b"x")
    assert (len(engine.asked), policy.entries) == (2, 0)


@pytest.mark.parametrize(("entries_max", "deterministic"), [(0, True), (10, False)])
async def test_it_can_be_off(entries_max: int, deterministic: bool) -> None:
    """No entries, or a bundle whose answers depend on more than the document: everything is asked."""
    engine = Engine()
    policy = cached(engine, entries_max=entries_max, deterministic=deterministic)
    await policy.decide("step", b"x")
    await policy.decide("step", b"x")
    assert (len(engine.asked), policy.hits, policy.misses, policy.entries) == (2, 0, 0, 0)


async def test_entries_and_bytes_are_bounded() -> None:
    """What was used longest ago goes; an answer that is larger than all room is not kept."""
    engine = Engine()
    policy = cached(engine, entries_max=2)
    for document in (b"a", b"b", b"c"):
        await policy.decide("step", document)
    assert policy.entries == 2
    await policy.decide("step", b"a")
    assert len(engine.asked) == 4
    small = cached(Engine(), bytes_max=2_000)
    for document in (b"a", b"b"):
        await small.decide("step", document)
    assert small.entries == 1
    await small.decide("step", b"c" * 1_000)
    assert small.entries == 1


async def test_those_who_ask_at_once_share_one_evaluation() -> None:
    """Ten askers, one question, one answer."""
    engine = Engine(gate=asyncio.Event())
    policy = cached(engine)
    tasks = [asyncio.create_task(policy.decide("step", b"x")) for _ in range(10)]
    await asyncio.sleep(0)
    assert engine.gate is not None
    engine.gate.set()
    answers = await asyncio.gather(*tasks)
    assert len({id(answer) for answer in answers}) == 1
    assert (len(engine.asked), policy.misses, policy.hits, policy.shared) == (1, 1, 9, 9)


@pytest.mark.parametrize(
    "answer",
    [
        replace(YES, redact=tuple(f"/output/{n:02}{'x' * 100}" for n in range(32))),
        replace(YES, require_approval=ApprovalDemand(message="\U0001f512" * 4_096)),
        replace(YES, require_approval=ApprovalDemand(approvers=tuple(f"{n:02}{'r' * 126}" for n in range(16)))),
        replace(YES, labels={f"{n:02}{'k' * 254}": "\U0001f512" * 256 for n in range(64)}),
        replace(YES, reasons=(Reason("\U0001f512" * 256, "\U0001f512" * 8_192, "\U0001f512" * 256),) * 64),
    ],
)
def test_an_answer_costs_what_it_takes(answer: Decision) -> None:
    """Obligations are texts of the policy's, and of a client's where it puts them in: all of them are counted."""
    held = [*answer.redact, *(text for pair in answer.labels.items() for text in pair)]
    held += [text for each in answer.reasons for text in (each.code, each.message, each.rule)]
    if answer.require_approval is not None:
        held += [answer.require_approval.message, *answer.require_approval.approvers]
    assert _cost(answer) >= sum(map(getsizeof, held))


@pytest.mark.parametrize("leaves", range(4))
async def test_one_who_is_cancelled_ends_nobody_else(leaves: int) -> None:
    """Whoever leaves, the first who asks the engine or one that waits: the others get their answer."""
    engine = Engine(gate=asyncio.Event())
    policy = cached(engine)
    tasks = [asyncio.create_task(policy.decide("step", b"x")) for _ in range(4)]
    await asyncio.sleep(0)
    tasks[leaves].cancel()
    await asyncio.sleep(0)
    assert engine.gate is not None
    engine.gate.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers[leaves], asyncio.CancelledError)
    assert sum(isinstance(answer, Decision) for answer in answers) == 3
    assert len(engine.asked) == (2 if leaves == 0 else 1)


async def test_an_engine_that_raises_leaves_nobody_waiting() -> None:
    """Each asker hears of it by an evaluation of its own, and nothing is kept."""
    engine = Engine(gate=asyncio.Event(), fault=RuntimeError("broken"))
    policy = cached(engine)
    tasks = [asyncio.create_task(policy.decide("step", b"x")) for _ in range(3)]
    await asyncio.sleep(0)
    assert engine.gate is not None
    engine.gate.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(answer) for answer in answers] == ["broken"] * 3
    assert (policy.entries, len(policy._under_way)) == (0, 0)


async def test_the_digest_of_a_document_cannot_be_computed_outside() -> None:
    """Two processes have different keys, so nobody can look for two documents of one digest."""
    keys = []
    for _ in range(2):
        policy = cached(Engine())
        await policy.decide("step", b"x")
        assert policy._kept is not None
        keys += [key[2] for key in policy._kept._entries]
    assert keys[0] != keys[1]
    assert [len(key) for key in keys] == [32, 32]

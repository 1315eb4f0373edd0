"""Laws of the decision cache, against an engine that is asked every time."""

import asyncio

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.errors import Reason
from gateway.policy.cache import CachedPolicy
from gateway.policy.decision import Decision, denied
from gateway.policy.engine import ENTRYPOINTS, Entrypoint

BUNDLES = ("sha256:" + "a" * 64, "sha256:" + "b" * 64)


class Engine:
    """A function of bundle, entrypoint and document, whose host fails now and then."""

    def __init__(self) -> None:
        self.digest = BUNDLES[0]
        self.failing = False
        self.wait = False

    async def decide(self, entrypoint: Entrypoint, document: bytes) -> Decision:
        answer = self.answer(entrypoint, document)
        if self.wait:
            await asyncio.sleep(0)
        return answer

    def answer(self, entrypoint: Entrypoint, document: bytes) -> Decision:
        if self.failing:
            return denied("policy.timeout", "late", bundle=self.digest)
        reason = Reason("code", f"{self.digest} {entrypoint} {document!r}", "data.gateway.rule")
        return Decision(allow=len(document) % 2 == 0, bundle=self.digest, reasons=(reason,))


ASK = st.tuples(st.just("ask"), st.sampled_from(ENTRYPOINTS), st.sampled_from([b"", b"x", b"yy", b"y"]))
ACTS = st.lists(
    st.one_of(ASK, ASK, ASK, st.tuples(st.sampled_from(["swap", "fail", "wait"]), st.just(""), st.just(b""))),
    max_size=40,
)


STEP: tuple[str, Entrypoint, bytes] = ("ask", "step", b"x")
FAIL: tuple[str, Entrypoint, bytes] = ("fail", "rpc", b"")


@example([FAIL, STEP, FAIL, STEP], 4, 6_000)
@given(ACTS, st.integers(0, 4), st.integers(0, 6_000))
def test_a_cached_answer_is_what_the_engine_would_say(
    acts: list[tuple[str, Entrypoint, bytes]], entries_max: int, bytes_max: int
) -> None:
    """Under swaps and faults, and within its bounds: a hit is the engine's answer of now, never a fault of before."""

    async def check() -> None:
        engine = Engine()
        policy = CachedPolicy(engine, entries_max=entries_max, deterministic=True, bytes_max=bytes_max)
        for act, entrypoint, document in acts:
            if act == "swap":
                engine.digest = BUNDLES[engine.digest == BUNDLES[0]]
            elif act == "fail":
                engine.failing = not engine.failing
            elif act == "wait":
                engine.wait = not engine.wait
            else:
                hits = policy.hits
                answer = await policy.decide(entrypoint, document)
                healthy = Engine()
                healthy.digest = engine.digest
                expected = healthy.answer(entrypoint, document) if policy.hits > hits else None
                assert answer == (expected or engine.answer(entrypoint, document))
            assert policy.entries <= entries_max

    asyncio.run(check())


@given(st.lists(st.tuples(st.sampled_from([b"x", b"y"]), st.booleans(), st.booleans()), min_size=1, max_size=12))
def test_whoever_stays_is_answered(askers: list[tuple[bytes, bool, bool]]) -> None:
    """Askers of two documents at once, of whom some leave at any moment: everybody else hears the right answer."""

    async def check() -> None:
        engine = Engine()
        engine.wait = True
        policy = CachedPolicy(engine, entries_max=8, deterministic=True)
        tasks = []
        for document, _, pause in askers:
            tasks.append(asyncio.create_task(policy.decide("step", document)))
            if pause:
                await asyncio.sleep(0)
        for task, (_, leaves, _) in zip(tasks, askers, strict=True):
            if leaves:
                task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        for (document, leaves, _), answer in zip(askers, answers, strict=True):
            expected = engine.answer("step", document)
            assert answer == expected or (leaves and isinstance(answer, asyncio.CancelledError))
        assert policy._under_way == {}

    asyncio.run(check())

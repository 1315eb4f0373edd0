import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest

from gateway.errors import PolicyInvalidError
from gateway.policy.bundle import Bundle
from gateway.policy.decision import Decision
from gateway.policy.pool import PRELOAD, WorkerPolicy
from gateway.policy.regorus_engine import RegorusEngine
from gateway.policy.vetting import Module
from gateway.workers.supervisor import Zygote
from tests.policy_documents import mission, rpc, step

POLICIES = Path(__file__).parents[2] / "policies"
MANIFEST = {"revision": "hostile", "roots": ["gateway"]}
YES = '{"allow": true, "reasons": []}'

# Ten nested loops over ten elements: 10^10 rounds, minutes of work, in a policy that vetting has no reason to refuse.
LOOP = " ".join(f"some x{i} in input.xs;" for i in range(10))
EXPLOSION = f"""decision := {YES} if input.calm
decision := {YES} if {{ not input.calm; spin }}
spin if {{ {LOOP} x0 == x1 + 0; x0 != x0 }}
""".replace("x1 + 0", "x1")
# Every level doubles the text: 2^40 characters.
SWELLING = "\n".join(
    [f's{i} := concat("", [s{i + 1}, s{i + 1}])' for i in range(40)]
    + [
        's40 := "xxxxxxxxxxxxxxxx"',
        f"decision := {YES} if input.calm",
        f"decision := {YES} if {{ not input.calm; s0 }}",
    ]
)


@pytest.fixture(scope="module")
def default() -> Bundle:
    """The bundled policies, which no test changes."""
    return Bundle.load(POLICIES)


@pytest.fixture(scope="module")
def engine(default: Bundle) -> RegorusEngine:
    """An engine that every test's documents go through: one that breaks it shows in the next test at the latest."""
    return RegorusEngine(default)


def bundle(body: str) -> Bundle:
    text = f"package gateway.step\n\nimport rego.v1\n\n{body}\n"
    return Bundle.build(manifest=MANIFEST, data={}, modules=[Module("step.rego", text)])


@asynccontextmanager
async def workers(loaded: Bundle, size: int = 1, *, step_ms: int = 300) -> AsyncIterator[WorkerPolicy]:
    zygote = await Zygote.start(PRELOAD)
    policy = WorkerPolicy(
        zygote, loaded, size, deadlines_ms={"step": step_ms}, address_space_bytes_max=512 * 1024 * 1024
    )
    try:
        await policy.start()
        yield policy
    finally:
        await policy.close()
        await zygote.close()


def codes(decision: Decision) -> list[str]:
    return [reason.code for reason in decision.reasons]


CALM = b'{"calm":true}'


@pytest.mark.timeout(20)
async def test_a_policy_that_does_not_end_is_killed_at_its_deadline() -> None:
    """A runaway decision is a deny at its deadline, its worker is replaced, and the next decision is answered."""
    document = orjson.dumps({"xs": list(range(10))})
    async with workers(bundle(EXPLOSION)) as policy:
        assert (await policy.decide("step", CALM)).allow is True
        [before] = policy.pids
        late = await policy.decide("step", document)
        assert codes(late) == ["policy.timeout"]
        assert (await policy.decide("step", CALM)).allow is True
        assert policy.pids != (before,)


async def test_decisions_behind_a_runaway_one_are_answered() -> None:
    """Only the decision that ran away is denied; those queued behind it at the same worker get their own answers."""
    runaway = orjson.dumps({"xs": list(range(10))})
    async with workers(bundle(EXPLOSION)) as policy:
        late, *others = await asyncio.gather(
            policy.decide("step", runaway), *(policy.decide("step", CALM) for _ in range(20))
        )
    assert codes(late) == ["policy.timeout"]
    assert all(decision.allow for decision in others)


async def test_a_policy_that_swells_is_stopped_by_memory() -> None:
    """Data that doubles forty times ends the worker at its memory limit, or at the deadline: a deny, never a yes."""
    async with workers(bundle(SWELLING), step_ms=5_000) as policy:
        swollen = await policy.decide("step", b"{}")
        assert swollen.allow is False
        assert codes(swollen)[0] in {"policy.crashed", "policy.timeout", "policy.failed"}
        assert (await policy.decide("step", CALM)).allow is True


async def test_a_worker_killed_in_mid_decision_is_a_deny() -> None:
    """SIGKILL from outside: the decision under way is a no, and the next is answered by another worker."""
    document = orjson.dumps({"xs": list(range(10))})
    async with workers(bundle(EXPLOSION), step_ms=10_000) as policy:
        [pid] = policy.pids
        under_way = asyncio.ensure_future(policy.decide("step", document))
        await asyncio.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
        assert codes(await under_way) == ["policy.crashed"]
        assert (await policy.decide("step", CALM)).allow is True


async def test_after_the_workers_are_gone_everything_is_denied() -> None:
    """A closed pool answers no, not an exception."""
    async with workers(bundle(f"decision := {YES}")) as policy:
        await policy.close()
        assert codes(await policy.decide("step", b"{}")) == ["policy.unavailable"]


async def test_workers_answer_as_the_engine_in_process_does(default: Bundle, engine: RegorusEngine) -> None:
    """The same decisions, reasons and digest, whichever way a document takes."""
    asked = [
        ("rpc", rpc("gateway.v1.MissionService", "SubmitMission")),
        ("rpc", rpc("gateway.v1.AuditService", "ReadEvents")),
        ("step", step("create_file", {"path": "protected/x", "content": ""})),
        ("step", step("transform", {})),
        ("mission", mission(2_000)),
        ("effect", b"{}"),
    ]
    async with workers(default, 2) as policy:
        answers = await asyncio.gather(*(policy.decide(name, document) for name, document in asked))  # type: ignore[arg-type]
    assert list(answers) == [await engine.decide(name, document) for name, document in asked]  # type: ignore[arg-type]
    assert [decision.allow for decision in answers] == [True, False, False, True, True, False]


HOSTILE_DOCUMENTS = [
    b"",
    b"\x00",
    b"null",
    b"[]",
    b'"' + b"a" * 1_000_000 + b'"',
    b"[" * 127 + b"]" * 127,
    b"[" * 100_000 + b"]" * 100_000,
    b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    b"1" * 100_000,
    b"1e999999",
    b"-" + b"9" * 400,
    b'{"principal":{"roles":["admin"],"roles":[]}}',
    b'{"principal":{"roles":"admin","anonymous":false}}',
    b'{"principal":{"roles":{"admin":true},"anonymous":false}}',
    b'{"principal":{"roles":["admin\\u0000"],"anonymous":false}}',
    b'\xef\xbb\xbf{"version":1}',
    b"\xff\xfe{\x00}\x00",
    b'{"a":"\\ud800"}',
]


@pytest.mark.parametrize("document", HOSTILE_DOCUMENTS, ids=lambda raw: repr(raw[:24]))
async def test_no_hostile_document_is_a_yes(engine: RegorusEngine, document: bytes) -> None:
    """Nonsense, depth, size, huge numbers and false types are all denied by the bundled policies, without a crash."""
    for entrypoint in ("rpc", "mission", "step", "effect"):
        decision = await engine.decide(entrypoint, document)  # type: ignore[arg-type]
        assert decision.allow is False
        assert "policy.crashed" not in codes(decision)


@pytest.mark.parametrize("role", ["admin\0", "admin\0evil", " admin", "Admin", "\u0430dmin", "admin\u200b", "*", ""])
async def test_no_spelling_of_a_role_is_taken_for_it(engine: RegorusEngine, role: str) -> None:
    """Names are compared whole: NUL does not end one, and nothing is folded."""
    assert (await engine.decide("rpc", rpc("gateway.v1.AuditService", "GetCheckpoint", roles=("admin",)))).allow is True
    assert (await engine.decide("rpc", rpc("gateway.v1.AuditService", "GetCheckpoint", roles=(role,)))).allow is False


async def test_integers_past_a_float_are_not_rounded() -> None:
    """2^53 and 2^53 + 1 are two numbers."""
    engine = RegorusEngine(bundle('decision := {"allow": input.n == 9007199254740992, "reasons": []}'))
    assert (await engine.decide("step", b'{"n":9007199254740992}')).allow is True
    assert (await engine.decide("step", b'{"n":9007199254740993}')).allow is False


async def test_a_decision_that_is_too_large_is_a_deny() -> None:
    """A policy that echoes its input back does not flood the gateway, and does not cost a worker."""
    body = 'decision := {"allow": true, "reasons": [{"code": "a", "rule": "b", "message": input.text}]}'
    document = orjson.dumps({"text": "x" * 1_000_000})
    async with workers(bundle(body)) as policy:
        [before] = policy.pids
        assert codes(await policy.decide("step", document)) == ["policy.failed"]
        assert policy.pids == (before,)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("opening", ["[", "{", '{"a":', "[{", "(", "not ", "f(", "1+", "-", "[x | x := "])
def test_no_source_keeps_the_parser_busy(opening: str) -> None:
    """Anything nested a thousand deep is refused at once; regorus alone would take years over some of it."""
    with pytest.raises(PolicyInvalidError) as caught:
        bundle(f"decision := {opening * 1_000}")
    assert caught.value.code in {"policy.too_deep", "policy.syntax"}
    assert caught.value.file == "step.rego"


@pytest.mark.parametrize(
    "text",
    ["", "package", "package gateway.step\n}", "package gateway.step\nx := ", "decision := 1", "\x00", "package 1"],
)
def test_what_is_no_policy_is_refused_with_its_place(text: str) -> None:
    """A policy with a syntax error is a typed refusal with its file and the parser's words, without a backtrace."""
    with pytest.raises(PolicyInvalidError) as caught:
        Bundle.build(manifest=MANIFEST, data={}, modules=[Module("step.rego", text)])
    assert caught.value.file == "step.rego"
    assert "backtrace" not in caught.value.message
    assert "csu" not in caught.value.message

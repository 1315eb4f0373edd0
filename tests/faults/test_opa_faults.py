"""What an OPA, or whatever answers in its place, may do wrong: each is a no with its code, and the next is decided."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import orjson
import pytest

from gateway.errors import PolicyInvalidError, PolicyUnavailableError
from gateway.policy.bundle import Bundle
from gateway.policy.bundle_files import write_archive
from gateway.policy.bundle_parts import MANIFEST
from gateway.policy.decision import Decision
from gateway.policy.opa.engine import OpaPolicy
from gateway.policy.opa.server import OpaServer
from gateway.policy.opa.settings import OpaSettings
from tests.opa_proxy import Act, Proxy, answering, endless, proxying, saying, stalling
from tests.opa_servers import OpaBeside

REGO = """package gateway.step

import rego.v1

default decision := {"allow": false, "reasons": []}

decision := {"allow": true, "reasons": []} if input.step == "fine"

decision := count([1 | some a in numbers.range(1, 10000); some b in numbers.range(1, 10000); a * b == 7]) if {
	input.step == "loops"
}

decision := {"allow": true, "reasons": []} if input.step == "torn"

decision := {"allow": false, "reasons": []} if input.step == "torn"

decision := {"allow": true, "reasons": [{"code": "x", "message": concat("", [input.text | numbers.range(1, 40)[_]]), "rule": "r"}]} if {
	input.step == "large"
}
"""  # noqa: E501 - one rule, one line
UNDEFINED = "package gateway.rpc\n\nimport rego.v1\n\ndecision := 1 if input.step\n"
FINE = b'{"step":"fine"}'
DEADLINES = {"rpc": 400, "mission": 400, "step": 400, "effect": 400}


def files(revision: str = "r1", **changes: bytes | str) -> dict[str, bytes]:
    """Return the files of a bundle that allows the step `fine`, and does what it should not with others."""
    parts: dict[str, bytes | str] = {
        MANIFEST: orjson.dumps({"revision": revision, "roots": ["gateway"]}),
        "data.json": '{"gateway": {"config": {"roles": {}}}}',
        "step.rego": REGO,
        "rpc.rego": UNDEFINED,
    }
    return {name: part.encode() if isinstance(part, str) else part for name, part in (parts | changes).items()}


def bundle(revision: str = "r1", **changes: bytes | str) -> Bundle:
    return Bundle.from_files(files(revision, **changes), engine="opa")


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[OpaBeside]:
    opa = OpaBeside(tmp_path)
    opa.archive.write_bytes(write_archive(files()))
    try:
        yield opa.start()
    finally:
        opa.kill()


@pytest.fixture
async def proxy(beside: OpaBeside, tmp_path: Path) -> AsyncIterator[Proxy]:
    async with proxying(beside.socket, tmp_path / "proxy.sock") as running:
        yield running


@pytest.fixture
async def server(proxy: Proxy, tmp_path: Path) -> AsyncIterator[OpaServer]:
    del proxy
    opa = OpaServer(OpaSettings(socket=str(tmp_path / "proxy.sock"), retries=1))
    yield opa
    await opa.close()


@pytest.fixture
async def policy(server: OpaServer) -> AsyncIterator[OpaPolicy]:
    engine = OpaPolicy(bundle(), server, deadlines_ms=DEADLINES)
    await engine.start()
    yield engine
    await engine.close()


def code(decision: Decision) -> str:
    """Return the code of a deny of the host's own; "" where it is none."""
    assert decision.allow is False
    assert [reason.rule for reason in decision.reasons] == ["host"]
    return decision.reasons[0].code


PROVENANCE = b'"provenance":{"bundles":{"missiongate":{"revision":"r1"}}}'
YES = b'{"allow":true,"reasons":[]}'


def body(result: bytes = YES, provenance: bytes = PROVENANCE) -> bytes:
    return b"{" + provenance + b',"result":' + result + b"}"


OPA_ERROR = b'{"code":"internal_error","message":"error(s) occurred while evaluating query"}'
LONG = b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
WRONG: dict[str, tuple[Act, str]] = {
    "silence": (stalling(), "policy.timeout"),
    "a head and silence": (stalling(LONG), "policy.timeout"),
    "half an answer and silence": (stalling(LONG + body()[:40]), "policy.timeout"),
    "an answer that ends early": (saying(LONG + body()), "policy.unavailable"),
    "nothing": (saying(b""), "policy.unavailable"),
    "bytes": (saying(bytes(range(256)) * 4), "policy.malformed"),
    "another protocol": (saying(b"220 mail ESMTP\r\n"), "policy.malformed"),
    "chunks that are none": (saying(CHUNKED + b"zz\r\n" + body()), "policy.malformed"),
    "a chunk that ends early": (saying(CHUNKED + b"fff\r\n" + body()), "policy.unavailable"),
    "a body without an end": (endless(CHUNKED, b"1000\r\n" + b" " * 4096 + b"\r\n"), "policy.malformed"),
    "a head without an end": (endless(b"HTTP/1.1 200 OK\r\n", b"X-Y: z\r\n" * 100), "policy.malformed"),
    "a line without an end": (endless(b"HTTP/1.1 200 OK\r\nX: ", b"z" * 999), "policy.malformed"),
    "what nobody asked to be packed": (answering("200 OK\r\nContent-Encoding: gzip", body()), "policy.malformed"),
    "a redirect": (answering("307 Temporary Redirect\r\nLocation: /v1/data/x", b""), "policy.malformed"),
    "a page": (answering("200 OK", b"<html>allow</html>"), "policy.malformed"),
    "an empty answer": (answering("200 OK", b""), "policy.malformed"),
    "no content": (answering("204 No Content", b""), "policy.malformed"),
    "another success": (answering("202 Accepted", body()), "policy.malformed"),
    "not found by a proxy": (answering("404 Not Found", b"404 page not found\n"), "policy.malformed"),
    "not found by OPA": (answering("404 Not Found", b'{"code":"x","message":"y"}'), "policy.failed"),
    "unauthorized": (answering("401 Unauthorized", b'{"code":"unauthorized","message":"no"}'), "policy.failed"),
    "an error of OPA's": (answering("500 Internal Server Error", OPA_ERROR), "policy.failed"),
    "an error of a proxy's": (answering("500 Internal Server Error", b"oops"), "policy.unavailable"),
    "a bad gateway": (answering("502 Bad Gateway", b""), "policy.unavailable"),
    "busy": (answering("503 Service Unavailable", OPA_ERROR), "policy.unavailable"),
    "too many requests": (answering("429 Too Many Requests", b""), "policy.unavailable"),
    "a list": (answering("200 OK", b"[" + body() + b"]"), "policy.malformed"),
    "a bare yes": (answering("200 OK", b"true"), "policy.malformed"),
    "half a surrogate pair": (answering("200 OK", body(b'{"allow":true,"reasons":["\\ud800"]}')), "policy.malformed"),
    "two answers": (answering("200 OK", body() + body()), "policy.malformed"),
    "undefined": (answering("200 OK", b"{" + PROVENANCE + b"}"), "policy.undefined"),
    "null": (answering("200 OK", body(b"null")), "policy.malformed"),
    "true": (answering("200 OK", body(b"true")), "policy.malformed"),
    "one": (answering("200 OK", body(b'{"allow":1,"reasons":[]}')), "policy.malformed"),
    "the word": (answering("200 OK", body(b'{"allow":"true","reasons":[]}')), "policy.malformed"),
    "no reasons": (answering("200 OK", body(b'{"allow":true}')), "policy.malformed"),
    "a huge limit": (
        answering("200 OK", body(b'{"allow":true,"reasons":[],"constraints":{"fuel_max":99999999999999999999}}')),
        "policy.malformed",
    ),
    "more than a decision": (answering("200 OK", body(b'{"allow":true,"reasons":[],"also":1}')), "policy.malformed"),
    "no provenance": (answering("200 OK", b'{"result":' + YES + b"}"), "policy.bundle_mismatch"),
    "no bundle": (answering("200 OK", body(provenance=b'"provenance":{"version":"1.22.0"}')), "policy.bundle_mismatch"),
    "another revision": (
        answering("200 OK", body(provenance=PROVENANCE.replace(b"r1", b"r2"))),
        "policy.bundle_mismatch",
    ),
    "no revision": (
        answering("200 OK", body(provenance=b'"provenance":{"bundles":{"missiongate":{}}}')),
        "policy.bundle_mismatch",
    ),
    "a revision that is no text": (
        answering("200 OK", body(provenance=b'"provenance":{"bundles":{"missiongate":{"revision":["r1"]}}}')),
        "policy.bundle_mismatch",
    ),
    "two bundles": (
        answering("200 OK", body(provenance=PROVENANCE.replace(b"}}}", b'},"more":{"revision":"r1"}}}'))),
        "policy.bundle_mismatch",
    ),
}


async def test_the_right_answer_is_a_yes(policy: OpaPolicy, proxy: Proxy) -> None:
    """What the wrong answers below are made of is a yes when nothing is wrong with it."""
    await proxy.set(answering("200 OK", body()))
    assert (await policy.decide("step", FINE)).allow is True
    assert proxy.requests[0].startswith(b"POST /v1/data/gateway/step/decision?provenance=true HTTP/1.1\r\n")
    assert proxy.requests[0].endswith(b'\r\n\r\n{"input":{"step":"fine"}}')


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_wrong_answer_is_a_no_and_the_next_one_is_decided(policy: OpaPolicy, proxy: Proxy, wrong: str) -> None:
    """Each has its code; nothing of it is left in the connection, or in the engine."""
    act, expected = WRONG[wrong]
    await proxy.set(act)
    assert code(await policy.decide("step", FINE)) == expected
    await proxy.set(None)
    assert (await policy.decide("step", FINE)).allow is True


async def test_a_redirect_is_not_followed(policy: OpaPolicy, proxy: Proxy) -> None:
    """One request, and no second one to where the answer points."""
    await proxy.set(answering("302 Found\r\nLocation: http://127.0.0.1:1/v1/data/gateway/step/decision"))
    assert code(await policy.decide("step", FINE)) == "policy.malformed"
    assert len(proxy.requests) == 1


async def test_what_may_pass_is_asked_again_and_what_may_not_is_not(policy: OpaPolicy, proxy: Proxy) -> None:
    """A lost connection and a busy server are asked `retries` times more; OPA's own error is its answer."""
    for act, times in ((saying(b""), 2), (answering("503 Busy"), 2), (answering("500 Error", OPA_ERROR), 1)):
        proxy.requests.clear()
        await proxy.set(act)
        await policy.decide("step", FINE)
        assert len(proxy.requests) == times


async def test_a_connection_lost_once_costs_no_decision(policy: OpaPolicy, proxy: Proxy) -> None:
    """The second try is answered."""

    async def once(_request: bytes, _writer: asyncio.StreamWriter) -> None:
        proxy.act = answering("200 OK", body())

    await proxy.set(once)
    assert (await policy.decide("step", FINE)).allow is True
    assert len(proxy.requests) == 2


async def test_opa_is_killed_and_started_again(policy: OpaPolicy, beside: OpaBeside) -> None:
    """Denied while it is away, decided when it is back, without a new engine."""
    assert (await policy.decide("step", FINE)).allow is True
    beside.kill()
    assert code(await policy.decide("step", FINE)) == "policy.unavailable"
    beside.start()
    await assert_allows_again(policy)


async def test_opa_is_killed_in_the_middle_of_a_decision(policy: OpaPolicy, beside: OpaBeside) -> None:
    """The caller gets its no at once, not at the deadline."""
    slow = OpaPolicy(bundle(), policy._server, deadlines_ms={"step": 60_000})
    await slow.start()
    deciding = asyncio.create_task(slow.decide("step", b'{"step":"loops"}'))
    await asyncio.sleep(0.3)
    assert not deciding.done()
    beside.kill()
    assert code(await deciding) == "policy.unavailable"
    beside.start()
    await assert_allows_again(policy)


async def test_opa_is_paused(policy: OpaPolicy, beside: OpaBeside) -> None:
    """An OPA that does nothing is a timeout, and then is left alone for a while."""
    beside.signal(signal.SIGSTOP)
    codes = [code(await policy.decide("step", FINE)) for _ in range(6)]
    assert codes == ["policy.timeout"] * 5 + ["policy.unavailable"]
    beside.signal(signal.SIGCONT)
    await assert_allows_again(policy)


async def test_a_policy_that_does_not_end(policy: OpaPolicy) -> None:
    """OPA has no timer: our deadline is the end of it, and others are decided meanwhile and after it."""
    loops = asyncio.create_task(policy.decide("step", b'{"step":"loops"}'))
    await asyncio.sleep(0.05)
    assert (await policy.decide("step", FINE)).allow is True
    assert code(await loops) == "policy.timeout"
    assert (await policy.decide("step", FINE)).allow is True


async def test_slow_documents_do_not_close_the_door_for_others(policy: OpaPolicy) -> None:
    """However many time out: while OPA answers anybody, it is asked."""
    for _ in range(7):
        loops = asyncio.create_task(policy.decide("step", b'{"step":"loops"}'))
        await asyncio.sleep(0.05)
        assert (await policy.decide("step", FINE)).allow is True
        assert code(await loops) == "policy.timeout"


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (b'{"step":"torn"}', "policy.failed"),
        (orjson.dumps({"step": "large", "text": "x" * 10_000}), "policy.malformed"),
        (b"", "policy.failed"),
        (b'{"step":', "policy.failed"),
        (b"\xff", "policy.failed"),
        (b'{"step":"\xed\xa0\x80"}', "policy.failed"),
        (b'{"step":"\\ud800"}', "policy.failed"),
        (b'{"step":1e400}', "policy.failed"),
        (b"[" * 20_000 + b"]" * 20_000, "policy.failed"),
        (b'{"step":"no"},"input":{"step":"fine"}', "policy.failed"),
        (b'{"step":"no"}}{"input":{"step":"fine"}', "policy.failed"),
    ],
)
async def test_documents_that_are_none(policy: OpaPolicy, document: bytes, expected: str) -> None:
    """No JSON, JSON that no engine takes, and texts that would end our wrapping and put another input behind it."""
    assert code(await policy.decide("step", document)) == expected
    assert (await policy.decide("step", FINE)).allow is True


@pytest.mark.parametrize(
    "document",
    [b'{"step":"fine\\u0000"}', b'{"step":99999999999999999999999999}', b"null", b"[]", b'"fine"'],
)
async def test_odd_documents_are_decided(policy: OpaPolicy, document: bytes) -> None:
    """NUL, huge numbers and no objects: the policy's own no."""
    decision = await policy.decide("step", document)
    assert (decision.allow, decision.reasons) == (False, ())


async def test_an_undefined_rule(policy: OpaPolicy) -> None:
    """No rule answers for the call, and no package at all for the effect."""
    assert code(await policy.decide("rpc", b"{}")) == "policy.undefined"
    assert code(await policy.decide("effect", b"{}")) == "policy.undefined"
    assert code(await policy.decide("rpc", FINE)) == "policy.malformed"


async def test_nothing_is_decided_before_the_start_and_after_the_end(server: OpaServer) -> None:
    """An engine that has not seen its bundle in OPA, or not any more, takes no answer."""
    engine = OpaPolicy(bundle(), server, deadlines_ms=DEADLINES)
    assert code(await engine.decide("step", FINE)) == "policy.bundle_mismatch"
    await engine.start()
    assert (await engine.decide("step", FINE)).allow is True
    await engine.close()
    assert code(await engine.decide("step", FINE)) == "policy.bundle_mismatch"


async def test_opa_is_restarted_with_another_bundle(policy: OpaPolicy, beside: OpaBeside) -> None:
    """What the other bundle allows is denied; with the right one again it is decided."""
    beside.kill()
    beside.archive.write_bytes(write_archive(files("r2")))
    beside.start()
    await assert_comes_to(policy, "policy.bundle_mismatch")
    beside.archive.write_bytes(write_archive(files("r1")))
    await assert_allows_again(policy)


async def test_half_a_bundle(policy: OpaPolicy, beside: OpaBeside) -> None:
    """OPA goes on with the one that it has; it does not start with it, and everything is denied until it is whole."""
    whole = beside.archive.read_bytes()
    beside.archive.write_bytes(whole[: len(whole) // 2])
    await asyncio.sleep(0.3)
    assert (await policy.decide("step", FINE)).allow is True
    beside.kill()
    with pytest.raises(RuntimeError, match="unexpected EOF"):
        beside.start()
    assert code(await policy.decide("step", FINE)) == "policy.unavailable"
    beside.archive.write_bytes(whole)
    beside.start()
    await assert_allows_again(policy)


async def test_a_bundle_that_opa_refuses_is_not_started_and_the_old_one_goes_on(
    policy: OpaPolicy, beside: OpaBeside
) -> None:
    """OPA's compiler judges; the archive is put back, so that a restart of OPA brings the old bundle."""
    before = beside.archive.read_bytes()
    bad = bundle("r2", **{"rpc.rego": "package gateway.rpc\n\nimport rego.v1\n\ndecision := no_such_function(input)\n"})
    engine = OpaPolicy(bad, policy._server, export=beside.archive, activation_seconds=1.0)
    with pytest.raises(PolicyInvalidError, match=r"did not load the bundle within 1 s: .*'r2', it has 'r1'") as caught:
        await engine.start()
    assert caught.value.code == "policy.bundle_mismatch"
    assert beside.archive.read_bytes() == before
    assert (await policy.decide("step", FINE)).allow is True


async def test_an_opa_that_is_away_is_no_start(beside: OpaBeside, server: OpaServer) -> None:
    """The engine does not come up, and says that OPA cannot be asked."""
    beside.kill()
    engine = OpaPolicy(bundle(), server, activation_seconds=0.5)
    with pytest.raises(PolicyUnavailableError, match=r"OPA did not report the bundle within 0\.5 s"):
        await engine.start()


async def test_a_cancelled_start_leaves_the_archive_as_it_was(beside: OpaBeside, server: OpaServer) -> None:
    """Whoever gives up waiting has changed nothing."""
    before = beside.archive.read_bytes()
    engine = OpaPolicy(bundle("r2", **{"rpc.rego": "package gateway.rpc\n\nx := y\n"}), server, export=beside.archive)
    starting = asyncio.create_task(engine.start())
    while beside.archive.read_bytes() == before:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.01)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert beside.archive.read_bytes() == before
    assert list((beside.archive.parent / ".incoming").iterdir()) == []


async def test_an_archive_that_cannot_be_written(server: OpaServer, tmp_path: Path) -> None:
    """The start fails, with the path."""
    (tmp_path / "file").write_text("")
    engine = OpaPolicy(bundle(), server, export=tmp_path / "file" / "bundle.tar.gz")
    with pytest.raises(PolicyUnavailableError, match=r"OPA cannot be given the bundle: .*Not a directory"):
        await engine.start()


async def assert_comes_to(policy: OpaPolicy, expected: str) -> None:
    """Return once a decision is the expected no; until then it is another no, or the old yes."""
    async with asyncio.timeout(20):
        while (decision := await policy.decide("step", FINE)).allow or code(decision) != expected:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert (decision.allow, code(decision)) == (False, expected)


async def assert_allows_again(policy: OpaPolicy) -> None:
    async with asyncio.timeout(20):
        while not (await policy.decide("step", FINE)).allow:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)
    assert (await policy.decide("step", FINE)).allow is True

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from gateway.anchoring.http import HttpClient, HttpPlace, HttpWitness
from gateway.anchoring.ports import UnreachableError
from tests.certificates import Authority

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        host, port = runner.addresses[0][:2]
        yield f"{'https' if tls else 'http'}://{host}:{port}/here"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def client(url: str, *, ca_file: Path | None = None, seconds: float = 10.0) -> AsyncIterator[HttpClient]:
    made = HttpClient(url, ca_file=ca_file, timeout_seconds=seconds)
    try:
        yield made
    finally:
        await made.close()


async def test_a_witness_is_asked_at_its_prefix() -> None:
    """POST to add-checkpoint, the body as it is; the answer comes back as it is, over one kept connection."""
    seen = []

    async def handler(request: web.Request) -> web.Response:
        peer = request.transport.get_extra_info("peername") if request.transport else None
        seen.append((request.method, request.path, await request.read(), peer))
        return web.Response(status=409, body=b"7\n", headers={"Content-Type": "text/x.tlog.size"})

    async with serving(handler) as url, client(url + "/") as http:
        for _ in range(2):
            answer = await HttpWitness(http).add_checkpoint(b"old 0\n\nnote\n")
    assert (answer.status, answer.content_type, answer.body) == (409, "text/x.tlog.size", b"7\n")
    assert seen[0][:3] == ("POST", "/here/add-checkpoint", b"old 0\n\nnote\n")
    assert seen[0] == seen[1]


async def test_an_answer_is_bounded() -> None:
    """A server that sends without end is left after 64 KiB."""

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(bytes(16_384))

    async with serving(endless) as url, client(url) as http:
        with pytest.raises(UnreachableError, match="over 65536 bytes"):
            await HttpWitness(http).add_checkpoint(b"")


async def test_a_silent_server_is_left() -> None:
    """After the time that a request may take."""
    never = asyncio.Event()

    async def silent(request: web.Request) -> web.Response:
        del request
        await never.wait()
        return web.Response()

    async with serving(silent) as url, client(url, seconds=0.05) as http:
        with pytest.raises(UnreachableError, match=r"no answer in 0\.05 s"):
            await HttpWitness(http).add_checkpoint(b"")
        never.set()


async def test_redirects_and_proxies_are_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The configuration says who is asked: a redirect is an answer, a proxy of the environment is nothing."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    async def elsewhere(request: web.Request) -> web.Response:
        assert request.path == "/here/add-checkpoint"
        return web.Response(status=307, headers={"Location": "/other"})

    async with serving(elsewhere) as url, client(url) as http:
        assert (await HttpWitness(http).add_checkpoint(b"")).status == 307


async def test_nobody_there_says_so() -> None:
    """No connection, and no address of anybody in the message."""
    async with client("http://127.0.0.1:1") as http:
        with pytest.raises(UnreachableError, match=r"^no connection$"):
            await HttpWitness(http).add_checkpoint(b"")


async def test_tls_believes_the_named_authority(tmp_path: Path) -> None:
    """With ca_file the server is believed, without it is not, and a file that is none says so."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)

    async def good(request: web.Request) -> web.Response:
        del request
        return web.Response(body=b"good")

    async with serving(good, tls) as url:
        async with client(url, ca_file=authority.file) as http:
            assert (await HttpWitness(http).add_checkpoint(b"")).body == b"good"
        async with client(url) as http:
            with pytest.raises(UnreachableError, match="certificate is not accepted"):
                await HttpWitness(http).add_checkpoint(b"")
        async with client(url, ca_file=tmp_path / "missing.pem") as http:
            with pytest.raises(UnreachableError, match="ca_file: No such file"):
                await HttpWitness(http).add_checkpoint(b"")


async def test_a_place_takes_a_note_with_a_token(tmp_path: Path) -> None:
    """PUT with the bearer token of the file, which is read each time; GET gives it back."""
    token = tmp_path / "token"
    held: dict[str, bytes] = {}
    tokens = []

    async def store(request: web.Request) -> web.Response:
        tokens.append(request.headers.get("Authorization"))
        if request.method == "PUT":
            held[request.path] = await request.read()
            return web.Response(status=204)
        return web.Response(body=held[request.path]) if request.path in held else web.Response(status=404)

    async with serving(store) as url, client(url) as http:
        place = HttpPlace(http, url, token)
        token.write_text("one\n")
        assert await place.read() is None
        await place.put(b"note\n")
        token.write_text("two\n")
        assert await place.read() == b"note\n"
    assert held == {"/here": b"note\n"}
    assert tokens == ["Bearer one", "Bearer one", "Bearer two"]


@pytest.mark.parametrize(
    ("content", "why"), [(b"", "one token"), (b"a b", "one token"), (b"\xff", "ASCII"), (b"x" * 9_000, "one token")]
)
async def test_a_token_file_has_one_token(tmp_path: Path, content: bytes, why: str) -> None:
    """Anything else is not sent, and not repeated."""
    (tmp_path / "token").write_bytes(content)
    async with client("http://127.0.0.1:1") as http:
        with pytest.raises(UnreachableError, match=why):
            await HttpPlace(http, "place", tmp_path / "token").put(b"")


@pytest.mark.parametrize("status", [202, 301, 400, 403, 409, 500])
async def test_a_refused_note_is_not_out(status: int) -> None:
    """Only 200, 201 and 204 are a yes."""

    async def refuses(request: web.Request) -> web.Response:
        del request
        return web.Response(status=status)

    async with serving(refuses) as url, client(url) as http:
        with pytest.raises(UnreachableError, match=f"PUT: it answers {status}"):
            await HttpPlace(http, url, None).put(b"note")


@pytest.mark.parametrize(
    ("status", "known"), [(401, True), (403, True), (404, True), (405, True), (500, False), (302, False)]
)
async def test_a_place_that_tells_nothing_is_no_fault(status: int, known: bool) -> None:
    """Some servers take, and do not give; one that is out of order is asked again before it is written to."""

    async def tells_nothing(request: web.Request) -> web.Response:
        del request
        return web.Response(status=status)

    async with serving(tells_nothing) as url, client(url) as http:
        place = HttpPlace(http, url, None)
        if known:
            assert await place.read() is None
            return
        with pytest.raises(UnreachableError, match=f"GET: it answers {status}"):
            await place.read()

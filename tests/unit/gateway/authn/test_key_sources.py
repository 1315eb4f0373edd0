"""Where an issuer's keys are read from."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import web

from gateway.authn import key_sources
from gateway.authn.jwks import SET_BYTES_MAX
from gateway.authn.key_sources import KeyFile, KeySourceError, KeyUrl
from tests.certificates import Authority

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def answering(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/{path}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


async def keys(_: web.Request) -> web.Response:
    return web.Response(body=b'{"keys":[]}')


async def test_a_set_comes_over_tls_from_whom_the_operator_believes(tmp_path: Path) -> None:
    """With the configured authority; without it, or from another one, nothing does."""
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.issue("server"))
    async with answering(keys, context) as url:
        assert await KeyUrl(f"{url}/keys", ca_file=authority.file).read() == b'{"keys":[]}'
        for ca_file in (None, stranger.file):
            with pytest.raises(KeySourceError, match="certificate is not accepted"):
                await KeyUrl(f"{url}/keys", ca_file=ca_file).read()
        with pytest.raises(KeySourceError, match="FileNotFoundError"):
            await KeyUrl(f"{url}/keys", ca_file=tmp_path / "missing").read()


async def test_no_redirect_and_no_other_answer_is_a_set() -> None:
    """Nor a body without an end; what was answered is in no message."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(path := request.match_info["path"])
        if path == "moved":
            raise web.HTTPFound("/keys")
        if path == "broken":
            raise web.HTTPInternalServerError(text="a stack trace")
        response = web.StreamResponse()
        await response.prepare(request)
        with suppress(ConnectionError):
            while request.transport is not None and not request.transport.is_closing():
                await response.write(b" " * SET_BYTES_MAX)
        return response

    async with answering(answer) as url:
        for path, why in (("moved", "answered 302"), ("broken", "answered 500"), ("endless", "gives more than")):
            with pytest.raises(KeySourceError, match=f"^{why}") as caught:
                await KeyUrl(f"{url}/{path}").read()
            assert "trace" not in str(caught.value)
    assert asked == ["moved", "broken", "endless"]
    with pytest.raises(KeySourceError, match="no connection"):
        await KeyUrl(f"{url}/gone").read()


async def test_a_server_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller may be waiting for it."""
    monkeypatch.setattr(key_sources, "FETCH_SECONDS_MAX", 0.1)

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await over.wait()
        return response

    over = asyncio.Event()
    async with answering(answer) as url:
        with pytest.raises(KeySourceError, match="did not answer"):
            await KeyUrl(f"{url}/keys").read()
        over.set()


async def test_a_file_is_read_within_its_bound(tmp_path: Path) -> None:
    """Anew each time; one that is missing or too large gives nothing."""
    path = tmp_path / "keys.json"
    path.write_bytes(b"one")
    source = KeyFile(path)
    assert await source.read() == b"one"
    path.write_bytes(b"two")
    assert await source.read() == b"two"
    path.write_bytes(b" " * (SET_BYTES_MAX + 1))
    with pytest.raises(KeySourceError, match="is over"):
        await source.read()
    path.unlink()
    with pytest.raises(KeySourceError, match="No such file"):
        await source.read()


def test_the_query_is_in_no_name() -> None:
    """It may be a secret that opens the URL."""
    assert KeyUrl("https://i.example/keys?sig=secret").name == "https://i.example/keys"

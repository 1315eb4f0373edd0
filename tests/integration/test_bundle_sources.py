import asyncio
import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import gateway.bundles.url_source as sources_module
from gateway.bundles.sources import ArchiveSource, BundleSource, FolderSource
from gateway.bundles.url_source import UrlSource
from gateway.errors import BundleSourceError, ConfigurationError, PolicyInvalidError
from gateway.policy.bundle_files import ARCHIVE_BYTES_MAX, write_archive
from tests.bundle_worlds import ListAudit, World, archive_of, bundle_files, signed_world

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
BUNDLE = archive_of(1)


@asynccontextmanager
async def speaking(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve on loopback with a handler that writes what bytes it likes; yield the address."""
    tasks: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()


def says(head: str, body: bytes = b"", seen: list[bytes] | None = None) -> Handler:
    """Return a handler that answers every request with the same."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if seen is not None:
            seen.append(request)
        writer.write(head.encode().replace(b"\n", b"\r\n") + b"\r\n\r\n" + body)
        await writer.drain()

    return handle


async def refusal(source: BundleSource, etag: str = "") -> str:
    with pytest.raises((BundleSourceError, PolicyInvalidError)) as caught:
        await source.fetch(etag)
    return f"{caught.value.code}: {caught.value.message}"


# --- a folder and an archive ---


async def test_a_folder_and_its_archive_give_the_same(tmp_path: Path) -> None:
    """The same files; an ETag that holds until something in them changes."""
    folder, path = tmp_path / "bundle", tmp_path / "bundle.tar.gz"
    folder.mkdir()
    for name, content in bundle_files(1).items():
        (folder / name).write_bytes(content)
    path.write_bytes(write_archive(bundle_files(1)))
    for source in (FolderSource(folder), ArchiveSource(path)):
        fetched = await source.fetch("")
        assert fetched is not None
        assert fetched.archive == path.read_bytes()
        assert await source.fetch(fetched.etag) is None
    (folder / "rpc.rego").write_text("package gateway.rpc\n")
    assert await FolderSource(folder).fetch(fetched.etag) is not None


async def test_a_local_source_that_is_not_there(tmp_path: Path) -> None:
    """No folder, no file, a folder in place of a file, and one that is too large."""
    assert (await refusal(FolderSource(tmp_path / "none"))).startswith("policy.no_bundle")
    assert (await refusal(ArchiveSource(tmp_path / "none"))).startswith("policy.no_bundle")
    assert (await refusal(ArchiveSource(tmp_path))).startswith("policy.no_bundle")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(ARCHIVE_BYTES_MAX + 1)
    assert (await refusal(ArchiveSource(tmp_path / "large"))).startswith("policy.too_large")


# --- a server ---


async def test_a_web_server_with_etags(tmp_path: Path) -> None:
    """A file behind a real server: 200 with an ETag, 304 until it changes, and then the other one."""
    path = tmp_path / "bundle.tar.gz"
    path.write_bytes(BUNDLE)

    async def serve(_: web.Request) -> web.FileResponse:
        return web.FileResponse(path)

    app = web.Application()
    app.router.add_get("/b.tar.gz", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        source = UrlSource(f"http://127.0.0.1:{runner.addresses[0][1]}/b.tar.gz")
        first = await source.fetch("")
        assert first is not None
        assert first.archive == BUNDLE
        assert first.etag
        assert await source.fetch(first.etag) is None
        path.write_bytes(archive_of(2, more="x" * 100))
        second = await source.fetch(first.etag)
        assert second is not None
        assert (second.archive, second.etag == first.etag) == (archive_of(2, more="x" * 100), False)
    finally:
        await runner.cleanup()


async def test_what_is_asked(tmp_path: Path) -> None:
    """The path and query as configured, the token of a file, the ETag; no cookie, no body, nothing else."""
    seen: list[bytes] = []
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    async with speaking(says("HTTP/1.1 200 OK\nContent-Length: 1", b"x", seen)) as address:
        source = UrlSource(f"http://{address}/a%2Fb.tar.gz?X-Sig=a%2Bb&c=d", token_file=token)
        await source.fetch('W/"e"')
    head, *lines = seen[0].decode().split("\r\n")
    assert head == "GET /a%2Fb.tar.gz?X-Sig=a%2Bb&c=d HTTP/1.1"
    headers = dict(line.split(": ", 1) for line in lines if line)
    assert headers["Authorization"] == "Bearer s3cret"
    assert headers["If-None-Match"] == 'W/"e"'
    assert headers["Accept-Encoding"] == "identity"
    assert set(headers) <= {
        "Host",
        "Accept",
        "Accept-Encoding",
        "Authorization",
        "If-None-Match",
        "User-Agent",
        "Connection",
    }
    assert source.name == f"http://{address}/a%2Fb.tar.gz"


ANSWERS = {
    "404": ("HTTP/1.1 404 Not Found\nContent-Length: 0", b""),
    "500": ("HTTP/1.1 500 Oh\nContent-Length: 0", b""),
    "204": ("HTTP/1.1 204 No Content", b""),
    "206": ("HTTP/1.1 206 Partial\nContent-Length: 1\nContent-Range: bytes 0-0/2", b"x"),
    "304 without having been asked": ("HTTP/1.1 304 Not Modified", b""),
    "nonsense": ("HELLO", b""),
    "no HTTP at all": ("\x16\x03\x01\x02\x00", b"\x01\x00"),
    "a header without an end": ("HTTP/1.1 200 OK\nX: " + "x" * 100_000, b""),
    "a length that is none": ("HTTP/1.1 200 OK\nContent-Length: -1", b""),
    "less than it says": ("HTTP/1.1 200 OK\nContent-Length: 100", b"x"),
    "a chunk that is cut": ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"5\r\nab"),
    "a chunk that is none": ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"zz\r\nab\r\n"),
}


@pytest.mark.parametrize(("head", "body"), ANSWERS.values(), ids=ANSWERS)
async def test_other_answers_are_no_bundle(head: str, body: bytes) -> None:
    """Each is a fault that names the server and not the query."""
    async with speaking(says(head, body)) as address:
        told = await refusal(UrlSource(f"http://{address}/b?secret=1"))
    assert told.startswith(f"policy.source_unavailable: http://{address}/b")
    assert "secret" not in told


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(status: int) -> None:
    """The configuration says who is asked; a token goes nowhere else."""
    asked: list[bytes] = []
    async with speaking(says("HTTP/1.1 200 OK\nContent-Length: 1", b"x", asked)) as other:
        head = f"HTTP/1.1 {status} Moved\nLocation: http://{other}/b\nContent-Length: 0"
        async with speaking(says(head)) as address:
            assert str(status) in await refusal(UrlSource(f"http://{address}/b"))
    assert asked == []


async def test_the_environment_says_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No proxy of the environment is used, and no password of a .netrc."""
    seen: list[bytes] = []
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with (
        speaking(says("HTTP/1.1 500 Proxy\nContent-Length: 0")) as proxy,
        speaking(says("HTTP/1.1 200 OK\nContent-Length: 1", b"x", seen)) as address,
    ):
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://{proxy}")
        monkeypatch.delenv("no_proxy", raising=False)
        assert await UrlSource(f"http://{address}/b").fetch("") is not None
    assert b"Authorization" not in seen[0]


async def test_a_body_without_an_end_is_cut_off() -> None:
    """By length where it says one, and by what has come where it does not."""
    sent = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
            await writer.drain()
            sent += 0x10000

    async with speaking(endless) as address:
        assert (await refusal(UrlSource(f"http://{address}/b"))).startswith("policy.too_large")
    assert sent < 2 * ARCHIVE_BYTES_MAX
    head = f"HTTP/1.1 200 OK\nContent-Length: {ARCHIVE_BYTES_MAX + 1}"
    async with speaking(says(head)) as address:
        assert (await refusal(UrlSource(f"http://{address}/b"))).startswith("policy.too_large")


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"])
async def test_a_server_that_hangs_is_given_up(head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before its answer, and in the middle of it."""
    monkeypatch.setattr(sources_module, "FETCH_SECONDS_MAX", 0.2)

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        await asyncio.sleep(60)

    async with speaking(hang) as address:
        assert "did not answer" in await refusal(UrlSource(f"http://{address}/b"))


async def test_nobody_listens() -> None:
    """A closed port, and a name that nobody has."""
    async with speaking(says("")) as address:
        pass
    assert "no connection" in await refusal(UrlSource(f"http://{address}/b"))
    assert "no connection" in await refusal(UrlSource("http://nobody.invalid/b"))


@pytest.mark.parametrize("etag", ["x" * 257, "a\tb", "\x7f"])
async def test_an_odd_etag_is_none(etag: str) -> None:
    """It is not kept, and not sent back."""
    async with speaking(says(f"HTTP/1.1 200 OK\nContent-Length: 1\nETag: {etag}", b"x")) as address:
        fetched = await UrlSource(f"http://{address}/b").fetch("")
    assert fetched is not None
    assert fetched.etag == ""


async def test_content_is_not_unpacked_on_the_way() -> None:
    """`Content-Encoding: gzip` on a tar.gz, as object stores are often set up: the bytes are the bundle's."""
    head = f"HTTP/1.1 200 OK\nContent-Length: {len(BUNDLE)}\nContent-Encoding: gzip"
    async with speaking(says(head, BUNDLE)) as address:
        fetched = await UrlSource(f"http://{address}/b").fetch("")
    assert fetched is not None
    assert fetched.archive == BUNDLE


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, Path]:
    """Return a server's side of TLS for 127.0.0.1, and its certificate in a file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=3_650))
        .not_valid_after(now + dt.timedelta(days=36_500))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert, private = folder / f"{name}.pem", folder / f"{name}.key"
    cert.write_bytes(made.public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, private)
    return context, cert


async def test_https_with_an_authority_of_ones_own(tmp_path: Path) -> None:
    """The one that is configured, and no other; a file that is replaced counts at the next question."""
    context, cert = certificate(tmp_path, "one")
    _, other = certificate(tmp_path, "two")
    authority = tmp_path / "ca.pem"
    head = f"HTTP/1.1 200 OK\nContent-Length: {len(BUNDLE)}"
    async with speaking(says(head, BUNDLE), context) as address:
        source = UrlSource(f"https://{address}/b", ca_file=authority)
        assert source.protected
        assert "ca_file" in await refusal(source)
        authority.write_bytes(other.read_bytes())
        assert "certificate" in await refusal(source)
        assert "certificate" in await refusal(UrlSource(f"https://{address}/b"))
        assert "certificate" in await refusal(
            UrlSource(f"https://localhost:{address.partition(':')[2]}/b", ca_file=cert)
        )
        authority.write_bytes(cert.read_bytes())
        fetched = await source.fetch("")
    assert fetched is not None
    assert fetched.archive == BUNDLE


@pytest.mark.parametrize("token", ["", "\n", "a b", "é", "a\nb", "x" * 9_000, "a\x00b"])
async def test_a_token_that_is_none_is_not_sent(tmp_path: Path, token: str) -> None:
    """And no message has any of it."""
    path = tmp_path / "token"
    path.write_text(token)
    seen: list[bytes] = []
    async with speaking(says("HTTP/1.1 200 OK\nContent-Length: 1", b"x", seen)) as address:
        told = await refusal(UrlSource(f"http://{address}/b", token_file=path))
        path.unlink()
        assert "token_file" in await refusal(UrlSource(f"http://{address}/b", token_file=path))
    assert told.startswith("policy.source_unavailable: policy.bundles.token_file: ")
    assert seen == []


@pytest.mark.parametrize(
    ("url", "token"),
    [
        ("ftp://host/b", False),
        ("https:///b", False),
        ("https://user:password@host/b", False),
        ("https://user@host/b", False),
        ("https://host/b#x", False),
        ("https://[::1/b", False),
        ("https://host:99999/b", False),
        ("https://host:b/b", False),
        ("http://bundles.example/b", True),
        ("http://10.0.0.1/b", True),
    ],
)
def test_a_url_that_would_betray_something_is_not_configured(tmp_path: Path, url: str, *, token: bool) -> None:
    """Credentials in it, a token over a network in the clear; or it is none that a client could ask."""
    with pytest.raises(ConfigurationError) as caught:
        UrlSource(url, token_file=tmp_path / "token" if token else None)
    assert caught.value.code == "config.policy_source"
    assert "password" not in caught.value.message


# --- a gateway's bundles behind a server ---


async def test_polling_a_server_by_itself(tmp_path: Path) -> None:
    """`run` asks again and again: a new bundle decides, a dead server and a bad bundle change nothing."""
    answer = archive_of(1, sequence=1, signed=True)
    dead = False

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if not dead:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)
            await writer.drain()

    async with speaking(serve) as address:
        world = signed_world(tmp_path / "policy", options={"poll_seconds": 0.02, "stale_seconds_max": 3_600.0})
        world.source = UrlSource(f"http://{address}/b")  # type: ignore[assignment]
        bundles = await world.started()
        polling = asyncio.create_task(bundles.run())
        try:
            answer = archive_of(2, sequence=2, signed=True)
            await until(lambda: bundles.current.revision == "r2")
            dead = True
            await until(lambda: bundles.status().failure is not None)
            dead, answer = False, archive_of(3, sequence=3)
            await until(lambda: codes(world) == ["policy.unsigned"])
            answer = archive_of(1, sequence=1, signed=True)
            await until(lambda: codes(world) == ["policy.unsigned", "policy.older_revision"])
            answer = archive_of(4, sequence=4, signed=True)
            await until(lambda: bundles.current.revision == "r4")
        finally:
            polling.cancel()
            await asyncio.wait([polling])
        await bundles.close()
    assert world.engine.taken == ["r2", "r4"]
    assert await restarted(world) == "r4"


async def restarted(world: World) -> str:
    """Return what decides after a restart with nobody there."""
    world.audit = ListAudit()
    return (await world.started()).current.revision


def codes(world: World) -> list[str]:
    return [details["code"] for details in world.audit.of("policy.bundle_refused")]


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - it is the server's and the clock's doing
            await asyncio.sleep(0.01)

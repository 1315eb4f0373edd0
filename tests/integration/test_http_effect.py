"""http.request against real servers on this machine, some of them hostile."""

import asyncio
import ssl
import struct
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from engine.values import JsonObject, JsonValue
from gateway.addresses import Address, AddressPolicy
from gateway.effects.blocking import BlockingPool
from gateway.effects.http import HttpLimits, HttpRequest, tls_context
from gateway.effects.performer import EffectRequest, Effects, EffectScope
from gateway.effects.resolver import Resolver, SystemResolver
from gateway.effects.workspace import Workspace, Workspaces
from gateway.errors import EffectError
from gateway.vault.opened import EffectSecrets
from gateway.vault.rules import SecretRule
from gateway.watch import Outgoing, nothing_outgoing

Handler = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
Serve = Callable[[Handler], AbstractAsyncContextManager[int]]

KEY = "0" * 64
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class FakeResolver:
    """Answers from a script, one answer a question, and remembers what was asked."""

    def __init__(self, *answers: str | tuple[str, ...]) -> None:
        self._answers = [(a,) if isinstance(a, str) else a for a in answers]
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int, *, timeout_seconds: float) -> tuple[Address, ...]:
        del port, timeout_seconds
        self.asked.append(host)
        return tuple(ip_address(a) for a in self._answers[min(len(self.asked), len(self._answers)) - 1])


@asynccontextmanager
async def serving(handler: Handler, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve on a free loopback port; the handler gets the whole request."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            tasks.add(task)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = await reader.readuntil(b"\r\n\r\n")
            size = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), 0)
            await handler(head + await reader.readexactly(size), writer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answering(response: bytes, seen: list[bytes] | None = None) -> Handler:
    async def handler(request: bytes, writer: asyncio.StreamWriter) -> None:
        if seen is not None:
            seen.append(request)
        writer.write(response)

    return handler


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    workspaces = Workspaces.open(tmp_path)
    workspace = workspaces.create("m1", b"k" * 32)
    yield workspace
    workspace.close()
    workspaces.close()


class Client:
    """The effect under test, as the pipeline calls it."""

    def __init__(self, workspace: Workspace, tls: ssl.SSLContext | None = None) -> None:
        self._scope = EffectScope(workspace=workspace, mission_id="m1", step_id="s1")
        self.tls = tls or tls_context()
        self.limits = HttpLimits(
            response_body_bytes_max=1_000, request_body_bytes_max=1_000, response_bytes_max=200_000
        )
        self.resolver: Resolver = FakeResolver("127.0.0.1")
        self.networks: list[str] = ["127.0.0.1"]
        self.timeout_seconds = 5.0
        self.outgoing: Outgoing = nothing_outgoing

    async def __call__(self, url: str, **args: JsonValue) -> JsonObject:
        networks = AddressPolicy.parse(self.networks)
        performer = HttpRequest(networks, self.resolver, self.tls, self.limits, self.outgoing)
        effects = Effects({"http.request": performer})
        request = EffectRequest(
            op="http.request", args={"url": url, **args}, key=KEY, timeout_seconds=self.timeout_seconds
        )
        return await effects.perform(request, self._scope)

    async def refused(self, url: str, **args: JsonValue) -> EffectError:
        with pytest.raises(EffectError) as refused:
            await self(url, **args)
        return refused.value


@pytest.fixture
def client(workspace: Workspace) -> Client:
    return Client(workspace)


# --- the exchange ---


async def test_a_request_arrives_as_it_was_decided(client: Client) -> None:
    """Method, path, body and the guest's fields arrive; the host adds its own, the effect's key among them."""
    seen: list[bytes] = []
    response = b"HTTP/1.1 201 Created\r\nContent-Length: 4\r\nX-A: 1\r\nX-A: 2\r\n\r\ndone"
    async with serving(answering(response, seen)) as port:
        outcome = await client(
            f"http://service.test:{port}/a/b?c=%2f", method="POST", headers={"X-Trace": "t 1"}, body="grün"
        )
    assert outcome == {"status": 201, "headers": {"content-length": "4", "x-a": "1, 2"}, "body": "done"}
    head, _, body = seen[0].partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"POST /a/b?c=%2f HTTP/1.1",
        b"Host: service.test:%d" % port,
        b"Connection: close",
        b"Accept-Encoding: identity",
        b"Idempotency-Key: " + KEY.encode(),
        b"Content-Length: 5",
        b"User-Agent: missiongate",
        b"X-Trace: t 1",
    ]
    assert body == "grün".encode()


async def test_bytes_that_are_no_text_come_as_base64_and_nothing_is_decompressed(client: Client) -> None:
    """A body that claims to be gzip is recorded as it came."""
    response = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08"
    async with serving(answering(response)) as port:
        outcome = await client(f"http://service.test:{port}/")
    assert outcome["body_base64"] == "H4sI"
    assert "body" not in outcome


async def test_where_a_request_is_in_a_trace_is_told_to_some_hosts_only(client: Client) -> None:
    """To those that the configuration names, once; a guest's own header stays as it is."""
    seen: list[bytes] = []
    client.resolver = FakeResolver("127.0.0.1")
    client.outgoing = lambda host: "00-" + "1" * 32 + "-" + "2" * 16 + "-01" if host == "traced.example" else None
    async with serving(answering(OK, seen)) as port:
        await client(f"http://traced.example:{port}/")
        await client(f"http://other.example:{port}/")
        await client(f"http://traced.example:{port}/", headers={"TraceParent": "guest"})
    told = [[line for line in head.lower().split(b"\r\n") if line.startswith(b"traceparent")] for head in seen]
    assert told == [[b"traceparent: 00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01"], [], [b"traceparent: guest"]]


async def test_a_redirect_is_an_outcome(client: Client) -> None:
    """The host does not follow: the guest sees the 302 and asks anew, and is decided anew."""
    seen: list[bytes] = []
    async with serving(answering(OK, seen)) as other:
        response = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/\r\nContent-Length: 0\r\n\r\n" % other
        async with serving(answering(response)) as port:
            outcome = await client(f"http://service.test:{port}/")
    assert outcome["status"] == 302
    assert seen == []


async def test_the_environment_names_no_proxy(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxy variables are ignored: a proxy would connect to what was never checked."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with serving(answering(OK)) as port:
        assert (await client(f"http://service.test:{port}/"))["status"] == 200


async def test_cookies_are_not_kept(client: Client) -> None:
    """What one answer sets, no later request carries."""
    seen: list[bytes] = []
    response = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
    async with serving(answering(response, seen)) as port:
        for _ in range(2):
            await client(f"http://service.test:{port}/")
    assert b"cookie" not in seen[1].lower()


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "TE", "Upgrade", "Proxy-Anything",
                                  "Connection", "Idempotency-Key", "Accept-Encoding", "Expect", "Trailer",
                                  "Transfer_Encoding", "CONTENT_LENGTH", "idempotency_key", "Proxy_X"])  # fmt: skip
async def test_fields_of_the_host_are_refused(client: Client, name: str) -> None:
    """Framing, connection, coding and key are not the guest's to set."""
    error = await client.refused("http://service.test/", headers={name: "x"})
    assert (error.code, error.in_doubt) == ("effect.header_refused", False)


@pytest.mark.parametrize(
    "headers",
    [{"a b": "c"}, {"": "c"}, {"a": "b\r\nX: y"}, {"a": "b\0"}, {"a": " b"}, {"a": "é"}, {"A": "1", "a": "2"},
     {"X-A": "1", "x_a": "2"},
     {f"n{i}": "v" for i in range(65)}, {"a": "v" * 20_000}],
)  # fmt: skip
async def test_fields_that_are_none_are_refused(client: Client, headers: JsonObject) -> None:
    """Names are tokens, values printable ASCII; nothing can end a line or repeat a name."""
    assert (await client.refused("http://service.test/", headers=headers)).code == "effect.header_refused"


@pytest.mark.parametrize(
    "args",
    [{"method": "CONNECT"}, {"method": "get"}, {"method": "TRACE"}, {"method": 1}, {"body": "x"}, {"body": 1},
     {"method": "POST", "body": "a", "body_base64": "YQ=="}, {"headers": []}, {"headers": {"a": 1}},
     {"timeout_ms": -1}, {"timeout_ms": True}, {"host": "other.test"}, {"port": 81}, {"proxy": "x"}],
)  # fmt: skip
async def test_wrong_arguments_are_refused(client: Client, args: dict[str, JsonValue]) -> None:
    """Nothing but the arguments of the operation, of their types, and consistent with the URL."""
    assert (await client.refused("http://service.test/", **args)).code == "effect.arguments"


@pytest.mark.parametrize(
    "url",
    ["", "/", "ftp://a.test/", "file:///etc/passwd", "http://u:p@a.test/", "http://@a.test/", "http://a.test:0/",
     "http://a.test:99999/", "http://a.test/a/../b", "http://a.test/%2e%2e/b", "http://a.test/ä", "http://a.test/a b",
     "http:\\\\a.test/", "http://a\t.test/", " http://a.test/", "http:///a.test", "http://[::1/", "http://a.test\\@b/",
     "http://a.test/" + "a" * 9_000, "javascript:alert(1)", "http://a.test/\r\nX: y"],
)  # fmt: skip
async def test_urls_that_parsers_would_change_are_refused(client: Client, url: str) -> None:
    """Another scheme, credentials, or a path that would be requested differently than policy read it."""
    assert (await client.refused(url)).code == "effect.url_refused"


# --- where it may go ---


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "169.254.169.254", "0x7f.1",  # noqa: S104 - a target
                                  "2130706433", "[64:ff9b::7f00:1]", "[fe80::1]", "10.0.0.1", "127.1"])  # fmt: skip
async def test_inner_addresses_are_refused_by_default(client: Client, host: str) -> None:
    """Without a word of policy only public unicast is reached, however the address is spelled."""
    seen: list[bytes] = []
    client.networks = []
    async with serving(answering(OK, seen)) as port:
        error = await client.refused(f"http://{host}:{port}/")
    assert (error.code, error.in_doubt, seen) == ("effect.address_refused", False, [])


async def test_policy_opens_one_port_of_one_address(client: Client) -> None:
    """`127.0.0.1:port` in policy data allows that, and not the port beside it, nor the address in IPv6 dress."""
    async with serving(answering(OK)) as port, serving(answering(OK)) as other:
        client.networks = [f"127.0.0.1:{port}"]
        assert (await client(f"http://127.0.0.1:{port}/"))["body"] == "ok"
        for url in (f"http://127.0.0.1:{other}/", f"http://[::ffff:127.0.0.1]:{port}/"):
            assert (await client.refused(url)).code == "effect.address_refused"


async def test_a_name_is_resolved_once(client: Client) -> None:
    """DNS rebinding: the second answer, an inner address, is never asked for."""
    client.resolver = resolver = FakeResolver("127.0.0.1", "127.0.0.2")
    async with serving(answering(OK)) as port:
        client.networks = [f"127.0.0.1:{port}", f"127.0.0.2:{port}"]
        assert (await client(f"http://rebind.test:{port}/"))["status"] == 200
    assert resolver.asked == ["rebind.test"]


async def test_a_name_that_turns_inward_is_refused(client: Client) -> None:
    """A public first answer opens nothing for the next request's inner one."""
    client.networks = []
    client.resolver = FakeResolver("127.0.0.1")
    async with serving(answering(OK)) as port:
        assert (await client.refused(f"http://rebind.test:{port}/")).code == "effect.address_refused"


@pytest.mark.parametrize("inner", ["10.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "fe80::1%lo"])
async def test_one_inner_address_among_public_ones_refuses_the_name(client: Client, inner: str) -> None:
    """Every address of a name is checked, not the one that would be tried first."""
    client.networks = []
    client.resolver = FakeResolver(("93.184.215.14", inner))
    assert (await client.refused("http://mixed.test/")).code == "effect.address_refused"


async def test_a_refusal_does_not_tell_the_address(client: Client) -> None:
    """Else every mission could draw the map of the inner network."""
    client.networks = []
    client.resolver = FakeResolver("10.11.12.13")
    assert "10.11" not in (await client.refused("http://inner.test/")).message


async def test_the_next_address_is_tried(client: Client) -> None:
    """A name with a dead and a live address is reached."""
    client.networks = ["127.0.0.0/8"]
    client.resolver = FakeResolver(("127.0.0.2", "127.0.0.1"))
    async with serving(answering(OK)) as port:
        assert (await client(f"http://two.test:{port}/"))["status"] == 200


async def test_a_name_without_an_address(client: Client) -> None:
    """The system's resolver answers no, in a thread and in bounded time."""
    pool = BlockingPool("test-dns", threads=1, waiting_max=4)
    client.resolver = SystemResolver(pool)
    error = await client.refused("http://does-not-exist.invalid/")
    assert (error.code, error.in_doubt) == ("effect.name_not_resolved", False)
    await asyncio.to_thread(pool.close)


async def test_the_system_resolver_resolves(client: Client) -> None:
    """`localhost` goes through getaddrinfo, and policy may vouch for the name."""
    pool = BlockingPool("test-dns", threads=1, waiting_max=4)
    client.resolver = SystemResolver(pool)
    async with serving(answering(OK)) as port:
        client.networks = [f"localhost:{port}"]
        assert (await client(f"http://localhost:{port}/"))["status"] == 200
    await asyncio.to_thread(pool.close)


# --- what can go wrong, and whether it is in doubt ---


async def slow_body(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
    for _x in range(500):
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


async def slow_head(_: bytes, writer: asyncio.StreamWriter) -> None:
    for at in range(len(OK)):
        writer.write(OK[at : at + 1])
        await writer.drain()
        await asyncio.sleep(0.02)


async def silence(_: bytes, writer: asyncio.StreamWriter) -> None:
    del writer
    await asyncio.sleep(60)


async def interim_for_ever(_: bytes, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100)
        await writer.drain()


async def one_chunk_for_ever(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write((b"1;" + b"x" * 4_000 + b"\r\na\r\n") * 10)
        await writer.drain()


async def reset(_: bytes, writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SOL_SOCKET, SO_LINGER: close sends a reset
    writer.transport.abort()


FAILURES = [
    (slow_body, "effect.timeout"),
    (slow_head, "effect.timeout"),
    (silence, "effect.timeout"),
    (reset, {"effect.connection_lost", "effect.protocol"}),
    (interim_for_ever, "effect.response_too_large"),
    (one_chunk_for_ever, "effect.response_too_large"),
    (answering(b""), "effect.protocol"),
    (answering(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"), "effect.protocol"),
    (answering(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), "effect.protocol"),
    (answering(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), "effect.protocol"),
    (answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"), "effect.protocol"),
    (answering(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1_001), "effect.response_too_large"),
    (answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n" + b"x" * 1_001), "effect.response_too_large"),
    (answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"64\r\n" + b"x" * 100 + b"\r\n" * 1 + (
        b"64\r\n" + b"x" * 100 + b"\r\n") * 11), "effect.response_too_large"),
    (answering(b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 65 + b"\r\n"), "effect.response_too_large"),
    (answering(b"HTTP/1.1 200 OK\r\nX-A: " + b"b" * 17_000 + b"\r\n\r\n"), "effect.response_too_large"),
    (answering(b"HTTP/1.1 200 OK\r\nX-A: " + b"b" * 300_000), "effect.protocol"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "in_doubt"), [("GET", False), ("PUT", False), ("POST", True), ("PATCH", True)])
@pytest.mark.parametrize(("handler", "code"), FAILURES)
async def test_a_failure_after_the_first_byte(
    client: Client, handler: Handler, code: str | set[str], method: str, in_doubt: bool
) -> None:
    """However the exchange breaks off: a stable code in bounded time, in doubt where it must not be repeated."""
    client.timeout_seconds = 0.2 if code == "effect.timeout" else 20.0
    async with serving(handler) as port, asyncio.timeout(30):
        error = await client.refused(f"http://service.test:{port}/", method=method)
    assert error.code in ({code} if isinstance(code, str) else code)
    assert error.in_doubt is in_doubt


async def test_nothing_listens(client: Client) -> None:
    """No byte was sent, so nothing is in doubt."""
    async with serving(answering(OK)) as port:
        pass
    error = await client.refused(f"http://127.0.0.1:{port}/", method="POST", body="x")
    assert (error.code, error.in_doubt) == ("effect.connect_failed", False)


async def test_a_timeout_before_the_first_byte_is_not_in_doubt(client: Client) -> None:
    """While a name is looked up, nothing has been sent."""

    class Hanging:
        async def resolve(self, host: str, port: int, *, timeout_seconds: float) -> tuple[Address, ...]:
            del host, port, timeout_seconds
            await asyncio.sleep(60)
            return ()

    client.resolver, client.timeout_seconds = Hanging(), 0.1
    error = await client.refused("http://service.test/", method="POST", body="x")
    assert (error.code, error.in_doubt) == ("effect.timeout", False)


async def test_the_guests_timeout_narrows(client: Client) -> None:
    """`timeout_ms` ends the exchange before the step's own time does."""
    async with serving(silence) as port, asyncio.timeout(2):
        assert (await client.refused(f"http://127.0.0.1:{port}/", timeout_ms=100)).code == "effect.timeout"


async def test_waiting_for_a_place_counts(client: Client, workspace: Workspace) -> None:
    """Requests over the limit wait within their own time."""
    client.limits, client.timeout_seconds = HttpLimits(concurrent_max=1), 0.3
    performer = HttpRequest(AddressPolicy.parse(client.networks), client.resolver, client.tls, client.limits)
    scope = EffectScope(workspace=workspace, mission_id="m1", step_id="s1")
    async with serving(silence) as port:
        args: JsonObject = {"url": f"http://127.0.0.1:{port}/", "method": "POST"}
        requests = [EffectRequest(op="http.request", args=args, key=KEY, timeout_seconds=t) for t in (3.0, 0.3)]
        answers = await asyncio.gather(*(performer.perform(r, scope) for r in requests), return_exceptions=True)
    assert [a.in_doubt for a in answers if isinstance(a, EffectError)] == [True, False]


async def test_a_cancelled_request_closes_its_connection(client: Client) -> None:
    """Cancelling the step leaves no socket open behind it."""
    closed = asyncio.Event()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while await reader.read(65_536):
                pass
        closed.set()
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        task = asyncio.ensure_future(client(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(2):
            await closed.wait()


# --- TLS ---


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """A self-signed certificate for service.test, and a server context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "service.test")])
    start = datetime(2020, 1, 1, tzinfo=UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=36_500))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("service.test")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    pem = folder / "cert.pem"
    pem.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    secret = folder / "key.pem"
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem, secret)
    return pem, server


async def test_tls_is_verified_for_the_name(client: Client, certificate: tuple[Path, ssl.SSLContext]) -> None:
    """The certificate of the name is accepted, with the name in SNI, also where it is written with its final dot."""
    pem, server = certificate
    names: list[str | None] = []
    server.sni_callback = lambda _socket, name, _context: names.append(name)
    client.tls.load_verify_locations(pem)
    async with serving(answering(OK), tls=server) as port:
        for host in ("service.test", "service.test."):
            assert (await client(f"https://{host}:{port}/"))["status"] == 200
    assert names == ["service.test", "service.test"]


async def test_another_name_or_authority_is_refused(client: Client, certificate: tuple[Path, ssl.SSLContext]) -> None:
    """A certificate for another name, or of an authority that nobody trusts: nothing is sent, nothing in doubt."""
    pem, server = certificate
    seen: list[bytes] = []
    async with serving(answering(OK, seen), tls=server) as port:
        untrusted = await client.refused(f"https://service.test:{port}/", method="POST", body="x")
        client.tls.load_verify_locations(pem)
        other = await client.refused(f"https://other.test:{port}/", method="POST", body="x")
    for error in (untrusted, other):
        assert (error.code, error.in_doubt) == ("effect.tls_failed", False)
    assert seen == []


async def test_a_server_without_tls_is_no_https(client: Client) -> None:
    """There is no falling back to plain text."""
    client.timeout_seconds = 0.3
    async with serving(answering(OK)) as port:
        assert (await client.refused(f"https://service.test:{port}/")).code in {"effect.tls_failed", "effect.timeout"}


def test_session_keys_are_not_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """SSLKEYLOGFILE in the environment does not make the gateway write its keys out."""
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    assert tls_context().keylog_filename is None


class OneSecret:
    """A vault of one value."""

    def value(self, _tenant: str, _name: str) -> bytearray:
        return bytearray(b"the value of it")


def holding(workspace: Workspace, handle: str) -> EffectScope:
    """Return the scope of a step that may send a secret to two hosts."""
    hosts = frozenset({"inner.example", "127.0.0.1"})
    words = {"effects": frozenset({"http.request"}), "kinds": frozenset({"http"}), "tenants": frozenset({"acme"})}
    secrets = EffectSecrets(
        values=OneSecret(),
        tenant="acme",
        kind="http",
        handles={handle: "A"},
        rules={"A": SecretRule(hosts=hosts, **words)},
    )
    return EffectScope(workspace=workspace, mission_id="m1", step_id="s1", secrets=secrets)


async def perform_with_secret(workspace: Workspace, resolver: Resolver, url: str, **args: JsonValue) -> JsonObject:
    handle = "mgsecret_" + "a" * 64
    networks = AddressPolicy.parse(["127.0.0.1", "10.0.0.0/8"])
    effects = Effects({"http.request": HttpRequest(networks, resolver, tls_context(), HttpLimits())})
    given: JsonObject = {"url": url, "headers": {"x-token": handle}, **args}
    request = EffectRequest(op="http.request", args=given, key=KEY, timeout_seconds=5.0)
    return await effects.perform(request, holding(workspace, handle))


async def test_a_secret_never_leaves_the_machine_in_the_clear(workspace: Workspace) -> None:
    """Plain HTTP carries it to loopback only; one address elsewhere among the answers is enough for a no."""
    seen: list[bytes] = []
    async with serving(answering(OK, seen)) as port:
        for answer in ("10.0.0.1", ("127.0.0.1", "10.0.0.1")):
            with pytest.raises(EffectError) as refused:
                await perform_with_secret(workspace, FakeResolver(answer), f"http://inner.example:{port}/")
            assert refused.value.code == "effect.secret_plaintext"
        assert seen == []
        await perform_with_secret(workspace, FakeResolver("127.0.0.1"), f"http://inner.example:{port}/")
    assert b"x-token: the value of it" in seen[0]


@pytest.mark.parametrize(
    "response",
    [b"the value of it\r\n\r\n", b"HTTP/1.1 200 OK\r\nthe value of it\r\n\r\n", b"", b"HTTP/1.1 999999\r\n\r\n"],
)
async def test_no_error_of_a_request_repeats_a_secret(
    workspace: Workspace, response: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the server answers instead of HTTP: neither the message, nor its cause, nor the log has the value."""
    async with serving(answering(response)) as port:
        with pytest.raises(EffectError) as refused:
            await perform_with_secret(workspace, FakeResolver("127.0.0.1"), f"http://127.0.0.1:{port}/")
    shown = "".join(traceback.format_exception(refused.value)) + caplog.text
    assert "the value of it" not in shown
    assert refused.value.code in {"effect.protocol", "effect.connection_lost"}


@pytest.mark.parametrize("field", [b"Content-Encoding: gzip", b"content-encoding: identity\r\nContent-Encoding: br"])
async def test_an_answer_that_cannot_be_looked_into_is_none(workspace: Workspace, field: bytes) -> None:
    """A service that compresses its echo unasked would carry the secret past the mask. A POST is then in doubt."""
    response = b"HTTP/1.1 200 OK\r\n" + field + b"\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08"
    async with serving(answering(response)) as port:
        for method in ("GET", "POST"):
            with pytest.raises(EffectError) as refused:
                await perform_with_secret(
                    workspace, FakeResolver("127.0.0.1"), f"http://127.0.0.1:{port}/", method=method
                )
            assert (refused.value.code, refused.value.in_doubt) == ("effect.secret_compressed", method == "POST")

"""A real OPA as engine: the same decisions as regorus, over every kind of connection, and a swap that loses nothing."""

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import orjson
import pytest
from hypothesis import HealthCheck, given, settings

from gateway.errors import PolicyInvalidError, PolicyUnavailableError
from gateway.policy.bundle import Bundle
from gateway.policy.bundle_files import write_archive
from gateway.policy.bundle_parts import MANIFEST
from gateway.policy.engine import Entrypoint
from gateway.policy.opa.engine import OpaPolicy
from gateway.policy.opa.server import OpaServer
from gateway.policy.opa.settings import OpaSettings, read_settings
from gateway.policy.regorus_engine import RegorusEngine
from gateway.policy_config import OpaConfig
from gateway.rulebook import Rulebook
from tests import opa
from tests.certificates import Authority
from tests.integration.test_policy_opa import DOCUMENTS, PLAIN
from tests.opa_servers import OpaBeside, free_port
from tests.policy_documents import mission, principal, rpc, step

POLICIES = opa.ROOT / "policies"
FINE = b'{"step":"fine"}'


def small(revision: str = "r1", **changes: str) -> Bundle:
    """Return a bundle that says in a label which revision decided."""
    rule = f'decision := {{"allow": true, "reasons": [], "labels": {{"by": "{revision}"}}}}'
    files = {
        MANIFEST: orjson.dumps({"revision": revision, "roots": ["gateway"]}).decode(),
        "data.json": '{"gateway": {"config": {"roles": {"é": [1.50, "<\\u0000>"]}}, "step": {"a/b c": {"": 1e3}}}}',
        "step.rego": f"package gateway.step\r\n\r\nimport rego.v1\n\n{rule}\n",
    }
    return Bundle.from_files({name: text.encode() for name, text in (files | changes).items()}, engine="opa")


Serve = Callable[..., OpaBeside]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    running: list[OpaBeside] = []

    def start(bundle: Bundle, *arguments: str, **options: Any) -> OpaBeside:
        beside = OpaBeside(tmp_path, *arguments, **options)
        beside.archive.write_bytes(write_archive(bundle.files))
        running.append(beside)
        return beside.start()

    yield start
    for beside in running:
        beside.kill()


Ask = Callable[[OpaSettings], AbstractAsyncContextManager[OpaServer]]


@asynccontextmanager
async def connected(to: OpaSettings) -> AsyncIterator[OpaServer]:
    server = OpaServer(to)
    try:
        yield server
    finally:
        await server.close()


# What regorus answers


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as made:
        yield made


@pytest.fixture(scope="module")
def engines(
    tmp_path_factory: pytest.TempPathFactory, runner: asyncio.Runner
) -> Iterator[tuple[OpaPolicy, RegorusEngine]]:
    """Both engines on the bundled policies."""
    bundle = Bundle.load(POLICIES)
    beside = OpaBeside(tmp_path_factory.mktemp("opa"))
    beside.archive.write_bytes(write_archive(bundle.files))
    try:
        beside.start()
        server = OpaServer(beside.settings)
        policy = OpaPolicy(bundle, server)
        runner.run(policy.start())
        yield policy, RegorusEngine(bundle)
        runner.run(policy.close())
        runner.run(server.close())
    finally:
        beside.kill()


@pytest.fixture(scope="module")
def digest() -> str:
    """The digest of the bundled policies, by which decisions name them."""
    return Bundle.load(POLICIES).digest


@pytest.mark.parametrize(("entrypoint", "document"), PLAIN)
def test_plain_documents_get_the_decision_that_regorus_gives(
    engines: tuple[OpaPolicy, RegorusEngine],
    runner: asyncio.Runner,
    digest: str,
    entrypoint: Entrypoint,
    document: bytes,
) -> None:
    """Reasons, constraints, labels and the bundle's digest included."""
    opa_engine, regorus_engine = engines
    decision = runner.run(opa_engine.decide(entrypoint, document))
    assert decision == runner.run(regorus_engine.decide(entrypoint, document))
    assert decision.bundle == digest


@pytest.mark.parametrize("entrypoint", DOCUMENTS)
def test_generated_documents_get_the_decision_that_regorus_gives(
    engines: tuple[OpaPolicy, RegorusEngine], runner: asyncio.Runner, entrypoint: Entrypoint
) -> None:
    """Documents that come near every rule: one decision, to the letter, and never for the host's own reasons."""
    opa_engine, regorus_engine = engines
    decided = 0

    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(DOCUMENTS[entrypoint])
    def law(document: Any) -> None:
        nonlocal decided
        text = orjson.dumps(document)
        decision = runner.run(opa_engine.decide(entrypoint, text))
        assert decision == runner.run(regorus_engine.decide(entrypoint, text))
        decided += not any(reason.rule == "host" for reason in decision.reasons)

    law()
    assert decided >= 100


ADMIN = orjson.dumps(principal(("admin",)))


@pytest.mark.parametrize(
    ("entrypoint", "document"),
    [
        ("rpc", rpc("gateway.v1.MissionService", "CancelMission", roles=("viewer",))),
        ("mission", mission(2, roles=("viewer",))),
        ("step", step("transform", {}, roles=("viewer",))),
    ],
)
def test_a_document_that_says_a_key_twice_is_one_document_to_both(
    engines: tuple[OpaPolicy, RegorusEngine], runner: asyncio.Runner, entrypoint: Entrypoint, document: bytes
) -> None:
    """The last one counts, on either engine: a viewer is denied, an admin is not."""
    opa_engine, regorus_engine = engines
    for text, allow in (
        (b'{"principal":' + ADMIN + b"," + document[1:], False),
        (document[:-1] + b',"principal":' + ADMIN + b"}", True),
    ):
        decision = runner.run(opa_engine.decide(entrypoint, text))
        assert decision == runner.run(regorus_engine.decide(entrypoint, text))
        assert decision.allow is allow


# How OPA is reached


async def test_over_a_unix_socket(serve: Serve) -> None:
    """And with data, texts and line ends that are compared byte for byte."""
    beside = serve(small())
    async with connected(beside.settings) as server:
        policy = OpaPolicy(small(), server)
        await policy.start()
        decision = await policy.decide("step", FINE)
        assert (decision.allow, dict(decision.labels), decision.bundle) == (True, {"by": "r1"}, small().digest)
        assert policy.pids == ()


async def test_over_tcp(serve: Serve) -> None:
    """Plain HTTP, on loopback."""
    address = f"127.0.0.1:{free_port()}"
    serve(small(), address=address)
    async with connected(read_settings(OpaConfig(url=f"http://{address}"), Path())) as server:
        policy = OpaPolicy(small(), server)
        await policy.start()
        assert (await policy.decide("step", FINE)).allow is True


@pytest.fixture
def tls(tmp_path: Path, serve: Serve) -> str:
    """Serve with client certificates of one authority; return the address."""
    authority = Authority(tmp_path)
    cert, key = authority.issue("server")
    authority.issue("client")
    authority.issue("old", expired=True)
    Authority(tmp_path, "stranger-ca").issue("stranger")
    address = f"https://127.0.0.1:{free_port()}"
    files = (
        "--tls-cert-file",
        str(cert),
        "--tls-private-key-file",
        str(key),
        "--tls-ca-cert-file",
        str(authority.file),
    )
    serve(small(), *files, "--authentication", "tls", address=address)
    return address


def table(url: str, client: str = "client", ca: str = "ca") -> OpaConfig:
    return OpaConfig(
        url=url,
        ca_file=f"{ca}.crt",
        cert_file=f"{client}.crt" if client else "",
        key_file=f"{client}.key" if client else "",
        retries=0,
    )


async def test_over_tls_with_a_client_certificate(tls: str, tmp_path: Path) -> None:
    """Both sides know the other."""
    async with connected(read_settings(table(tls), tmp_path)) as server:
        policy = OpaPolicy(small(), server)
        await policy.start()
        assert (await policy.decide("step", FINE)).allow is True


@pytest.mark.parametrize(
    ("client", "ca", "name", "why"),
    [
        ("client", "stranger-ca", "127.0.0.1", "its certificate is refused"),
        ("client", "ca", "localhost", "its certificate is refused"),
        ("", "ca", "127.0.0.1", ""),
        ("stranger", "ca", "127.0.0.1", ""),
        ("old", "ca", "127.0.0.1", ""),
    ],
    ids=["another authority", "another name", "no certificate", "a stranger's certificate", "an expired certificate"],
)
async def test_over_tls_with_what_is_not_right(
    tls: str, tmp_path: Path, client: str, ca: str, name: str, why: str
) -> None:
    """No start, and no decision; with the right files both come."""
    wrong = read_settings(table(tls.replace("127.0.0.1", name), client, ca), tmp_path)
    async with connected(wrong) as server:
        policy = OpaPolicy(small(), server, activation_seconds=0.5)
        with pytest.raises(PolicyUnavailableError, match=f"OPA did not report the bundle .*{why}"):
            await policy.start()
        decision = await policy.decide("step", FINE)
        assert [reason.code for reason in decision.reasons] == ["policy.unavailable"]
    async with connected(read_settings(table(tls), tmp_path)) as server:
        policy = OpaPolicy(small(), server)
        await policy.start()
        assert (await policy.decide("step", FINE)).allow is True


async def test_a_server_whose_certificate_has_expired(tmp_path: Path, serve: Serve) -> None:
    """It is not spoken to."""
    authority = Authority(tmp_path)
    cert, key = authority.issue("server", expired=True)
    address = f"https://127.0.0.1:{free_port()}"
    serve(small(), "--tls-cert-file", str(cert), "--tls-private-key-file", str(key), address=address)
    async with connected(read_settings(table(address, ""), tmp_path)) as server:
        policy = OpaPolicy(small(), server, activation_seconds=0.5)
        with pytest.raises(PolicyUnavailableError, match="its certificate is refused: certificate has expired"):
            await policy.start()


AUTHZ = """package system.authz

import rego.v1

default allow := false

allow if input.identity == "s3cret"
"""


async def test_with_a_bearer_token(tmp_path: Path, serve: Serve) -> None:
    """OPA lets in who has it, and its own policy about that is no difference to the bundle."""
    authz = tmp_path / "authz"
    authz.mkdir()
    (authz / "authz.rego").write_text(AUTHZ)
    (authz / ".manifest").write_text('{"roots": ["system/authz"]}')
    (tmp_path / "token").write_text("s3cret\n")
    (tmp_path / "wrong").write_text("guess\n")
    beside = serve(small(), "--authentication", "token", "--authorization", "basic", "--bundle", str(authz))
    url = f"unix://{beside.socket}"
    async with connected(read_settings(OpaConfig(url=url, token_file="token"), tmp_path)) as server:  # noqa: S106
        policy = OpaPolicy(small(), server)
        await policy.start()
        assert (await policy.decide("step", FINE)).allow is True
    for config in (OpaConfig(url=url, token_file="wrong"), OpaConfig(url=url)):  # noqa: S106
        async with connected(read_settings(config, tmp_path)) as server:
            policy = OpaPolicy(small(), server, activation_seconds=0.3)
            with pytest.raises(PolicyInvalidError, match="unauthorized"):
                await policy.start()
            decision = await policy.decide("step", FINE)
            assert [reason.code for reason in decision.reasons] == ["policy.failed"]


# Which bundle OPA has


async def test_a_bundle_without_a_revision_is_refused(serve: Serve) -> None:
    """Nothing could be said of what OPA answers from."""
    bundle = small("")
    beside = serve(bundle)
    async with connected(beside.settings) as server:
        with pytest.raises(PolicyInvalidError, match="this one has none") as caught:
            await OpaPolicy(bundle, server).start()
        assert caught.value.code == "policy.bad_manifest"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (
            {"step.rego": "package gateway.step\n\nimport rego.v1\n\ndecision := 1\n"},
            "the policy step.rego is another one",
        ),
        ({"more.rego": "package gateway.more\n\nx := 1\n"}, "OPA has the policy .*more.rego, and the bundle has not"),
        ({"x_test.rego": "package gateway.x_test\n\nx := 1\n"}, "OPA has the policy .*x_test.rego, and the bundle has"),
        ({"data.json": '{"gateway": {"config": {}, "step": {"a/b c": {"": 1000}}}}'}, "the data at gateway/config is"),
        ({"data.json": '{"gateway": {"config": {}}}'}, "the data at gateway/config is another one"),
    ],
)
async def test_another_bundle_of_the_same_revision_is_found_out(
    serve: Serve, changes: dict[str, str], why: str
) -> None:
    """The revision is a name; texts and values are compared."""
    beside = serve(small("r1", **changes))
    async with connected(beside.settings) as server:
        policy = OpaPolicy(small(), server, activation_seconds=0.3)
        with pytest.raises(PolicyInvalidError, match=why) as caught:
            await policy.start()
        assert caught.value.code == "policy.bundle_mismatch"


async def test_tests_of_the_bundle_are_not_given_to_opa(serve: Serve) -> None:
    """What the gateway exports is what decides; an OPA with the tests, from the source itself, is accepted too."""
    bundle = small("r2", **{"step_test.rego": "package gateway.step_test\n\nimport rego.v1\n\ntest_x if true\n"})
    beside = serve(small())
    async with connected(beside.settings) as server:
        exporting = OpaPolicy(bundle, server, export=beside.archive)
        await exporting.start()
        assert Bundle.from_archive(beside.archive.read_bytes(), engine="opa").files.keys() == small().files.keys()
        await exporting.close()
        beside.archive.write_bytes(write_archive(bundle.files))
        reading = OpaPolicy(bundle, server)
        await reading.start()
        assert dict((await reading.decide("step", FINE)).labels) == {"by": "r2"}


async def test_two_bundles_of_one_revision_are_not_in_force_at_once(serve: Serve) -> None:
    """The second one is refused before OPA hears of it."""
    beside = serve(small())
    other = small("r1", **{"more.rego": "package gateway.more\n\nx := 1\n"})
    async with connected(beside.settings) as server:
        first = OpaPolicy(small(), server, export=beside.archive)
        await first.start()
        before = beside.archive.read_bytes()
        with pytest.raises(PolicyInvalidError, match="another bundle of the revision 'r1' is in force"):
            await OpaPolicy(other, server, export=beside.archive).start()
        assert beside.archive.read_bytes() == before
        await first.close()
        second = OpaPolicy(other, server, export=beside.archive)
        await second.start()
        assert (await second.decide("step", FINE)).bundle == other.digest


class _Bundles(BaseHTTPRequestHandler):
    """Serves one archive with an ETag, as a bundle server does."""

    archive = b""

    def do_GET(self) -> None:
        tag = f'"{hashlib.sha256(self.archive).hexdigest()}"'
        fresh = self.headers.get("If-None-Match") != tag
        self.send_response(200 if fresh else 304)
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(self.archive) if fresh else 0))
        self.end_headers()
        if fresh:
            self.wfile.write(self.archive)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


async def test_an_opa_that_takes_the_bundle_from_its_url(serve: Serve) -> None:
    """OPA's own bundle plugin, tests in the bundle included; the gateway waits for what OPA finds by itself."""
    tested = {"step_test.rego": "package gateway.step_test\n\nimport rego.v1\n\ntest_x if true\n"}
    first, second = small("r1", **tested), small("r2", **tested)
    handler = type("Handler", (_Bundles,), {"archive": write_archive(first.files)})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as source:
        thread = threading.Thread(target=source.serve_forever)
        thread.start()
        try:
            polling = {"min_delay_seconds": 1, "max_delay_seconds": 1}
            beside = serve(
                first,
                config={
                    "services": {"bundles": {"url": f"http://127.0.0.1:{source.server_port}"}},
                    "bundles": {"missiongate": {"service": "bundles", "resource": "b.tar.gz", "polling": polling}},
                },
            )
            async with connected(beside.settings) as server:
                old = OpaPolicy(first, server)
                await old.start()
                assert (await old.decide("step", FINE)).labels == {"by": "r1"}
                handler.archive = write_archive(second.files)
                new = OpaPolicy(second, server)
                await new.start()
                assert (await new.decide("step", FINE)).labels == {"by": "r2"}
                decision = await old.decide("step", FINE)
                assert [reason.code for reason in decision.reasons] == ["policy.bundle_mismatch"]
        finally:
            source.shutdown()
            thread.join()


class _Book:
    """What stands for rules."""

    compose = None

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle


class _Hooks:
    """Hooks that fit."""

    @asynccontextmanager
    async def refitted(self, _compose: object) -> AsyncIterator[Callable[[], None]]:
        yield lambda: None


async def test_swaps_under_load_lose_no_decision_and_tear_none(serve: Serve) -> None:
    """OPA changes before the gateway knows: every decision is a yes, and of the bundle whose digest it carries."""
    bundles = [small(f"r{i}") for i in range(6)]
    by_digest = {bundle.digest: bundle.revision for bundle in bundles}
    beside = serve(bundles[0])
    async with connected(beside.settings) as server:

        def make(rules: Any) -> OpaPolicy:
            return OpaPolicy(rules.bundle, server, export=beside.archive)

        first = cast("Any", _Book(bundles[0]))
        engine = make(first)
        await engine.start()
        book = Rulebook(
            first,
            engine,
            read=lambda bundle: cast("Any", _Book(bundle)),
            make=make,
            hooks=cast("Any", _Hooks()),
        )
        seen: list[str] = []
        done = asyncio.Event()

        async def caller() -> None:
            while not done.is_set():
                decision = await book.decide("step", FINE)
                assert decision.allow is True, decision.reasons
                assert decision.labels["by"] == by_digest[decision.bundle]
                seen.append(decision.labels["by"])

        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(caller())
            for bundle in bundles[1:]:
                await book.activate(bundle)
                count = len(seen)
                while len(seen) < count + 20:  # noqa: ASYNC110 - callers go on
                    await asyncio.sleep(0.01)
            done.set()
        await book.close()
    assert set(seen) == set(by_digest.values())

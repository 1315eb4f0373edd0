"""Who may come in, over real TLS and real sockets: certificates, tokens of issuers, Unix sockets, and rotation."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.authn.authenticator import Authenticator
from gateway.authn.certificates import ClientCertificates
from gateway.authn.jwt import JwtVerifier
from gateway.authn.sockets import Socket
from gateway.authn.tls_files import TlsFiles, TlsPaths
from gateway.authn.tokens import TokenEntry, TokenTable
from gateway.identity import Principal
from gateway.missions.views import MissionEvent
from gateway.rpc.authenticating import AGAIN_SECONDS
from gateway.rpc.listeners import Listening
from gateway.v1 import mission_pb2, mission_pb2_grpc
from tests.bundle_worlds import ManualClock
from tests.certificates import Authority
from tests.fakes import FakeDesk, event, view
from tests.rpc_server import AS_ANN, Served, details, everything, serving, tokens
from tests.rpc_world import refused
from tests.tokens_of_issuers import World

WORKER_ID = "spiffe://prod.example/worker"
WORKER = Principal(subject="worker", tenant="default", roles=("submitter",))
GET = mission_pb2.GetMissionRequest(mission_id="m-1")
SECRETS = ("worker", "prod.example", "jwt_", "certificate_", "token_", "Traceback", ".py", "cryptography")


@dataclass
class Site:
    """A server with TLS on one address, and certificates wanted on another."""

    folder: Path
    authority: Authority
    files: TlsFiles
    clock: ManualClock
    issuer: World
    served: Served
    desk: FakeDesk

    @asynccontextmanager
    async def client(self, address: str = "", *, shows: tuple[Path, Path] | None = None) -> AsyncIterator[Any]:
        """Open a channel that believes the server's authority, and shows a certificate."""
        pair = (shows[1].read_bytes(), shows[0].read_bytes()) if shows else (None, None)
        credentials = grpc.ssl_channel_credentials(self.authority.file.read_bytes(), *pair)
        async with grpc.aio.secure_channel(address or self.served.server.address, credentials) as channel:
            yield mission_pb2_grpc.MissionServiceStub(channel)

    @property
    def clients_address(self) -> str:
        return self.served.server.bound.client_address

    async def no(self, stub: Any, metadata: Sequence[tuple[str, str]] = ()) -> str:
        """Return the check at which a call fails; the client learns nothing of it, nor of the gateway's insides."""
        before = self.served.server._ports.refusals.totals
        error = await refused(stub.GetMission(GET, metadata=metadata))
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED
        assert details(error)[2].code == "auth.unauthenticated"
        told = everything(error)
        assert [word for word in SECRETS if word in told] == []
        after = self.served.server._ports.refusals.totals
        [check] = [name for name in after if after[name] > before.get(name, 0)]
        return check


def bearer(token: str) -> tuple[tuple[str, str]]:
    return (("authorization", f"Bearer {token}"),)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server")
    (tmp_path / "clients.crl").write_bytes(authority.revocations())
    clock = ManualClock(datetime.now(UTC))  # noqa: TID251 - certificates are good by the machine's clock
    paths = TlsPaths(
        certificate=certificate,
        key=key,
        client_authorities=authority.file,
        client_revocations=tmp_path / "clients.crl",
    )
    files = TlsFiles(paths, clock)
    issuer = World.of("EdDSA")
    authenticator = Authenticator(
        tokens=tokens(), jwt=issuer.verifier, certificates=ClientCertificates(files, {WORKER_ID: WORKER}, clock)
    )
    desk = FakeDesk(missions={"m-1": view()})
    listening = Listening(
        address="127.0.0.1:0", tls=files, client_address="127.0.0.1:0", plain_address="127.0.0.1:0", home=tmp_path
    )
    async with serving(desk, authenticator=authenticator, listening=listening, clock=clock) as served:
        yield Site(tmp_path, authority, files, clock, issuer, served, desk)


async def test_tokens_come_over_tls(site: Site) -> None:
    """Static ones and an issuer's; the gateway's address for this machine takes them without."""
    async with site.client() as stub:
        await stub.GetMission(GET, metadata=AS_ANN)
        await stub.GetMission(GET, metadata=bearer(site.issuer.token(sub="carl")))
        assert await site.no(stub) == "missing"
    async with grpc.aio.insecure_channel(site.served.server.bound.plain_address) as channel:
        await mission_pb2_grpc.MissionServiceStub(channel).GetMission(GET, metadata=AS_ANN)
    assert [caller.subject for caller in site.desk.callers] == ["ann", "carl", "ann"]


async def test_nothing_is_served_without_tls_where_tls_is(site: Site) -> None:
    """A client that sends its token in the clear gets no answer from that address."""
    async with grpc.aio.insecure_channel(site.served.server.address) as channel:
        error = await refused(mission_pb2_grpc.MissionServiceStub(channel).GetMission(GET, metadata=AS_ANN))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert site.desk.callers == []


async def test_a_certificate_names_its_principal(site: Site) -> None:
    """By its SPIFFE ID, on the address where certificates are wanted; nobody gets there without one."""
    async with site.client(site.clients_address, shows=site.authority.issue("w", uris=[WORKER_ID])) as stub:
        await stub.GetMission(GET)
        assert site.desk.callers == [WORKER]
        assert await site.no(stub, AS_ANN) == "two_credentials"
    async with site.client(site.clients_address) as stub:
        assert (await refused(stub.GetMission(GET, metadata=AS_ANN))).code() is grpc.StatusCode.UNAVAILABLE
    async with site.client(site.clients_address, shows=site.authority.issue("other")) as stub:
        assert await site.no(stub) == "certificate_unmapped"
    assert site.desk.callers == [WORKER]


async def test_the_certificates_between_come_with_the_clients(site: Site, tmp_path: Path) -> None:
    """What a client shows beside its own is what the chain is built of, here as in TLS; their lists count as well."""
    between = Authority(tmp_path, "between", under=site.authority)
    certificate, key = between.issue("w", uris=[WORKER_ID])
    certificate.write_bytes(certificate.read_bytes() + between.file.read_bytes())
    (tmp_path / "clients.crl").write_bytes(site.authority.revocations() + between.revocations())
    assert site.files.reload()
    async with site.client(site.clients_address, shows=(certificate, key)) as stub:
        await stub.GetMission(GET)
        (tmp_path / "clients.crl").write_bytes(site.authority.revocations(between.file) + between.revocations())
        assert site.files.reload()
        assert await site.no(stub) == "certificate_revoked"
    assert site.desk.callers == [WORKER]


async def test_foreign_and_expired_certificates_get_no_connection(site: Site, tmp_path: Path) -> None:
    """TLS itself refuses them; what it does not look at is in tests/unit/gateway/authn."""
    (tmp_path / "x").mkdir()
    for shows in (
        Authority(tmp_path / "x").issue("w", uris=[WORKER_ID]),
        site.authority.issue("w", uris=[WORKER_ID], expired=True),
    ):
        async with site.client(site.clients_address, shows=shows) as stub:
            assert (await refused(stub.GetMission(GET))).code() is grpc.StatusCode.UNAVAILABLE
    assert site.desk.callers == []


async def test_a_certificate_is_revoked_under_a_connection(site: Site) -> None:
    """The next call on it is refused; so is one after the certificate's time, though TLS asks no more."""
    shows = site.authority.issue("w", uris=[WORKER_ID])
    async with site.client(site.clients_address, shows=shows) as stub:
        await stub.GetMission(GET)
        (site.folder / "clients.crl").write_bytes(site.authority.revocations(shows[0]))
        assert site.files.reload()
        assert await site.no(stub) == "certificate_revoked"
        site.clock.pass_(31 * 86_400)
        assert await site.no(stub) == "certificate_expired"


async def test_certificates_of_the_server_rotate_under_it(site: Site, tmp_path: Path) -> None:
    """New connections see the new one, and are checked by the new authority; the old connection goes on."""
    async with site.client() as old:
        await old.GetMission(GET, metadata=AS_ANN)
        (tmp_path / "new").mkdir()
        authority = Authority(tmp_path / "new")
        for made, path in zip(authority.issue("server"), ("server.crt", "server.key"), strict=True):
            (site.folder / path).write_bytes(made.read_bytes())
        site.authority.file.write_bytes(authority.file.read_bytes())
        (site.folder / "clients.crl").write_bytes(authority.revocations())
        assert site.files.reload()
        await old.GetMission(GET, metadata=AS_ANN)
    host, _, port = site.served.server.address.rpartition(":")
    shown = await shown_by(host, int(port))
    assert shown == ssl.PEM_cert_to_DER_cert((site.folder / "server.crt").read_text())
    async with site.client(site.clients_address, shows=authority.issue("w", uris=[WORKER_ID])) as stub:
        await stub.GetMission(GET)
    assert site.desk.callers[-1] == WORKER


async def shown_by(host: str, port: int) -> bytes:
    """Return the certificate that a server shows now, DER."""
    pem = await asyncio.to_thread(ssl.get_server_certificate, (host, port))
    return ssl.PEM_cert_to_DER_cert(pem)


async def test_keys_of_an_issuer_rotate_under_a_channel(site: Site) -> None:
    """A token by the next key is taken, and one by the key that is gone is not."""
    old = bearer(site.issuer.token())
    async with site.client() as stub:
        await stub.GetMission(GET, metadata=old)
        site.issuer.add("next", "EdDSA")
        site.issuer.source.entries.pop(0)
        site.issuer.clock.pass_(30)
        await stub.GetMission(GET, metadata=bearer(site.issuer.token("next")))
        assert await site.no(stub, old) == "jwt_key"
        assert await site.no(stub, bearer(site.issuer.token("next", aud="another"))) == "jwt_audience"
        assert await site.no(stub, bearer("wrong")) == "token_unknown"
        assert await site.no(stub, [("authorization", "Basic YTpi")]) == "scheme"


class Slow(FakeDesk):
    """A desk whose watchers see the next event when `more` is said."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        self.more = asyncio.Semaphore(0)

    async def watch(self, principal: Principal, mission_id: str, from_index: int) -> AsyncIterator[MissionEvent]:
        self._own(principal, mission_id)
        for each in self.events[from_index:]:
            await self.more.acquire()
            yield each


@pytest.mark.parametrize("change", ["ends", "another", "none"])
async def test_a_stream_does_not_outlive_its_credential(change: str) -> None:
    """It is looked at again before anything more is sent: a token that has ended, or means another, ends it there."""
    clock = ManualClock()
    desk = Slow(missions={"m-1": view()}, events=[event(n) for n in range(3)])
    ends = clock.now() + timedelta(seconds=AGAIN_SECONDS) if change == "ends" else None
    entry = TokenEntry(sha256=sha256(b"t").hexdigest(), principal=WORKER, expires=ends)
    table = TokenTable([entry], clock)
    authenticator = Authenticator(tokens=table, jwt=JwtVerifier((), clock))
    async with serving(desk, authenticator=authenticator, clock=clock) as served:
        call = served.missions.WatchMission(mission_pb2.WatchMissionRequest(mission_id="m-1"), metadata=bearer("t"))
        desk.more.release()
        assert (await call.read()).event.index == 0
        if change == "another":
            table.adopt([replace(entry, principal=replace(WORKER, roles=("viewer",)))])
        clock.pass_(AGAIN_SECONDS)
        for _ in range(3):
            desk.more.release()
        if change == "none":
            assert [(await call.read()).event.index for _ in range(2)] == [1, 2]
            return
        error = await refused(call.read())
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED
        told = {"ends": "token_expired", "another": "changed"}[change]
        assert served.server._ports.refusals.totals == {told: 1}


async def test_an_issuer_that_is_away_for_too_long_is_a_fault(site: Site) -> None:
    """UNAVAILABLE, so that clients keep their tokens and come again; nothing says whose keys they are."""
    site.issuer.source.fails = True
    async with site.client() as stub:
        error = await refused(stub.GetMission(GET, metadata=bearer(site.issuer.token())))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert details(error)[2].code == "auth.keys_unavailable"
    assert "example" not in everything(error)


async def test_a_socket_is_its_principals(tmp_path: Path) -> None:
    """Whoever comes through it, with whatever name; with a token beside it, nobody. Health is asked there, too."""
    ann = Principal(subject="ann", tenant="default", roles=("operator",))
    bob = Principal(subject="bob", tenant="default")
    sockets = [Socket(folder=tmp_path / f"{who.subject} 100%41?#", principal=who) for who in (ann, bob)]
    desk = FakeDesk(missions={"m-1": view()})
    listening = Listening(address="127.0.0.1:0", sockets=sockets, home=tmp_path)
    async with serving(desk, listening=listening, anonymous=True) as served:
        for socket in sockets:
            async with grpc.aio.insecure_channel(f"unix:{quote(str(socket.path))}") as channel:
                stub = mission_pb2_grpc.MissionServiceStub(channel)
                await stub.GetMission(GET)
                error = await refused(stub.GetMission(GET, metadata=AS_ANN))
                assert error.code() is grpc.StatusCode.UNAUTHENTICATED
                await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
            assert socket.path.stat().st_mode & 0o777 == 0o600
        assert desk.callers == [ann, bob]
        assert served.server._ports.refusals.totals == {"two_credentials": 2}
    assert not any(socket.path.exists() for socket in sockets)

"""Addresses, tokens and certificates: what is refused before anything is dialled, and what goes with a call."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from gateway.client import CallOptions, Client, Server, Tls, TokenFile, UnavailableCallError
from gateway.errors import ConfigurationError
from gateway.v1 import mission_pb2
from tests.certificates import Authority
from tests.driven_clients import KINDS, do
from tests.scripted_server import Fails, scripted

MISSION = mission_pb2.GetMissionResponse(mission=mission_pb2.MissionView(mission_id="m", state=3))
TURNS: Any = {"GetMission": [[MISSION]]}
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def code_of(make: Callable[[], object]) -> str:
    """Return with which code something is refused."""
    with pytest.raises(ConfigurationError) as caught:
        make()
    return caught.value.code


@pytest.mark.parametrize(
    "address",
    ["", "host", "host:", "host:0", "host:65536", "host:1a", "a b:1", "unix:", "unix:" + "x" * 108, "unix:a\0b"],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    """host:port, or unix:PATH that fits into a socket's address."""
    assert code_of(lambda: Server(address)) == "server.address"


@pytest.mark.parametrize("address", ["10.0.0.1:7443", "gateway.example:7443", "0.0.0.0:7443", "[fe80::1]:7443"])
def test_a_token_does_not_travel_in_the_clear(address: str, tmp_path: Path) -> None:
    """However it comes; with TLS it may, and so may whoever has none."""
    tls = Tls(ca=Authority(tmp_path).file.read_bytes())
    for token in ("secret", lambda: "secret", TokenFile(tmp_path / "none")):
        assert code_of(lambda token=token: Server(address, token)) == "server.cleartext"
        assert Server(address, token, tls=tls).is_socket is False
    assert Server(address).bearer() is None


@pytest.mark.parametrize("address", ["127.0.0.1:7443", "localhost:7443", "[::1]:7443", "unix:/run/gateway.sock"])
def test_on_this_machine_it_may(address: str) -> None:
    """A loopback address, or a socket; and no value shows the token."""
    server = Server(address, "secret")
    assert server.bearer() == "secret"
    assert "secret" not in repr(server)


@pytest.mark.parametrize("token", ["", "two words", "é", "a\nb", "x" * 9_000])
def test_what_is_no_token_is_refused(token: str, tmp_path: Path) -> None:
    """Wherever it comes from; one that is fetched is looked at when it is."""
    assert code_of(lambda: Server("localhost:1", token)) == "token.invalid"
    assert code_of(Server("localhost:1", lambda: token).bearer) == "token.invalid"
    (tmp_path / "token").write_text(token)
    assert code_of(lambda: Server.of("localhost:1", tmp_path / "token")) == "token.invalid"


def test_a_token_comes_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file goes first, and is read again for each attempt: whoever renews it tells nobody."""
    monkeypatch.setenv("MISSIONGATE_TOKEN", " from-environment\n")
    assert Server.of("localhost:1").bearer() == "from-environment"
    path = tmp_path / "token"
    path.write_text("old\n")
    server = Server.of("localhost:1", path)
    assert server.bearer() == "old"
    path.write_text("new\n")
    assert server.bearer() == "new"
    path.unlink()
    assert code_of(server.bearer) == "token.unreadable"
    monkeypatch.delenv("MISSIONGATE_TOKEN")
    assert Server.of("localhost:1").bearer() is None


@pytest.mark.parametrize("kind", KINDS)
def test_each_attempt_has_the_token_of_its_moment(kind: str) -> None:
    """A token that is fetched is fetched for each; the trace goes along."""
    tokens = iter(("one", "two", "three"))
    with scripted({"GetMission": [[Fails()], [MISSION]]}) as (address, script):
        server = Server(address, lambda: next(tokens))
        do(kind, server, lambda client: client.having(traceparent=PARENT).get("m"))
        do(kind, server, lambda client: client.get("m"))
    assert [each.metadata["authorization"] for each in script.asked] == ["Bearer one", "Bearer two", "Bearer three"]
    assert [each.metadata.get("traceparent") for each in script.asked] == [PARENT, PARENT, None]


@pytest.mark.parametrize(
    "parent", ["00-" + "0" * 32 + "-b7ad6b7169203331-01", PARENT.upper(), PARENT + "-x", "x", "01" + PARENT[2:]]
)
def test_what_is_no_trace_is_refused(parent: str) -> None:
    """Before it is sent: a gateway would begin a trace of its own, and nobody would see why."""
    assert code_of(lambda: CallOptions(traceparent=parent)) == "trace.invalid"


def test_what_is_no_certificate_is_refused(tmp_path: Path) -> None:
    """Halves, files that cannot be read, and what is no PEM; TLS on a socket of this machine."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("gateway")
    assert Tls.of() is None
    assert code_of(lambda: Tls.of(certificate=certificate)) == "tls.half"
    assert code_of(lambda: Tls.of(key=key)) == "tls.half"
    assert code_of(lambda: Tls.of(ca=tmp_path / "none")) == "tls.unreadable"
    assert code_of(lambda: Tls.of(ca=key)) == "tls.no_certificate"
    assert code_of(lambda: Tls.of(certificate=key, key=key)) == "tls.no_certificate"
    assert code_of(lambda: Tls.of(certificate=certificate, key=certificate)) == "tls.no_key"
    assert code_of(lambda: Server("unix:/x", tls=Tls.of(ca=authority.file))) == "server.tls"
    assert "PRIVATE" not in repr(Tls.of(certificate=certificate, key=key))


@pytest.mark.parametrize("kind", KINDS)
def test_a_channel_is_secured_on_both_sides(kind: str, tmp_path: Path) -> None:
    """Mutual TLS, the token inside; another authority's server is nobody, and so is a client without a certificate."""
    ours, theirs = Authority(tmp_path), Authority(tmp_path, "other")
    certificate, key = ours.issue("both")
    pair = (key.read_bytes(), certificate.read_bytes())
    required = grpc.ssl_server_credentials([pair], ours.file.read_bytes(), require_client_auth=True)
    with scripted(TURNS, credentials=required) as (address, script):
        both = Tls.of(ours.file, certificate, key)
        assert do(kind, Server(address, "t", tls=both), lambda client: client.get("m")).mission_id == "m"
        for tls in (Tls.of(ours.file), Tls.of(theirs.file, certificate, key)):
            with pytest.raises(UnavailableCallError):
                do(kind, Server(address, "t", tls=tls), lambda client: client.cancel("m"))
        with pytest.raises(UnavailableCallError):
            do(kind, Server(address), lambda client: client.cancel("m"))
    assert [each.metadata["authorization"] for each in script.asked] == ["Bearer t"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_socket_of_this_machine_is_an_address(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole, or from the folder in which a program runs; tokens may go over it."""
    monkeypatch.chdir(tmp_path)
    with scripted(TURNS, listen=f"unix:{tmp_path}/s") as (address, script):
        for name in (address, "unix:s"):
            assert do(kind, Server(name, "t"), lambda client: client.get("m")).mission_id == "m"
    assert len(script.asked) == 2


def test_no_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no business with the token."""
    for name in ("http_proxy", "HTTP_PROXY", "grpc_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with scripted(TURNS) as (address, _), Client(Server(address, "t")) as client:
        assert client.get("m").mission_id == "m"

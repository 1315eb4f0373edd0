"""A whole gateway that is called with every kind of credential, and what its log says of it."""

import json
from pathlib import Path

import grpc
import grpc.aio
from cryptography.hazmat.primitives.asymmetric import ed25519
from jwt import encode

from engine.clock import SystemClock
from gateway.config import CONFIG_NAME, load_config
from gateway.v1 import audit_pb2, audit_pb2_grpc, mission_pb2, mission_pb2_grpc
from tests.certificates import Authority
from tests.gateways import events_of, new_home, serving
from tests.rpc_world import refused
from tests.subjects import names_in
from tests.tokens_of_issuers import jwk

LIST = mission_pb2.ListMissionsRequest()
CONFIGURATION = """
[tls]
cert_file = "server.crt"
key_file = "server.key"
client_ca_file = "ca.crt"
client_listen = "127.0.0.1:0"
plain_listen = "127.0.0.1:0"

[[certificates]]
spiffe_id = "spiffe://prod.example/worker"
subject = "cara"
roles = ["viewer"]

[[issuers]]
issuer = "https://login.example"
audiences = ["missiongate"]
jwks_file = "keys.json"
roles = ["viewer"]

[[sockets]]
folder = "sock"
subject = "sue"
roles = ["viewer"]
"""


async def test_every_credential_comes_in_and_is_counted(tmp_path: Path) -> None:
    """By TLS, certificate and socket, until the configuration says otherwise; the log has who, what and how often."""
    made = new_home(tmp_path)
    authority = Authority(made.home)
    authority.issue("server")
    shown = authority.issue("worker", uris=["spiffe://prod.example/worker"])
    key = ed25519.Ed25519PrivateKey.generate()
    (made.home / "keys.json").write_text(json.dumps({"keys": [jwk("EdDSA", key, "k")]}))
    path = made.home / CONFIG_NAME
    path.write_text(path.read_text() + CONFIGURATION)
    now = int(SystemClock().now().timestamp())
    claims = {"iss": "https://login.example", "aud": "missiongate", "sub": "jo", "exp": now + 600}
    as_jo = (("authorization", f"Bearer {encode(claims, key, 'EdDSA', headers={'kid': 'k'})}"),)
    as_admin = (("authorization", f"Bearer {made.token}"),)
    roots = authority.file.read_bytes()
    plain = grpc.ssl_channel_credentials(roots)
    mutual = grpc.ssl_channel_credentials(roots, shown[1].read_bytes(), shown[0].read_bytes())
    async with (
        serving(made) as gateway,
        grpc.aio.secure_channel(gateway.address, plain) as tls,
        grpc.aio.secure_channel(gateway.bound.client_address, mutual) as mtls,
        grpc.aio.insecure_channel(f"unix:{made.home / 'sock/gateway.sock'}") as socket,
        grpc.aio.insecure_channel(gateway.bound.plain_address) as beside,
    ):
        assert gateway.bound.sockets == (str(made.home / "sock/gateway.sock"),)
        calls = [(tls, as_jo), (tls, as_jo), (tls, as_admin), (beside, as_admin), (mtls, ()), (socket, ())]
        for channel, metadata in calls:
            await mission_pb2_grpc.MissionServiceStub(channel).ListMissions(LIST, metadata=metadata)
        denied = audit_pb2_grpc.AuditServiceStub(socket).ReadEvents(audit_pb2.ReadEventsRequest())
        assert (await refused(denied.read())).code() is grpc.StatusCode.PERMISSION_DENIED
        kept = path.read_text().partition("[[issuers]]")[0].replace("cara", "carl")
        path.write_text(kept)
        gateway.entrance.prepare(load_config(made.home))()
        await mission_pb2_grpc.MissionServiceStub(mtls).ListMissions(LIST)
        error = await refused(mission_pb2_grpc.MissionServiceStub(tls).ListMissions(LIST, metadata=as_jo))
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert not (made.home / "sock/gateway.sock").exists()
    events, names = events_of(made), names_in(made.home)
    called = {names[e.actor]: e.details["allowed"] for e in events if e.event_type == "rpc.called"}
    assert called == {
        "default/jo": 2,
        "default/admin": 2,
        "default/cara": 1,
        "default/carl": 1,
        "default/sue": 1,
    }
    assert [names[e.actor] for e in events if e.event_type == "rpc.denied"] == ["default/sue"]
    [strangers] = [e for e in events if e.event_type == "rpc.unauthenticated"]
    assert (strangers.actor, strangers.details["refused"]) == ("anonymous", {"token_unknown": 1})
    assert events[-1].event_type == "gateway.stopped"

"""What a call and a stage cost, with and without authentication and telemetry, beside a bare grpc.aio server.

The call is `grpc.health.v1.Health/Check`: it passes authentication, policy (from the cache, as most calls do) and the
interceptors of a real gateway, and does nothing. The peer answers the same call with nothing around it. All servers
stand in one process and are called in turn from the same loop, so the client's share is in every figure alike.

Run it: `python -m benchmarks.bench_telemetry`
"""

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import grpc.aio
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from jwt.algorithms import OKPAlgorithm

from benchmarks.command import main
from benchmarks.table import Row, timed_row
from benchmarks.timing import FULL, Effort, Work, calls, costs_in_turn, in_turn
from engine.clock import SystemClock
from gateway.assembly import running_gateway
from gateway.config import Config, load_config
from gateway.home import NewHome, make_home
from gateway.identity_config import CertificateConfig, IssuerConfig
from gateway.limits_config import StrangersConfig
from gateway.telemetry.meters import Meters
from gateway.telemetry.spans import Tracer
from gateway.telemetry.watching import Watching
from gateway.watch import POSITION, UNWATCHED, Position, Watch
from tests.certificates import Authority

TITLE: Final = "telemetry: a call and a stage, with and without it"
CALLS = 2_000
AT_ONCE = 16
STAGES = 20_000
_TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ISSUER = "https://issuer.example"
SPIFFE_ID = "spiffe://bench.example/ann"
KEY: Final = Ed25519PrivateKey.generate()
_NOWHERE = "http://127.0.0.1:9/v1/traces"  # nobody listens: spans are made, queued and lost


class Caller:
    """Asks one server for its health, so many times."""

    def __init__(self, channel: grpc.aio.Channel, *metadata: tuple[str, str]) -> None:
        self._stub: Any = health_pb2_grpc.HealthStub(channel)
        self._metadata = metadata

    async def one(self, times: int) -> None:
        """Ask one after the other."""
        for _ in range(times):
            await self._stub.Check(health_pb2.HealthCheckRequest(), metadata=self._metadata)

    async def all(self) -> None:
        """Ask CALLS times, AT_ONCE at a time."""
        await asyncio.gather(*(self.one(CALLS // AT_ONCE) for _ in range(AT_ONCE)))


async def gateway(stack: AsyncExitStack, folder: Path, name: str, **sections: Any) -> tuple[NewHome, str]:
    """Start a gateway that accepts tokens of `ISSUER`, and return its home and where it listens."""
    made = make_home(folder / name, listen="127.0.0.1:0")
    config: Config = load_config(made.home)
    sections["limits"] = {"strangers": StrangersConfig(calls_per_second=1e6, calls_burst=1_000_000)}
    found = {key: getattr(config, key).model_copy(update=values) for key, values in sections.items()}
    (made.home / "jwks.json").write_text(json.dumps({"keys": [OKPAlgorithm.to_jwk(KEY.public_key(), as_dict=True)]}))
    found["certificates"] = [CertificateConfig(spiffe_id=SPIFFE_ID, subject="ann", roles=["admin"])]
    found["issuers"] = [IssuerConfig(issuer=ISSUER, audiences=["bench"], jwks_file="jwks.json", roles=["admin"])]
    running = await stack.enter_async_context(running_gateway(made.home, config.model_copy(update=found)))
    return made, running.address


async def echo(stack: AsyncExitStack) -> str:
    """Start the peer, and return where it listens."""
    server = grpc.aio.server()
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    stack.push_async_callback(server.stop, None)
    return f"127.0.0.1:{port}"


async def callers(stack: AsyncExitStack, folder: Path) -> list[Caller]:
    """Return who calls a gateway over mutual TLS, the peer, a plain one in three ways, and two that are watched."""
    bare = await echo(stack)
    plain, at = await gateway(stack, folder, "plain")
    counted, counted_at = await gateway(stack, folder, "counted", web={"listen": "127.0.0.1:0"})
    traced, traced_at = await gateway(
        stack, folder, "traced", web={"listen": "127.0.0.1:0"}, tracing={"url": _NOWHERE, "ratio": 0.0}
    )
    authority = Authority(folder)
    certified_at, credentials = await certified(stack, folder, authority)
    secure = await stack.enter_async_context(grpc.aio.secure_channel(certified_at, credentials))
    found = [Caller(secure)]
    for address, metadata in (
        (bare, ()),
        (at, ()),
        (at, (as_(plain),)),
        (at, (signed_token(),)),
        (counted_at, (as_(counted),)),
        (traced_at, (as_(traced), ("traceparent", _TRACEPARENT))),
    ):
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
        found.append(Caller(channel, *metadata))
    return found


async def certified(stack: AsyncExitStack, folder: Path, authority: Authority) -> tuple[str, grpc.ChannelCredentials]:
    """Start a gateway that wants certificates; return where it listens, and what a client of its shows."""
    certificate, key = authority.issue("server")
    tls = {"cert_file": str(certificate), "key_file": str(key), "client_ca_file": str(authority.file)}
    _, address = await gateway(stack, folder, "certified", tls=tls)
    shown, secret = (path.read_bytes() for path in authority.issue("client", uris=[SPIFFE_ID]))
    return address, grpc.ssl_channel_credentials(authority.file.read_bytes(), secret, shown)


def signed_token() -> tuple[str, str]:
    """Return the metadata of a JSON Web Token that is good for ten minutes."""
    now = int(SystemClock().now().timestamp())
    claims = {"iss": ISSUER, "aud": "bench", "sub": "ann", "iat": now, "exp": now + 600}
    return ("authorization", f"Bearer {jwt.encode(claims, KEY, algorithm='EdDSA')}")


def as_(made: NewHome) -> tuple[str, str]:
    """Return the metadata of a home's first token."""
    return ("authorization", f"Bearer {made.token}")


def stage_of(watch: Watch, *, sampled: bool) -> Callable[[], None]:
    """Return what passes one stage that does nothing, inside of a trace."""
    position = Position(b"\1" * 16, b"\2" * 8, sampled)

    def act() -> None:
        token = POSITION.set(position)
        with watch.stage("sandbox", "wasm"):
            pass
        POSITION.reset(token)

    return act


async def rows(effort: Effort = FULL) -> AsyncIterator[Row]:
    """Measure every figure."""
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            asking = await callers(stack, Path(folder))
            works = [Work(each.all, CALLS // AT_ONCE * AT_ONCE) for each in asking]
            mutual, bare, anonymous, plain, signed, counted, traced = await costs_in_turn(effort, *works)
    peer = "bare grpc.aio"
    for what, ours in (
        ("a call without a token", anonymous),
        ("a call with a token", plain),
        ("a call with a JSON Web Token", signed),
        ("a call with a client certificate, over TLS", mutual),
        ("with a token and metrics", counted),
        ("with a token, metrics and a sampled trace", traced),
    ):
        yield timed_row(f"{what}: CPU of both ends", "µs/call", ours.cpu, against=peer, peer=bare.cpu)
    clock = SystemClock()
    metrics = Watching(Meters(), clock, None)
    tracing = Watching(Meters(), clock, Tracer(clock, os.urandom, ratio=0.0))
    off, on, unsampled, sampled = in_turn(
        effort,
        *(
            calls(act, STAGES)
            for act in (
                stage_of(UNWATCHED, sampled=False),
                stage_of(metrics, sampled=False),
                stage_of(tracing, sampled=False),
                stage_of(tracing, sampled=True),
            )
        ),
    )
    off_named = partial(timed_row, unit="µs", against="nobody watches", peer=off)
    yield timed_row("a stage that nobody watches", "µs", off)
    yield off_named("a stage with metrics", ours=on)
    yield off_named("a stage with metrics, in a trace that is not sampled", ours=unsampled)
    yield off_named("a stage with metrics and a span", ours=sampled)


if __name__ == "__main__":
    raise SystemExit(main(only="telemetry"))

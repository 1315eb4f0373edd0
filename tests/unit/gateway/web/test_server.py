"""The second port: metrics and health for whoever may look, and nothing for a page that leads a browser here."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from gateway.errors import ConfigurationError
from gateway.web.readiness import Readiness
from gateway.web.server import CONNECTIONS_MAX, WebServer
from tests.telemetry import HandClock


@dataclass
class State:
    component: str
    serving: bool = True
    since: datetime = datetime(2026, 11, 26, tzinfo=UTC)
    code: str = ""


@dataclass
class Components:
    states: list[State] = field(default_factory=lambda: [State("audit"), State("store")])

    @property
    def serving(self) -> bool:
        return all(state.serving for state in self.states)


@dataclass
class Port:
    web: WebServer
    readiness: Readiness
    components: Components
    clock: HandClock
    session: aiohttp.ClientSession
    asked: list[str]

    async def get(self, path: str, **options: Any) -> tuple[int, Any]:
        async with self.session.request(
            options.pop("method", "GET"), f"http://{self.web.address}{path}", **options
        ) as answer:
            body = await answer.text()
            assert answer.headers.get("Cache-Control") == "no-store" or answer.status >= 400
            return answer.status, await answer.json() if answer.content_type == "application/json" else body


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    components, clock, asked = Components(), HandClock(), []
    readiness = Readiness(components)

    def expose(accept: str) -> tuple[bytes, str]:
        asked.append(accept)
        return f"metric {len(asked)}\n".encode(), "text/plain; version=0.0.4; charset=utf-8"

    web = WebServer(expose, readiness, clock, names=["gate.example"])
    await web.start("127.0.0.1", 0)
    async with aiohttp.ClientSession() as session:
        yield Port(web, readiness, components, clock, session, asked)
    await web.close()


async def test_connections_that_say_nothing_are_few_and_end(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    """They take no file descriptors from the gateway, and metrics are there again once they are cut off."""
    monkeypatch.setattr("gateway.web.server.REQUEST_SECONDS_MAX", 0.2)
    host, _, number = port.web.address.rpartition(":")
    many = [await asyncio.open_connection(host, int(number)) for _ in range(3 * CONNECTIONS_MAX)]
    async with asyncio.timeout(10):
        assert [await reader.read() for reader, _ in many] == [b""] * len(many)
        for _, writer in many:
            writer.close()
        assert (await port.get("/healthz"))[0] == 200


async def test_connections_are_bounded_whoever_is_there_first(port: Port) -> None:
    """Those beyond the maximum are closed at once, with nothing said."""
    host, _, number = port.web.address.rpartition(":")
    many = [await asyncio.open_connection(host, int(number)) for _ in range(CONNECTIONS_MAX)]
    reader, writer = await asyncio.open_connection(host, int(number))
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    for each in (writer, *(writer for _, writer in many)):
        each.close()


async def test_metrics_are_made_once_a_second(port: Port) -> None:
    """However often they are asked for; who wants OpenMetrics gets that."""
    assert [await port.get("/metrics") for _ in range(3)] == [(200, "metric 1\n")] * 3
    port.clock.seconds = 1.0
    assert await port.get("/metrics") == (200, "metric 2\n")
    await port.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert port.asked == ["", "", "application/openmetrics-text"]


async def test_health_is_that_of_the_components(port: Port) -> None:
    """Alive as long as it answers; ready while every component serves, and until it stops."""
    assert await port.get("/healthz") == (200, {"alive": True})
    status, document = await port.get("/readyz")
    assert (status, document["serving"], list(document["components"])) == (200, True, ["audit", "store"])
    port.components.states[0] = State("audit", serving=False, code="audit.dead")
    status, document = await port.get("/readyz")
    assert (status, document["components"]["audit"]["code"]) == (503, "audit.dead")
    port.components.states[0] = State("audit")
    port.readiness.stopping = True
    assert (await port.get("/readyz"))[0] == 503
    assert (await port.get("/healthz"))[0] == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("127.0.0.1:9", 200),
        ("[::1]:9", 200),
        ("gate.example:7444", 200),
        ("attacker.example", 421),
        ("127.0.0.1.attacker.example", 421),
        ("[::1", 421),
    ],
)
async def test_a_name_that_is_not_ours_reads_nothing(port: Port, host: str, status: int) -> None:
    """DNS rebinding: a page's own name may lead here, and its browser sends that name."""
    for path in ("/metrics", "/readyz"):
        assert (await port.get(path, headers={"Host": host}))[0] == status


async def test_nothing_else_is_there(port: Port) -> None:
    """No other path, no other method, no body."""
    assert (await port.get("/"))[0] == 404
    assert (await port.get("/metrics", method="POST", data=b"x" * 100))[0] == 405
    assert (await port.get("/metrics", method="HEAD"))[0] == 200
    assert (await port.get("/metrics", headers={"X": "y" * 20_000}))[0] == 400


async def test_an_address_that_is_taken_is_an_error_of_the_configuration(port: Port) -> None:
    """With the key that names it."""
    second = WebServer(lambda _: (b"", "text/plain"), Readiness(), HandClock())
    with pytest.raises(ConfigurationError, match=r"web\.listen"):
        await second.start("127.0.0.1", int(port.web.address.rpartition(":")[2]))
    await second.close()

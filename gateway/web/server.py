"""Serves /metrics, /healthz and /readyz, over HTTP, to whoever reaches the address: on loopback unless allowed by name.

Nothing here knows callers, so nothing here is a tenant's. A browser on this machine is no reader: a request whose Host
is a name, and not this machine's, is refused, so that no page elsewhere reads it by a name that leads here. An answer
is made at most once a second, however often it is asked for. Connections are few, and one that asks for nothing ends:
aiohttp bounds neither, and file descriptors are the whole gateway's.
"""

import asyncio
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Final

import orjson
from aiohttp import web

from engine.clock import Clock, rfc3339
from gateway.errors import ConfigurationError
from gateway.web.ports import HealthSource

METRICS_SECONDS: Final = 1.0  # that an answer stays as it was made
CONNECTIONS_MAX: Final = 64
REQUEST_SECONDS_MAX: Final = 10.0  # from a connection to what it asks for
_HEADER_BYTES_MAX: Final = 8_190
_KEEPALIVE_SECONDS: Final = 15.0
_SHUTDOWN_SECONDS: Final = 1.0
_JSON: Final = "application/json"


Exposition = Callable[[str], tuple[bytes, str]]
"""Takes an Accept header and returns metrics with their content type."""


class WebServer:
    """One listening server. `address` is known once `start` has returned."""

    def __init__(self, expose: Exposition, health: HealthSource, clock: Clock, *, names: Sequence[str] = ()) -> None:
        """Prepare.

        Args:
            expose: makes the metrics.
            health: says how it stands.
            clock: of how old an answer is.
            names: of hosts by which it may be asked for, beside addresses and localhost.
        """
        self._expose = expose
        self._health = health
        self._now = clock.monotonic
        self._names = frozenset({"localhost", *names})
        self._kept: dict[str, tuple[float, bytes, str]] = {}  # by Accept: two at most
        app = web.Application(middlewares=[self._guarded], client_max_size=1)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        self._places = asyncio.Semaphore(CONNECTIONS_MAX)
        self._silent: set[asyncio.BaseProtocol | None] = set()  # connections that have asked for nothing yet
        self._listening: asyncio.Server | None = None
        self._runner = web.AppRunner(
            app,
            access_log=None,
            keepalive_timeout=_KEEPALIVE_SECONDS,
            shutdown_timeout=_SHUTDOWN_SECONDS,
            max_line_size=_HEADER_BYTES_MAX,
            max_field_size=_HEADER_BYTES_MAX,
        )
        self.address = ""

    async def start(self, host: str, port: int) -> None:
        """Listen; port 0 takes a free one.

        Raises:
            ConfigurationError: the address cannot be had.
        """
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        try:
            self._listening = await loop.create_server(self._connection, host, port, backlog=CONNECTIONS_MAX)
        except OSError as error:
            raise ConfigurationError(f"web.listen: cannot listen on {host}:{port}", code="config.listen") from error
        bound = self._listening.sockets[0].getsockname()
        self.address = f"[{bound[0]}]:{bound[1]}" if ":" in bound[0] else f"{bound[0]}:{bound[1]}"

    async def close(self) -> None:
        """Take nothing more, and end what is under way."""
        if self._listening is not None:
            self._listening.close()
        await self._runner.cleanup()

    def _connection(self) -> asyncio.BaseProtocol:
        """Return what speaks to whoever has connected."""
        server = self._runner.server
        if server is None or max(len(server.connections), len(self._silent)) >= CONNECTIONS_MAX:
            return _Closed()
        speaking = server()
        self._silent.add(speaking)
        asyncio.get_running_loop().call_later(REQUEST_SECONDS_MAX, self._cut_off, speaking)
        return speaking

    def _cut_off(self, speaking: web.RequestHandler) -> None:
        """End a connection that has asked for nothing in its time."""
        if speaking in self._silent:
            self._silent.discard(speaking)
            speaking.force_close()

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Callable[[web.Request], object]) -> web.StreamResponse:
        """Answer who asks by an address, or by a name that is this gateway's; so many at a time."""
        self._silent.discard(request.protocol)
        if not self._is_ours(request.host):
            return _said(421, {"code": "web.host"})
        if self._places.locked():
            return _said(503, {"code": "web.overloaded"})
        async with self._places:
            answer = await handler(request)  # type: ignore[misc]  # aiohttp gives handlers no one type
        if not isinstance(answer, web.StreamResponse):
            return _said(500, {"code": "internal"})
        answer.headers["Cache-Control"] = "no-store"
        answer.headers["X-Content-Type-Options"] = "nosniff"
        return answer

    def _is_ours(self, host: str) -> bool:
        name = host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
        if name.lower() in self._names:
            return True
        try:
            ip_address(name)
        except ValueError:
            return False
        return True

    async def _metrics(self, request: web.Request) -> web.Response:
        """Every metric, as text."""
        wanted = "open" if "application/openmetrics-text" in request.headers.get("Accept", "") else "text"
        kept = self._kept.get(wanted)
        if kept is None or self._now() - kept[0] >= METRICS_SECONDS:
            body, content_type = self._expose("application/openmetrics-text" if wanted == "open" else "")
            kept = self._kept[wanted] = (self._now(), body, content_type)
        return web.Response(body=kept[1], headers={"Content-Type": kept[2]})

    async def _healthz(self, _request: web.Request) -> web.Response:
        """Whether the process is alive: it answers, so it is."""
        return _said(200, {"alive": True})

    async def _readyz(self, _request: web.Request) -> web.Response:
        """Whether calls may come, and how it stands with each component."""
        health = self._health
        components = {
            str(each.component): {
                "serving": each.serving,
                "since": rfc3339(each.since),
                **({"code": each.code} if each.code else {}),
            }
            for each in health.states
        }
        return _said(200 if health.serving else 503, {"serving": health.serving, "components": components})


class _Closed(asyncio.Protocol):
    """What a connection beyond the maximum meets."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hang up."""
        if isinstance(transport, asyncio.Transport):
            transport.abort()


def _said(status: int, document: object) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(document), content_type=_JSON)

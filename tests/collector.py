"""A collector of logs on loopback: keeps what it is sent, and answers as it is told to."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web


@dataclass
class Collector:
    """`answer` gives the status of a request from its events; what was not answered 2xx is not kept."""

    url: str = ""
    answer: Callable[[list[Any]], int] = lambda _: 200
    hold: asyncio.Event | None = None  # requests wait for it
    retry_after: str = ""  # of answers that are not 2xx
    tls: ssl.SSLContext | None = None
    events: list[dict[str, Any]] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)  # as they were sent
    requests: list[dict[str, str]] = field(default_factory=list)  # headers, `:path` among them
    sizes: list[int] = field(default_factory=list)  # events of each request

    @property
    def ids(self) -> list[str]:
        return [event["decision_id"] for event in self.events]

    async def take(self, request: web.Request) -> web.Response:
        self.requests.append({**{k.lower(): v for k, v in request.headers.items()}, ":path": request.path})
        body = await request.read()  # aiohttp undoes the compression where the header says so
        plain = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
        lines = request.content_type == "application/x-ndjson"
        events = [orjson.loads(line) for line in plain.splitlines()] if lines else orjson.loads(plain)
        self.bodies.append(events)
        self.sizes.append(len(events))
        if self.hold is not None:
            await self.hold.wait()
        status = self.answer(events)
        if status // 100 == 2:
            self.events += events
        headers = {"Location": self.url} if status == 307 else {}
        if self.retry_after and status // 100 != 2:
            headers["Retry-After"] = self.retry_after
        return web.Response(status=status, headers=headers)


@asynccontextmanager
async def collecting(**fields: Any) -> AsyncIterator[Collector]:
    """Run a collector for as long as the block lasts."""
    collector = Collector(**fields)
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", collector.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=collector.tls)
        await site.start()
        host, port = runner.addresses[0][:2]
        collector.url = f"http{'s' if collector.tls else ''}://{host}:{port}"
        yield collector
    finally:
        await runner.cleanup()

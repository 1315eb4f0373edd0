"""The service at the other end: it counts orders by their idempotency key, whatever the gateway's records say."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

BODY_BYTES_MAX: Final = 4_096


class Orders:
    """What was ordered, and how often."""

    def __init__(self) -> None:
        self.placed: Counter[str] = Counter()  # by Idempotency-Key
        self.of: Counter[str] = Counter()  # by what the order says it is for

    async def place(self, request: web.Request) -> web.Response:
        """Take an order: its body names the mission and the step that it is for."""
        self.placed[request.headers["Idempotency-Key"]] += 1
        self.of[await request.text()] += 1
        return web.Response(text="ok")

    @property
    def repeated(self) -> int:
        """How many keys were used twice, or more often."""
        return sum(count > 1 for count in self.placed.values())


@asynccontextmanager
async def taking_orders() -> AsyncIterator[tuple[int, Orders]]:
    """Serve on a free loopback port; give it, and what was counted."""
    orders = Orders()
    app = web.Application(client_max_size=BODY_BYTES_MAX)
    app.router.add_post("/orders", orders.place)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1], orders
    finally:
        await runner.cleanup()

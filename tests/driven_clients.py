"""Clients of both kinds, called alike, whose waits are noted and take no time."""

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from gateway.client import AsyncClient, CallOptions, Client, Server
from gateway.client.asynchronous import Asynchronous
from gateway.client.blocking import Blocking

KINDS = ("blocking", "asynchronous")


@dataclass
class Waits:
    """A clock that moves by what is waited for, and by nothing else."""

    seconds: list[float] = field(default_factory=list)
    moment: float = 1_000.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.moment, UTC)

    def monotonic(self) -> float:
        return self.moment

    def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self.moment += seconds

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)


def do(
    kind: str, server: Server | str, action: Callable[[Any], Any], options: CallOptions | None = None, **fake: Any
) -> Any:
    """Return what an action on a client of a kind comes to; what it streams as a list."""
    server = Server(server, "ann-token") if isinstance(server, str) else server
    waits = fake.pop("waits", None) or Waits()
    fakes = {"clock": waits, "chance": lambda: 1.0, **fake}
    if kind == "blocking":
        with Client(server, driver=Blocking.to(server, options or CallOptions(), sleep=waits.sleep, **fakes)) as client:
            found = action(client)
            return list(found) if inspect.isgenerator(found) else found
    return asyncio.run(_do(server, action, options or CallOptions(), {"sleep": waits.asleep, **fakes}))


async def _do(server: Server, action: Callable[[Any], Any], options: CallOptions, fakes: dict[str, Any]) -> Any:
    async with AsyncClient(server, driver=Asynchronous.to(server, options, **fakes)) as client:
        found = action(client)
        return [each async for each in found] if inspect.isasyncgen(found) else await found

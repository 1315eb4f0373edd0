"""How long calls wait on their way, found out by calls of the server's own.

grpc.aio takes one call of each method in a turn of the event loop. While turns are long the others wait inside of gRPC,
in a queue for each method: nothing of ours counts them, and the loop may well be in time. Those that it has taken wait
for workers of policy and for the store, as all else that is done does, in queues that each look short. So the server
calls itself, by the method that is called most, and lets such a call pass all of these and do nothing: what it takes is
what any call waits.

It comes over a socket in the gateway's home that nobody else may open. A gateway that nobody calls does not call itself
either.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio

from engine.clock import Clock
from engine.errors import EngineError
from gateway.errors import ConfigurationError
from gateway.rpc.types import Context, Handler

_PAUSE_SECONDS: Final = 0.05
_SOCKET_MODE: Final = 0o600
_CHANNEL: Final = (("grpc.enable_http_proxy", 0), ("grpc.max_reconnect_backoff_ms", 1_000))


class Probe(grpc.aio.ServerInterceptor):
    """The outermost interceptor of one server, and who calls it. Bound to the server's event loop."""

    def __init__(self, clock: Clock, queues: Sequence[Callable[[], Awaitable[None]]]) -> None:
        """Prepare; each of `queues` returns once what was asked for before has had its turn."""
        self._now = clock.monotonic
        self._queues = queues
        self._mark = ("missiongate-probe", secrets.token_hex(16))  # metadata that nobody else can send
        self._target = ""
        self._calls: Counter[str] = Counter()  # of others, by method, since the last of ours
        self._sent: float | None = None  # when ours that is on its way was made
        self._waited = 0.0  # how long the last one took

    @property
    def wait_seconds(self) -> float:
        """How long calls wait: as long as the last of ours did, or as the one that is on its way has by now."""
        waiting = 0.0 if self._sent is None else self._now() - self._sent
        return max(self._waited, waiting)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Count a call of others; one of our own gets no further than here."""
        if self._mark in handler_call_details.invocation_metadata:
            return grpc.unary_unary_rpc_method_handler(self._pass)
        handler = await continuation(handler_call_details)
        if handler is not None:
            self._calls[handler_call_details.method] += 1
        return handler

    def listen(self, server: grpc.aio.Server, folder: int, name: str) -> None:
        """Let a server listen on a socket in an open folder.

        By its descriptor, since the path of a home may be longer than that of a socket (unix(7), 107 bytes).

        Raises:
            ConfigurationError: `config.listen`, it cannot.
        """
        path = Path(f"/proc/self/fd/{folder}/{name}")
        self._target = f"unix:{path}"
        try:
            server.add_insecure_port(self._target)
            path.chmod(_SOCKET_MODE)
        except (RuntimeError, OSError) as error:
            raise ConfigurationError(f"cannot listen on {name} in the home", code="config.listen") from error

    async def run(self) -> None:
        """Call, again and again while others do, until cancelled."""
        async with grpc.aio.insecure_channel(self._target, options=_CHANNEL) as channel:
            while True:
                await asyncio.sleep(_PAUSE_SECONDS)
                if self._calls:
                    [(method, _)] = self._calls.most_common(1)
                    self._calls.clear()
                    await self._ask(channel.unary_unary(method))
                elif self._sent is None:
                    self._waited = 0.0  # nobody has come since the last one, so nobody was before it

    async def _ask(self, call: Any) -> None:
        """Make one call. One that gRPC turns away, as it does with some above 1,000 that wait, waits on as the next."""
        if self._sent is None:
            self._sent = self._now()
        try:
            await call(b"", metadata=(self._mark,))
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:  # no connection says nothing of how long calls wait
                self._sent, self._waited = None, 0.0

    async def _pass(self, _request: bytes, _context: Context) -> bytes:
        """Pass all queues; one that takes nothing any more says so to those who need it."""
        for turn in self._queues:
            with suppress(EngineError):
                await turn()
        if self._sent is not None:
            self._waited, self._sent = self._now() - self._sent, None
        return b""

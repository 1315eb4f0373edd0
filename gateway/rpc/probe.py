"""How long calls wait on their way, found out by calls of the server's own.

grpc.aio takes one call of each method in a turn of the event loop. While turns are long the others wait inside of gRPC,
in a queue for each method: nothing of ours counts them, and the loop may well be in time. Those that it has taken wait
for workers of policy and for the store, as all else that is done does, in queues that each look short. So the server
calls itself, by the methods that are called most, and lets such a call pass all of these and do nothing: what it takes
is what any call waits.

A server that nobody calls does not call itself either. One that cannot, goes by the lateness of its event loop alone.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

import grpc
import grpc.aio

from engine.clock import Clock
from engine.errors import EngineError
from gateway.limits.kinds import CallKind
from gateway.limits.shedding import BOUNDED, Waited
from gateway.limits.trips import Trips
from gateway.rpc.call_kinds import kind_of
from gateway.rpc.listeners import SOCKET_MODE
from gateway.rpc.types import Context, Handler

Turn: TypeAlias = Callable[[], Awaitable[None]]
"""Returns once what was asked for before has been done, or begun."""
Queues: TypeAlias = Mapping[CallKind, Sequence[Turn]]
"""What a call of a kind passes, in this order."""

SOCKET_NAME: Final = "probe.sock"
_KEY: Final = "missiongate-probe"
_PAUSE_SECONDS: Final = 0.05
# How a call ends that came through, and one that gRPC turns away because too many wait or are open.
_WAITS: Final = frozenset({grpc.StatusCode.OK, grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED})
_ALONE: Final = "overload is seen by the lateness of the event loop alone"
_CHANNEL: Final = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.use_local_subchannel_pool", 1),
)
_LOG: Final = logging.getLogger(__name__)


class ReadAndWritten(Protocol):
    """A store, which has a queue of each."""

    async def reading_turn(self) -> None:
        """Return once a query that was asked for now would have been made."""

    async def writing_turn(self) -> None:
        """Return once a write that was asked for now would be on the disk."""


def passing(policy: Turn, store: ReadAndWritten) -> Queues:
    """Return what calls pass: all ask policy and look something up, and those that bring work write, too."""
    reads = (policy, store.reading_turn)
    return {CallKind.READ: reads, CallKind.MUTATION: (*reads, store.writing_turn)}


class Probe(grpc.aio.ServerInterceptor):
    """The outermost interceptor of one server, and who calls it. Bound to the server's event loop."""

    def __init__(self, clock: Clock, queues: Queues, *, servers: int = 1) -> None:
        """Prepare; of several servers in one process each calls itself so much less often."""
        self._now = clock.monotonic
        self._queues = queues
        self._pause_seconds = _PAUSE_SECONDS * servers
        self._mark = (_KEY, secrets.token_hex(16))  # metadata that nobody else can send
        self._marks = frozenset((self._mark,))  # found by its hash: no time tells how much of it was guessed
        self._target = ""
        self._trips = {kind: Trips() for kind in BOUNDED}
        self._told = False  # that nothing is known

    def waits(self, kind: CallKind) -> Waited:
        """Return how long calls of a kind wait: as long as the last of ours, or as the one under way has by now."""
        return self._trips[kind].by(self._now())

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Count a call of others; one of our own gets no further than here."""
        service, _, method = handler_call_details.method.lstrip("/").partition("/")
        kind = kind_of(service, method)
        if kind in self._trips and not self._marks.isdisjoint(handler_call_details.invocation_metadata):
            return grpc.unary_unary_rpc_method_handler(partial(self._pass, kind))
        handler = await continuation(handler_call_details)
        if handler is not None and kind in self._trips:
            self._trips[kind].calls[handler_call_details.method] += 1
        return handler

    def listen(self, server: grpc.aio.Server, home: int) -> None:
        """Let a server listen on a socket in a folder, by its descriptor: its path may be too long (unix(7))."""
        path = Path(f"/proc/self/fd/{home}/{SOCKET_NAME}")
        try:
            server.add_insecure_port(f"unix:{path}")
            path.chmod(SOCKET_MODE)
        except (RuntimeError, OSError):
            _LOG.warning("cannot listen on %s in the home: %s", SOCKET_NAME, _ALONE)
            return
        self.reach(f"unix:{path}")

    def reach(self, target: str) -> None:
        """From now on call the server by this name."""
        self._target = target

    async def run(self) -> None:
        """Call, again and again while others do, until cancelled."""
        if not self._target:
            return
        try:
            async with (
                grpc.aio.insecure_channel(self._target, options=_CHANNEL) as channel,
                asyncio.TaskGroup() as group,
            ):
                for trips in self._trips.values():
                    group.create_task(self._follow(trips, channel))
        finally:
            for trips in self._trips.values():
                trips.forget()

    async def _follow(self, trips: Trips, channel: grpc.aio.Channel) -> None:
        """Find out how long calls of one kind wait. What gRPC turns away goes on to wait, as the next call."""
        methods: Sequence[str] = ()
        while True:
            await asyncio.sleep(self._pause_seconds)
            methods = trips.busiest() or (methods if trips.stands else ())
            if not methods:
                trips.forget()  # nobody has come since the last of ours, and that had not to wait
                continue
            trips.begin(self._now())
            codes = set(await asyncio.gather(*(_asked(channel, method, self._mark) for method in methods)))
            if codes == {grpc.StatusCode.OK}:
                trips.come(self._now())
                self._told = False
            elif not codes <= _WAITS:
                trips.forget()  # no connection, or a fault of ours: that says nothing of how long calls wait
                self._tell(codes)

    def _tell(self, codes: set[grpc.StatusCode]) -> None:
        """Say once that nothing is known."""
        if not self._told:
            names = ", ".join(sorted(code.name for code in codes))
            _LOG.warning("the server cannot call itself (%s): %s", names, _ALONE)
        self._told = True

    async def _pass(self, kind: CallKind, _request: bytes, _context: Context) -> bytes:
        """Pass all queues. One that is full is waited for; one that takes nothing any more says so to who needs it."""
        with self._trips[kind].inside(self._now):
            for turn in self._queues.get(kind, ()):
                with suppress(EngineError):
                    while not await _took(turn):  # noqa: ASYNC110 - a queue tells nobody that it has room
                        await asyncio.sleep(_PAUSE_SECONDS)
        return b""


async def _took(turn: Turn) -> bool:
    """Take a turn; return False where so many wait for one that no more may."""
    try:
        await turn()
    except EngineError as error:
        if error.code.endswith(".overloaded"):
            return False
        raise
    return True


async def _asked(channel: grpc.aio.Channel, method: str, mark: tuple[str, str]) -> grpc.StatusCode:
    """Make one call; return how it ended."""
    call: Any = channel.unary_unary(method)
    try:
        await call(b"", metadata=(mark,))
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK

"""How messages are taken and sent: one at a time, and not for ever from or to somebody who neither sends nor reads.

A request is taken once its caller is known and within the limits, so a stranger makes the gateway hold no more of it
than HTTP/2 lets be under way. One that does not come at once is held in memory as far as it has come: a caller has few
of them at a time. A message of a stream is written once the one before has left for the connection, so what
waits for a slow reader is one message and what HTTP/2 lets be under way; what it is read from is not held up, since
watchers pull. A reader that takes none for `write_seconds_max` loses its stream, with a status after which clients take
one up again where they stopped. The status waits behind what was sent, and the stream counts as its caller's until that
is read or the connection is gone.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from typing import Any, Final

import grpc.aio

from gateway.errors import DeadlineError, LimitedError, StreamEndedError
from gateway.rpc.bad_request import bad_request
from gateway.rpc.types import Context

QUICK_SECONDS: Final = 2.0  # that a message may take to come without being counted as slow

Slow = Callable[[], AbstractContextManager[None]]
"""Gives a caller a place for a message that is slow; raises LimitedError."""


async def receive(context: Context, read_seconds_max: float, slow: Slow) -> bytes:
    """Return the request of a call that takes one.

    Raises:
        DeadlineError: `request.too_slow`.
        LimitedError: `limits.open`, too many of the caller are slow.
        SanitizationError: `request.missing`.
    """
    async with _in_time(read_seconds_max, slow):
        message: Any = await context.read()
    if message is grpc.aio.EOF:
        raise bad_request("request.missing", "", "the call ended without a request")
    return bytes(message)


async def receive_each(raws: AsyncIterator[bytes], read_seconds_max: float, slow: Slow) -> AsyncIterator[bytes]:
    """Yield the messages of a stream of requests.

    Raises:
        DeadlineError: `request.too_slow`.
        LimitedError: `limits.open`, too many of the caller are slow.
    """
    while True:
        async with _in_time(read_seconds_max, slow):
            message = await anext(raws, None)
        if message is None:
            return
        yield message


@asynccontextmanager
async def _in_time(seconds_max: float, slow: Slow) -> AsyncIterator[None]:
    """End the block after so long; from `QUICK_SECONDS` on it has a place of those that are slow, or ends then."""
    refused: list[LimitedError] = []
    loop = asyncio.get_running_loop()
    with ExitStack() as held:
        try:
            async with asyncio.timeout(seconds_max) as limit:

                def is_late() -> None:
                    try:
                        held.enter_context(slow())
                    except LimitedError as error:
                        refused.append(error)
                        limit.reschedule(loop.time())

                if seconds_max > QUICK_SECONDS:
                    held.callback(loop.call_later(QUICK_SECONDS, is_late).cancel)
                yield
        except TimeoutError as error:
            raise (refused[0] if refused else _too_slow(seconds_max)) from error


async def send(write: Callable[[Any], Awaitable[None]], message: Any, write_seconds_max: float) -> None:
    """Write one message. The stream is opened by then, or the status of one that is never read would open it again.

    Raises:
        StreamEndedError: `stream.slow_reader`.
    """
    try:
        async with asyncio.timeout(write_seconds_max):
            await write(message)
    except TimeoutError as error:
        raise StreamEndedError(
            f"nothing was read for {write_seconds_max:g} seconds (limits.connections.write_seconds_max); "
            "take the stream up again behind the last message that came"
        ) from error


def _too_slow(seconds: float) -> DeadlineError:
    message = f"a message did not come within {seconds:g} seconds (limits.connections.read_seconds_max)"
    return DeadlineError(message, code="request.too_slow")

"""How messages are taken and sent: one at a time, and not for ever from or to somebody who neither sends nor reads.

A request is taken once its caller is known and within the limits, so a stranger makes the gateway hold no more of it
than HTTP/2 lets be under way. A message of a stream is written once the one before has left for the connection, so what
waits for a slow reader is one message and what HTTP/2 lets be under way; what it is read from is not held up, since
watchers pull. A reader that takes none for `write_seconds_max` loses its stream, with a status after which clients take
one up again where they stopped. The status waits behind what was sent, and the stream counts as its caller's until that
is read or the connection is gone.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc.aio

from gateway.errors import DeadlineError, StreamEndedError
from gateway.rpc.bad_request import bad_request
from gateway.rpc.types import Context


async def receive(context: Context, read_seconds_max: float) -> bytes:
    """Return the request of a call that takes one.

    Raises:
        DeadlineError: `request.too_slow`.
        SanitizationError: `request.missing`.
    """
    try:
        async with asyncio.timeout(read_seconds_max):
            message: Any = await context.read()
    except TimeoutError as error:
        raise _too_slow(read_seconds_max) from error
    if message is grpc.aio.EOF:
        raise bad_request("request.missing", "", "the call ended without a request")
    return bytes(message)


async def receive_each(raws: AsyncIterator[bytes], read_seconds_max: float) -> AsyncIterator[bytes]:
    """Yield the messages of a stream of requests.

    Raises:
        DeadlineError: `request.too_slow`.
    """
    while True:
        try:
            async with asyncio.timeout(read_seconds_max):
                message = await anext(raws)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise _too_slow(read_seconds_max) from error
        yield message


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

"""Calls that are made again, where the gateway asks for that."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import grpc
import grpc.aio

T = TypeVar("T")

_AGAIN: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED})
_TRIES_MAX: Final = 500
_PAUSE_SECONDS_MAX: Final = 1.0


async def tried(call: Callable[[], Awaitable[T]], again: Counter[str]) -> T:
    """Return what a call answers in the end; `again` counts by status how often it was made anew.

    Raises:
        grpc.aio.AioRpcError: a status that asks for no other try.
        RuntimeError: there were too many.
    """
    pause_seconds = 0.05
    for _ in range(_TRIES_MAX):
        try:
            return await call()
        except grpc.aio.AioRpcError as error:
            if error.code() not in _AGAIN:
                raise
            again[error.code().name] += 1
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, _PAUSE_SECONDS_MAX)
    raise RuntimeError(f"the gateway asked {_TRIES_MAX} times to come again")

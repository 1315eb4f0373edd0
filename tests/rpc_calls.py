"""Calls that have to fail, and conditions that have to come."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import grpc.aio
import pytest

_LOOKS: Final = 1_000
_PAUSE_SECONDS: Final = 0.005


async def refused(call: Any) -> grpc.aio.AioRpcError:
    """Return the error of a call that must fail; a stream is read to its end."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await answers(call, [])
    return caught.value


async def answers(call: Any, into: list[Any]) -> None:
    """Collect what a call answers, so that what came before a failure can be seen."""
    if not hasattr(call, "__aiter__"):
        into.append(await call)
        return
    async for answer in call:
        into.append(answer)  # noqa: PERF401 - a comprehension would lose them


async def until(condition: Callable[[], bool]) -> None:
    """Return once `condition` holds; fail after five seconds."""
    for _ in range(_LOOKS):
        if condition():
            return
        await asyncio.sleep(_PAUSE_SECONDS)
    pytest.fail("it never came")

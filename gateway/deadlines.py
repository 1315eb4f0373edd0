"""Work that is given up when its caller's deadline passes, up to the point from which on it is not any more."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.errors import DeadlineError


@asynccontextmanager
async def before(when: float | None) -> AsyncIterator[None]:
    """Cancel what the block waits for at `when`, in time of the running loop; None: never.

    Raises:
        DeadlineError: `call.deadline_exceeded`.
    """
    deadline = asyncio.timeout_at(when)
    try:
        async with deadline:
            yield
    except TimeoutError as error:
        if not deadline.expired():
            raise
        raise DeadlineError("the deadline of the call passed before the mission was admitted") from error

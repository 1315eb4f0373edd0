"""Makes calls on an event loop: the driver of `AsyncClient`. `blocking.py` is its twin."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

import grpc
import grpc.aio

from engine.clock import Clock, SystemClock
from gateway.client.call import PAGES_MAX, Call, Cursor, Turning, UnreadableError
from gateway.client.channels import OPTIONS, credentials, is_opened, metadata, target
from gateway.client.errors import CallError
from gateway.client.failures import ended_early, failure_of, unreadable
from gateway.client.patience import NO_RETRY, CallOptions, Patience
from gateway.client.server import Server

_T = TypeVar("_T")
_CHANCE: Final = secrets.SystemRandom().random


@dataclass(frozen=True, slots=True, kw_only=True)
class Asynchronous:
    """Calls over one channel, which belongs to the loop in which it was made."""

    server: Server
    channel: grpc.aio.Channel
    options: CallOptions
    clock: Clock
    sleep: Callable[[float], Awaitable[None]]
    chance: Callable[[], float]

    @classmethod
    def to(
        cls,
        server: Server,
        options: CallOptions,
        *,
        clock: Clock | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = _CHANCE,
    ) -> "Asynchronous":
        """Return a driver with a channel of its own; it is dialled by the first call."""
        if server.tls is None:
            channel = grpc.aio.insecure_channel(target(server), options=OPTIONS)
        else:
            channel = grpc.aio.secure_channel(target(server), credentials(server.tls), options=OPTIONS)
        return cls(
            server=server, channel=channel, options=options, clock=clock or SystemClock(), sleep=sleep, chance=chance
        )

    def having(self, options: CallOptions) -> "Asynchronous":
        """Return a driver with other options, over the same channel."""
        return replace(self, options=options)

    async def call(self, call: Call[_T]) -> _T:
        """Make a call.

        Raises:
            CallError: it failed, and is not worth another attempt.
        """
        patience = Patience(
            self.options, self.clock, self.chance, attempt_seconds=call.attempt_seconds, repeats=call.repeats
        )
        while True:
            try:
                return call.read(await self._send(call, patience.timeout_seconds()))
            except grpc.RpcError as error:
                failure = failure_of(error, self.server.address)
            except UnreadableError as error:
                raise unreadable(self.server.address) from error
            await self.sleep(patience.wait_seconds(failure))

    async def stream(self, cursor: Cursor[_T]) -> AsyncGenerator[_T, None]:
        """Yield what a stream has, each once and none left out, however often it breaks.

        Raises:
            CallError: it failed, and is not worth another attempt.
        """
        patience = Patience(
            self.options, self.clock, self.chance, attempt_seconds=None, repeats=True, resumes=cursor.resumes
        )
        while True:
            try:
                async with aclosing(self._read(cursor, patience)) as found:
                    async for each in found:
                        yield each
                if await self._ended(cursor):
                    return
                failure = ended_early(self.server.address)
            except grpc.RpcError as error:
                if cursor.over:
                    return
                failure = failure_of(error, self.server.address)
            except CallError as error:  # of what was asked at the end
                failure = error
            except UnreadableError as error:
                raise unreadable(self.server.address) from error
            await self.sleep(patience.wait_seconds(failure))

    async def pages(self, turning: Turning[_T]) -> AsyncGenerator[_T, None]:
        """Yield what a list has, page after page.

        Raises:
            CallError: a call failed, and is not worth another attempt.
        """
        token = ""
        for _ in range(PAGES_MAX):
            page = await self.call(turning(token))
            for each in page.items:
                yield each
            token = page.next_page_token
            if not token:
                return

    async def close(self) -> None:
        """Close the channel; calls under way are cancelled."""
        await self.channel.close()

    async def _ended(self, cursor: Cursor[Any]) -> bool:
        ended = cursor.ended()
        once = self.having(replace(self.options, retry=NO_RETRY))  # the stream's own attempts are enough
        return ended if isinstance(ended, bool) else await once.call(ended)

    async def _read(self, cursor: Cursor[_T], patience: Patience) -> AsyncGenerator[_T, None]:
        sent = await self._metadata()
        ask: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = self.channel.unary_stream(cursor.method)
        answers = ask(cursor.request(), timeout=patience.timeout_seconds(), metadata=sent)
        try:
            async for raw in answers:
                new = cursor.take(raw)
                patience.answered()
                for each in new:
                    yield each
        except grpc.RpcError:
            if is_opened(await answers.initial_metadata()):
                patience.opened()
            raise
        finally:
            answers.cancel()

    async def _send(self, call: Call[Any], seconds: float | None) -> bytes:
        sent = await self._metadata()
        if call.parts is not None:
            upload: grpc.aio.StreamUnaryMultiCallable[bytes, bytes] = self.channel.stream_unary(call.method)
            return await upload(call.parts(), timeout=seconds, metadata=sent)
        ask: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary(call.method)
        return await ask(call.request, timeout=seconds, metadata=sent)

    async def _metadata(self) -> tuple[tuple[str, str], ...]:
        """Return what goes with one attempt; what fetches a token may block, and does so beside the loop."""
        bearer = self.server.bearer
        token = await asyncio.to_thread(bearer) if callable(self.server.token) else bearer()
        return metadata(token, self.options)

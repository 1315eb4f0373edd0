"""Makes calls and waits for them: the driver of `Client`. `asynchronous.py` is its twin."""

import secrets
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

import grpc

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
class Blocking:
    """Calls over one channel, which may be used from several threads."""

    server: Server
    channel: grpc.Channel
    options: CallOptions
    clock: Clock
    sleep: Callable[[float], None]
    chance: Callable[[], float]

    @classmethod
    def to(
        cls,
        server: Server,
        options: CallOptions,
        *,
        clock: Clock | None = None,
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = _CHANCE,
    ) -> "Blocking":
        """Return a driver with a channel of its own; it is dialled by the first call."""
        if server.tls is None:
            channel = grpc.insecure_channel(target(server), options=OPTIONS)
        else:
            channel = grpc.secure_channel(target(server), credentials(server.tls), options=OPTIONS)
        return cls(
            server=server, channel=channel, options=options, clock=clock or SystemClock(), sleep=sleep, chance=chance
        )

    def having(self, options: CallOptions) -> "Blocking":
        """Return a driver with other options, over the same channel."""
        return replace(self, options=options)

    def call(self, call: Call[_T]) -> _T:
        """Make a call.

        Raises:
            CallError: it failed, and is not worth another attempt.
        """
        patience = Patience(
            self.options, self.clock, self.chance, attempt_seconds=call.attempt_seconds, repeats=call.repeats
        )
        while True:
            try:
                return call.read(self._send(call, patience.timeout_seconds()))
            except grpc.RpcError as error:
                failure = failure_of(error, self.server.address)
            except UnreadableError as error:
                raise unreadable(self.server.address) from error
            self.sleep(patience.wait_seconds(failure))

    def stream(self, cursor: Cursor[_T]) -> Generator[_T, None, None]:
        """Yield what a stream has, each once and none left out, however often it breaks.

        Raises:
            CallError: it failed, and is not worth another attempt.
        """
        patience = Patience(
            self.options, self.clock, self.chance, attempt_seconds=None, repeats=True, resumes=cursor.resumes
        )
        while True:
            try:
                yield from self._read(cursor, patience)
                if self._ended(cursor):
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
            self.sleep(patience.wait_seconds(failure))

    def pages(self, turning: Turning[_T]) -> Generator[_T, None, None]:
        """Yield what a list has, page after page.

        Raises:
            CallError: a call failed, and is not worth another attempt.
        """
        token = ""
        for _ in range(PAGES_MAX):
            page = self.call(turning(token))
            yield from page.items
            token = page.next_page_token
            if not token:
                return

    def close(self) -> None:
        """Close the channel; calls under way are cancelled."""
        self.channel.close()

    def _ended(self, cursor: Cursor[Any]) -> bool:
        ended = cursor.ended()
        once = self.having(replace(self.options, retry=NO_RETRY))  # the stream's own attempts are enough
        return ended if isinstance(ended, bool) else once.call(ended)

    def _read(self, cursor: Cursor[_T], patience: Patience) -> Generator[_T, None, None]:
        seconds = patience.timeout_seconds()
        sent = metadata(self.server.bearer(), self.options)
        ask: grpc.UnaryStreamMultiCallable[bytes, bytes] = self.channel.unary_stream(cursor.method)
        answers = ask(cursor.request(), timeout=seconds, metadata=sent)
        try:
            for raw in answers:
                found = cursor.take(raw)
                patience.answered()
                yield from found
        except grpc.RpcError:
            if is_opened(answers.initial_metadata()):
                patience.opened()
            raise
        finally:
            answers.cancel()

    def _send(self, call: Call[Any], seconds: float | None) -> bytes:
        sent = metadata(self.server.bearer(), self.options)
        if call.parts is not None:
            upload: grpc.StreamUnaryMultiCallable[bytes, bytes] = self.channel.stream_unary(call.method)
            return upload(call.parts(), timeout=seconds, metadata=sent)
        ask: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary(call.method)
        return ask(call.request, timeout=seconds, metadata=sent)

"""A gRPC server that answers as it is told, call after call: with messages, with failures, or with both."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from gateway.v1 import error_pb2


@dataclass(frozen=True)
class Fails:
    """Ends a call with a status, and with details where there are some."""

    status: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE
    code: str = ""
    message: str = "away"
    retry_after: float | None = None
    more: dict[str, Any] = field(default_factory=dict)  # of ErrorDetail

    def metadata(self) -> tuple[tuple[str, bytes], ...]:
        """Return the trailing metadata."""
        details: list[Message] = []
        if self.code:
            details.append(error_pb2.ErrorDetail(code=self.code, **self.more))
        if self.retry_after is not None:
            delay = Duration()
            delay.FromNanoseconds(round(self.retry_after * 1e9))
            details.append(error_details_pb2.RetryInfo(retry_delay=delay))
        if not details:
            return ()
        boxes = []
        for each in details:
            box = any_pb2.Any()
            box.Pack(each)
            boxes.append(box)
        status = status_pb2.Status(code=self.status.value[0], message=self.message, details=boxes)
        return (("grpc-status-details-bin", status.SerializeToString()),)


Turn = Sequence[Message | Fails | bytes]


@dataclass
class Asked:
    """One call, as the server got it."""

    method: str
    messages: list[bytes]
    metadata: dict[str, str]


class Script(grpc.GenericRpcHandler):
    """Answers each call of a method with its next turn; the last turn is that of all that follow."""

    def __init__(
        self, turns: dict[str, list[Turn] | Callable[[bytes], Turn]], begins: Sequence[tuple[str, str]] = ()
    ) -> None:
        self.turns = turns
        self.begins = begins
        self.asked: list[Asked] = []
        self.lock = threading.Lock()

    def of(self, method: str) -> list[Asked]:
        """Return the calls of a method."""
        return [each for each in self.asked if each.method == method]

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Return what answers: any kind of call is one that streams both ways, as seen from a server."""
        name = handler_call_details.method.rpartition("/")[2]
        if name not in self.turns:
            return None
        return grpc.stream_stream_rpc_method_handler(lambda sent, context: self._answer(name, sent, context))

    def _answer(self, name: str, sent: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        messages = list(sent)
        metadata = {key: str(value) for key, value in context.invocation_metadata() or ()}
        with self.lock:
            self.asked.append(Asked(name, messages, metadata))
            turns = self.turns[name]
            following = turns if callable(turns) else lambda _: turns.pop(0) if len(turns) > 1 else turns[0]
            turn = following(messages[0])
        if self.begins:
            context.send_initial_metadata(self.begins)
            time.sleep(0.02)  # a status right behind them may overtake them on a loop; what lasts has them long before
        for each in turn:
            if isinstance(each, Fails):
                context.set_trailing_metadata(each.metadata())
                context.abort(each.status, each.message)
            yield each if isinstance(each, bytes) else each.SerializeToString()


@contextmanager
def scripted(
    turns: dict[str, list[Turn] | Callable[[bytes], Turn]],
    *,
    listen: str = "127.0.0.1:0",
    credentials: grpc.ServerCredentials | None = None,
    begins: Sequence[tuple[str, str]] = (),
) -> Iterator[tuple[str, Script]]:
    """Serve a script, each call of which `begins` with this metadata; yield the address and the script."""
    script = Script(turns, begins)
    server = grpc.server(ThreadPoolExecutor(4), handlers=[script], options=(("grpc.so_reuseport", 0),))
    port = server.add_secure_port(listen, credentials) if credentials else server.add_insecure_port(listen)
    server.start()
    try:
        yield (listen if listen.startswith("unix:") else f"127.0.0.1:{port}"), script
    finally:
        server.stop(0).wait()

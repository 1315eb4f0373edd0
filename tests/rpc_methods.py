"""Every method that a gateway serves, by the descriptors, and a call of any of them with raw bytes."""

import asyncio
import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

import gateway.v1
from gateway.rpc.details import DETAILS_KEY, DOMAIN
from gateway.v1 import error_pb2

SECONDS_MAX = 20.0  # of one call: far more than any needs
MESSAGES_MAX = 64  # of one answer; a stream that would go on is ended there
OURS = "gateway.v1."
_UNSENT = "Internal error from Core"  # the client's own word where the server has ended a call before it was all sent
ENDLESS = {"grpc.health.v1.Health/Watch"}  # whose first message is all that is waited for


def _methods() -> Iterator[MethodDescriptor]:
    names = [each.name for each in pkgutil.iter_modules(gateway.v1.__path__) if each.name.endswith("_pb2")]
    files = [importlib.import_module(f"gateway.v1.{name}").DESCRIPTOR for name in sorted(names)]
    for file in (*files, health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR):
        for service in file.services_by_name.values():
            yield from service.methods


METHODS: dict[str, MethodDescriptor] = {
    f"{method.containing_service.full_name}/{method.name}": method for method in _methods()
}


def message_of(descriptor: Descriptor) -> Any:
    """Return an empty message."""
    return GetMessageClass(descriptor)()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """All that a call lets its caller see."""

    code: grpc.StatusCode
    message: str = ""
    details: bytes = b""
    responses: tuple[bytes, ...] = field(default=())

    @property
    def told(self) -> tuple[Message, ...]:
        """The details of a refusal, each as the message that it is."""
        found = []
        for box in status_pb2.Status.FromString(self.details).details:
            for kind in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_pb2.ErrorDetail):
                message = kind()
                if box.Unpack(message):
                    found.append(message)
        return tuple(found)

    @property
    def reason(self) -> str:
        """The stable reason of a refusal of ours; empty where it has none."""
        infos = [each for each in self.told if isinstance(each, error_details_pb2.ErrorInfo)]
        return next((info.reason for info in infos if info.domain == DOMAIN), "")


async def ask(
    channel: grpc.aio.Channel, path: str, requests: Iterable[Message | bytes], metadata: Any = None
) -> Answer:
    """Call a method, of whatever arity: on the wire they are all the same."""
    raw = [each if isinstance(each, bytes) else each.SerializeToString() for each in requests]
    while (answer := await _once(channel, path, raw, metadata)).message == _UNSENT:
        pass
    return answer


async def _once(channel: grpc.aio.Channel, path: str, raw: list[bytes], metadata: Any) -> Answer:
    call: Any = channel.stream_stream(f"/{path}")(iter(raw), metadata=metadata)
    responses: list[bytes] = []
    try:
        async with asyncio.timeout(SECONDS_MAX):
            async for response in call:
                responses.append(response)
                if len(responses) >= (1 if path in ENDLESS else MESSAGES_MAX):
                    break
    except grpc.aio.AioRpcError as error:
        details = next((v for k, v in error.trailing_metadata() or () if k == DETAILS_KEY), b"")
        return Answer(code=error.code(), message=error.details() or "", details=details, responses=tuple(responses))
    finally:
        call.cancel()
    return Answer(code=grpc.StatusCode.OK, responses=tuple(responses))

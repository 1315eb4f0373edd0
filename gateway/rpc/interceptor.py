"""The outermost interceptor: who calls, whether they may, and that no exception's text reaches them.

grpc.aio sends `str(exception)` of a handler to the client; here every handler is wrapped, so that what leaves is one
of our own statuses or none. Order: (1) authenticate, (2) decide the call, (3) the service.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextvars import ContextVar
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import unquote

import grpc
import grpc.aio

from engine.errors import EngineError
from gateway.errors import UnauthenticatedError
from gateway.identity import ANONYMOUS, Principal, TokenTable
from gateway.rpc.errors import DETAILS_KEY, internal, rich_status, status_of
from gateway.rpc.ports import MissionDesk, RpcGate
from gateway.rpc.types import Context, Handler

CALLER: Final[ContextVar[Principal]] = ContextVar("CALLER")  # set for the time of one call
_HEALTH: Final = "grpc.health.v1.Health"


class GatewayInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every handler of the server, health and reflection included."""

    def __init__(self, *, tokens: TokenTable, anonymous: bool, gate: RpcGate, desk: MissionDesk) -> None:
        self._tokens = tokens
        self._anonymous = anonymous
        self._gate = gate
        self._desk = desk

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Return the handler of a call, wrapped; a method that does not exist stays UNIMPLEMENTED."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return handler
        path = handler_call_details.method
        codec = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(self._unary(path, handler.unary_unary), **codec)
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(self._stream(path, handler.unary_stream), **codec)
        if handler.stream_stream:  # reflection
            return grpc.stream_stream_rpc_method_handler(self._stream(path, handler.stream_stream), **codec)
        raise RuntimeError(f"{path}: no RPC of this gateway streams requests only")

    def _unary(self, path: str, inner: Callable[[Any, Any], Any]) -> Callable[[Any, Context], Any]:
        async def call(request: Any, context: Context) -> Any:
            try:
                await self._admit(path, request, context)
                return await inner(request, context)
            except asyncio.CancelledError:
                raise
            except grpc.aio.AbortError:
                raise
            except Exception as error:  # noqa: BLE001 - the one place that keeps every text from clients
                await _abort(context, error, path)

        return call

    def _stream(self, path: str, inner: Callable[[Any, Any], Any]) -> Callable[[Any, Context], AsyncIterator[Any]]:
        async def call(request: Any, context: Context) -> AsyncIterator[Any]:
            try:
                await self._admit(path, request, context)
                async for response in inner(request, context):
                    yield response
            except asyncio.CancelledError:
                raise
            except grpc.aio.AbortError:
                raise
            except Exception as error:  # noqa: BLE001 - as above
                await _abort(context, error, path)

        return call

    async def _admit(self, path: str, request: Any, context: Context) -> None:
        service, _, method = path.lstrip("/").partition("/")
        principal = self._authenticate(service, context)  # (1) who
        resource = await self._resource(principal, request)
        await self._gate.authorize(principal, service, method, resource)  # (2) may they
        CALLER.set(principal)

    def _authenticate(self, service: str, context: Context) -> Principal:
        """Return the caller. Only health may be asked for by a stranger from elsewhere, if policy agrees."""
        values = [value for key, value in context.invocation_metadata() or () if key == "authorization"]
        if not values:
            if service == _HEALTH or (self._anonymous and is_loopback(context.peer())):
                return ANONYMOUS
            raise UnauthenticatedError("send a bearer token in the metadata key `authorization`")
        scheme, _, token = str(values[0]).partition(" ")
        if len(values) != 1 or scheme.lower() != "bearer":
            raise UnauthenticatedError("send one `authorization: Bearer TOKEN`")
        return self._tokens.authenticate(token.strip())

    async def _resource(self, principal: Principal, request: Any) -> Mapping[str, str]:
        """Return what the call is about. A foreign mission looks like a missing one, to policy too."""
        mission_id = getattr(request, "mission_id", "")
        if not isinstance(mission_id, str) or not mission_id:
            return {}
        owner = await self._desk.owner(mission_id)
        if owner is None or owner["tenant"] != principal.tenant:
            return {"mission_id": mission_id}
        return {"mission_id": mission_id, **owner}


def is_loopback(peer: str) -> bool:
    """Return whether a gRPC peer (`ipv4:127.0.0.1:1234`, `ipv6:%5B::1%5D:1234`) is this machine's loopback."""
    family, _, rest = unquote(peer).partition(":")
    host = rest.rpartition(":")[0].strip("[]")
    if family not in {"ipv4", "ipv6"}:
        return False
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


async def _abort(context: Context, error: Exception, path: str) -> None:
    shown = error if isinstance(error, EngineError) else internal(error, path)
    status = rich_status(shown)
    await context.abort(status_of(shown), status.message, ((DETAILS_KEY, status.SerializeToString()),))

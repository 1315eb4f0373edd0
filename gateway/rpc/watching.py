"""The interceptor outside of all others, where a gateway is watched: how long a call took, and how it ended.

It is ours and light: OpenTelemetry's own one doubles the cost of a call (docs/adr/0037). A gateway that nobody watches
has none.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
import grpc.aio

from gateway.rpc.types import Context, Handler
from gateway.watch import Watch

_CODES: Final = {code.value[0]: code.name for code in grpc.StatusCode}
_CANCELLED: Final = grpc.StatusCode.CANCELLED.name
_UNKNOWN: Final = grpc.StatusCode.UNKNOWN.name


class WatchingInterceptor(grpc.aio.ServerInterceptor):
    """Wraps the handler of every method that there is; others never get to a handler."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Return the handler of a call, wrapped."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        streams = bool(handler.response_streaming)  # to gRPC all of ours take a stream (gateway.rpc.interceptor)
        inner: Any = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
        behavior = self._watched(handler_call_details.method.lstrip("/"), inner, streams=streams)
        make = _MAKERS[handler.request_streaming, handler.response_streaming]
        return make(behavior, handler.request_deserializer, handler.response_serializer)

    def _watched(self, method: str, inner: Any, *, streams: bool) -> Callable[[Any, Context], Awaitable[Any]]:
        async def call(request: Any, context: Context) -> Any:
            with self._watch.call(method, tuple(context.invocation_metadata() or ()), streams=streams) as watched:
                watched.code = _CANCELLED  # unless it ends otherwise
                try:
                    answer = await inner(request, context)
                except Exception:
                    watched.code = _code(context, _UNKNOWN)
                    raise
                watched.code = _code(context, "OK")
                return answer

        return call


_MAKERS: Final[dict[tuple[bool, bool], Callable[..., Handler]]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


def _code(context: Context, otherwise: str) -> str:
    """Return the name of the status that was set; an ended call whose status nobody set is OK, or unknown."""
    code: Any = context.code()
    if isinstance(code, grpc.StatusCode):
        return code.name if code is not grpc.StatusCode.OK or otherwise == "OK" else otherwise
    return _CODES.get(code, otherwise) if code else otherwise

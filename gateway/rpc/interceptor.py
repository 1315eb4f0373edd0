"""The outermost interceptor: who calls, whether they may, and that no exception's text reaches them.

grpc.aio sends `str(exception)` of a handler to the client; here every handler is wrapped, so that what leaves is one
of our own statuses or none. Requests arrive as bytes and are parsed here, after (1): a stranger reaches no parser, and
a parser's text no client. Order: (1) authenticate, then the limits, (2) parse, (3) decide the call, (4) the service. A
stream may outlive the bundle that allowed it: under another one it is decided again, before anything more is sent or
anything is done with what an upload has brought; and so it is looked at from time to time who is at its other end.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any, Final, NoReturn

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from engine.errors import FaultError
from engine.values import JsonObject, JsonValue
from gateway.commitments import Evidence
from gateway.errors import HOST_RULE, PolicyDeniedError, UnauthenticatedError
from gateway.identity import Principal
from gateway.limits.calls import CallLimits, Entered
from gateway.limits.transport import Transport
from gateway.rpc.audit_access import AuditAccess
from gateway.rpc.authenticating import HEALTH_SERVICE, Callers
from gateway.rpc.bad_request import bad_request, out_of_range
from gateway.rpc.call_kinds import kind_of
from gateway.rpc.details import DETAILS_KEY, rich_status
from gateway.rpc.errors import shown, status_of
from gateway.rpc.opened import STREAM_OPENED
from gateway.rpc.ports import MissionDesk, Pseudonyms, RpcGate
from gateway.rpc.sending import Slow, receive, receive_each, send
from gateway.rpc.types import Context, Handler

CALLER: Final[ContextVar[Principal]] = ContextVar("CALLER")  # set for the time of one call
APPROVED_BY: Final[ContextVar[tuple[str, ...] | None]] = ContextVar("APPROVED_BY", default=None)
"""Likewise: who has approved something else of the mission, as policy was told; None where it was told nothing."""
MISSION_ID_CHARS_MAX: Final = 128
AUDIT_SERVICE: Final = "gateway.v1.AuditService"
_PRIVACY_SERVICE: Final = "gateway.v1.PrivacyService"
_UNDECIDED: Final = frozenset({"policy.crashed", "policy.timeout", "policy.unavailable", "policy.unrecorded"})


class GatewayInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every handler of the server, health and reflection included."""

    def __init__(
        self,
        *,
        callers: Callers,
        subjects: Pseudonyms,
        gate: RpcGate,
        desk: MissionDesk,
        audit: AuditAccess,
        limits: CallLimits,
        transport: Transport,
    ) -> None:
        self._callers = callers
        self._subjects = subjects
        self._audit = audit
        self._gate = gate
        self._desk = desk
        self._limits = limits
        self._transport = transport

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Return the handler of a call, wrapped; a method that does not exist stays UNIMPLEMENTED."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        path, serialize = handler_call_details.method, handler.response_serializer
        # To gRPC every method takes a stream: it would else read a request before anybody is asked whose it is.
        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(self._stream(path, handler), response_serializer=serialize)
        return grpc.stream_unary_rpc_method_handler(self._unary(path, handler), response_serializer=serialize)

    def _unary(self, path: str, handler: Handler) -> Callable[[Any, Context], Awaitable[Any]]:
        inner: Any = handler.unary_unary or handler.stream_unary

        async def call(raws: Any, context: Context) -> Any:
            try:
                request, _ = await self._admit(path, handler, raws, context)
                return await inner(request, context)  # (4)
            except grpc.aio.AbortError:
                raise
            except Exception as error:  # noqa: BLE001 - the one place that keeps every text from clients
                self._count(path, error)
                await _abort(context, error, path)

        return call

    def _stream(self, path: str, handler: Handler) -> Callable[[Any, Context], Awaitable[None]]:
        inner: Any = handler.unary_stream or handler.stream_stream

        async def call(raws: Any, context: Context) -> None:
            try:
                request, again = await self._admit(path, handler, raws, context)
                await self._respond(inner, request, context, again)  # (4)
            except grpc.aio.AbortError:
                raise
            except Exception as error:  # noqa: BLE001 - as above
                self._count(path, error)
                await _abort(context, error, path)

        return call

    async def _admit(
        self, path: str, handler: Handler, raws: Any, context: Context
    ) -> tuple[Any, Callable[[], Awaitable[None]]]:
        """Return the request of a caller who may make it, and what looks again whether they still may.

        What the call holds is given back when its status has gone out: what nobody reads is its caller's till then.
        """
        bundle = self._gate.bundle  # before (3): one that comes in between decides the first message, too
        service, _, method = path.lstrip("/").partition("/")
        caller = await self._caller(service, context)  # (1)
        kind, stream = kind_of(service, method), bool(handler.response_streaming)
        held = self._limits.enter(caller, context.peer(), kind, stream=stream)
        _at_the_end(context, held.leave)
        principal = await self._subjects.known(caller)

        async def again() -> None:
            nonlocal bundle
            await self._callers.renew(context)
            while bundle != self._gate.bundle:
                bundle = self._gate.bundle
                await self._decide(principal, service, method, request)

        def slow() -> Entered:
            return self._limits.slow(caller, context.peer(), self._transport.requests_slow_max)

        request = await self._request(handler, raws, context, slow, again)  # (2)
        await self._decide(principal, service, method, request)  # (3)
        held.begun()
        CALLER.set(principal)
        return request, again

    async def _caller(self, service: str, context: Context) -> Principal:
        """Return who calls; nobody whom the gateway knows is counted by address, so that trying has a limit too."""
        try:
            return await self._callers.caller(service, context)
        except UnauthenticatedError:
            self._limits.stranger(context.peer())
            raise

    async def _request(
        self,
        handler: Handler,
        raws: AsyncIterator[bytes],
        context: Context,
        slow: Slow,
        again: Callable[[], Awaitable[None]],
    ) -> Any:
        """Return the message of a call, or those of a stream: how long that takes is up to its caller."""
        seconds_max = self._transport.read_seconds_max
        if not handler.request_streaming:
            return _parsed(handler, await receive(context, seconds_max, slow))
        messages = _each(handler, receive_each(raws, seconds_max, slow))
        return messages if handler.response_streaming else _still(again, messages)

    def _count(self, path: str, error: Exception) -> None:
        """Let the gate count that a call which it has allowed has failed; of others it knows."""
        principal = CALLER.get(None)
        if principal is not None:
            service, _, method = path.lstrip("/").partition("/")
            self._gate.failed(principal, service, method, error)

    async def _decide(self, principal: Principal, service: str, method: str, request: Any) -> None:
        """Return if the call is allowed as things stand."""
        resource = await self._resource(principal, request)
        reading: Evidence = {}
        if service == AUDIT_SERVICE:
            if self._audit.asks_who(principal, request):  # a question to PrivacyService, in other words
                await self._gate.authorize(principal, _PRIVACY_SERVICE, "LookupSubject", {})
            resource, reading = await self._audit.about(principal, request, resource)
        try:
            await self._gate.authorize(principal, service, method, resource, reading)
        except (FaultError, PolicyDeniedError) as error:
            # That nothing can be decided is what health is asked about: it answers, and says so.
            if service != HEALTH_SERVICE or not _is_undecided(error):
                raise

    async def _respond(self, inner: Any, request: Any, context: Context, again: Callable[[], Awaitable[None]]) -> None:
        """Send what a streaming method yields; end it at once, not some day, when the client has gone."""
        await context.send_initial_metadata(STREAM_OPENED)
        async with aclosing(inner(request, context)) as responses:
            async for response in responses:
                await again()
                await send(context.write, response, self._transport.write_seconds_max)

    async def _resource(self, principal: Principal, request: Any) -> JsonObject:
        """Return what the call is about. A foreign mission looks like a missing one, to policy too."""
        mission_id = getattr(request, "mission_id", "")
        if not isinstance(mission_id, str) or not mission_id:
            return {}
        if len(mission_id) > MISSION_ID_CHARS_MAX or not mission_id.isprintable():
            raise out_of_range("mission_id", f"must be at most {MISSION_ID_CHARS_MAX} printable characters")
        owner = await self._desk.owner(mission_id)
        if owner is None or owner["tenant"] != principal.tenant:
            return {"mission_id": mission_id}
        about: dict[str, JsonValue] = {"mission_id": mission_id, **owner}
        approval_id = getattr(request, "approval_id", "")
        if isinstance(approval_id, str) and approval_id:
            others = await self._desk.approved_by(mission_id, approval_id)
            APPROVED_BY.set(others)
            about |= {} if others is None else {"approved_by": list(others)}
        return about


def _is_undecided(error: FaultError | PolicyDeniedError) -> bool:
    """Return whether no rule has said anything, because none could be asked."""
    if isinstance(error, FaultError):
        return True
    codes = {reason.code for reason in error.reasons if reason.rule == HOST_RULE}
    return len(error.reasons) == len(codes) == 1 and codes <= _UNDECIDED


def _parsed(handler: Handler, raw: bytes) -> Any:
    """Return the message in `raw`, in words of our own where there is none."""
    if handler.request_deserializer is None:
        return raw
    try:
        message = handler.request_deserializer(raw)
    except DecodeError as error:
        raise bad_request("request.malformed", "", "the request is not the message that this method takes") from error
    message.DiscardUnknownFields()  # nobody looks at them, and a stream would keep 8 MiB of them till its end
    return message


async def _each(handler: Handler, raws: AsyncIterator[bytes]) -> AsyncIterator[Any]:
    """Yield the messages of a stream of requests."""
    async for raw in raws:
        yield _parsed(handler, raw)


async def _still(again: Callable[[], Awaitable[None]], messages: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """Yield what an upload brings, and end it, while its caller may make the call: nothing is done of it before."""
    async for message in messages:
        await again()
        yield message
    await again()


def _at_the_end(context: Context, act: Callable[[], None]) -> None:
    """Let something be done once a call is over: its status has gone out, or nobody is there to take it."""
    callback: Any = lambda _: act()  # noqa: E731 - the stubs want a class here that is in the stubs only
    context.add_done_callback(callback)


async def _abort(context: Context, error: Exception, path: str) -> NoReturn:
    """End the call with the status of `error`, as far as the client may see it."""
    visible = shown(error, path)
    status = rich_status(visible)
    await context.abort(status_of(visible), status.message, ((DETAILS_KEY, status.SerializeToString()),))

"""Streamed events a second: a mission's watch, and the audit log, beside a bare grpc.aio stream of the same messages.

A mission of 500 pure steps has run; its events are then watched from the first, again and again, through a real
gateway: each watch is authenticated, decided and read from the store. The peer sends the very same messages, made
before, from a server that does nothing else. All stand in one process; the client's share is in both alike.

Run it: `python -m benchmarks.bench_streams`
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio
import orjson

from benchmarks.command import main
from benchmarks.table import Row, timed_row
from benchmarks.timing import FULL, Effort, Work, costs_in_turn
from gateway.assembly import running_gateway
from gateway.config import load_config
from gateway.home import make_home
from gateway.v1 import audit_pb2, audit_pb2_grpc, mission_pb2, mission_pb2_grpc

TITLE: Final = "streams: events a second"
STEPS = 500
WATCHES = 4  # at once
MISSION = orjson.dumps(
    {
        "version": "1.0",
        "name": "bench",
        "config": {"parallel_limit": 64},
        "steps": [{"id": f"s{n}", "name": f"s{n}", "step_type": "transform", "parameters": {}} for n in range(STEPS)],
    }
)


async def peer(stack: AsyncExitStack, messages: Sequence[mission_pb2.WatchMissionResponse]) -> str:
    """Start a server that answers a watch with these messages, and return where it listens."""

    async def watch(_request: bytes, _context: Any) -> AsyncIterator[mission_pb2.WatchMissionResponse]:
        for message in messages:
            yield message

    serialize = mission_pb2.WatchMissionResponse.SerializeToString
    handler: grpc.RpcMethodHandler[Any, Any] = grpc.unary_stream_rpc_method_handler(
        watch, response_serializer=serialize
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("gateway.v1.MissionService", {"WatchMission": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    stack.push_async_callback(server.stop, None)
    return f"127.0.0.1:{port}"


async def drained(stream: AsyncIterator[Any]) -> list[Any]:
    """Return everything that a stream sends."""
    return [message async for message in stream]


async def rows(effort: Effort = FULL) -> AsyncIterator[Row]:
    """Measure every figure."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        made = make_home(Path(folder) / "home", listen="127.0.0.1:0")
        running = await stack.enter_async_context(running_gateway(made.home, load_config(made.home)))
        metadata = (("authorization", f"Bearer {made.token}"),)
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(running.address))
        missions: Any = mission_pb2_grpc.MissionServiceStub(channel)
        log: Any = audit_pb2_grpc.AuditServiceStub(channel)
        submitted = await missions.SubmitMission(
            mission_pb2.SubmitMissionRequest(request_id="bench", document=MISSION), metadata=metadata
        )
        watch = mission_pb2.WatchMissionRequest(mission_id=submitted.mission_id)
        messages = await drained(missions.WatchMission(watch, metadata=metadata))
        read = audit_pb2.ReadEventsRequest()
        events = sum(len(each.lines) for each in await drained(log.ReadEvents(read, metadata=metadata)))
        bare_channel = await stack.enter_async_context(grpc.aio.insecure_channel(await peer(stack, messages)))
        bare_missions: Any = mission_pb2_grpc.MissionServiceStub(bare_channel)

        async def watched(stub: Any) -> None:
            streams = [drained(stub.WatchMission(watch, metadata=metadata)) for _ in range(WATCHES)]
            for seen in await asyncio.gather(*streams):
                assert len(seen) == len(messages)

        async def logged() -> None:
            await drained(log.ReadEvents(read, metadata=metadata))

        count = WATCHES * len(messages)
        ours, bare, lines = await costs_in_turn(
            effort,
            Work(lambda: watched(missions), count),
            Work(lambda: watched(bare_missions), count),
            Work(logged, events),
        )
    what = "a bare grpc.aio stream"
    yield timed_row(
        f"a mission's events, {WATCHES} watches at once", "events/s", ours.wall, against=what, peer=bare.wall
    )
    yield timed_row("a mission's events: CPU of both ends", "µs/event", ours.cpu, against=what, peer=bare.cpu)
    yield timed_row("the audit log, many lines a message", "events/s", lines.wall, against=what, peer=bare.wall)


if __name__ == "__main__":
    raise SystemExit(main(only="streams"))

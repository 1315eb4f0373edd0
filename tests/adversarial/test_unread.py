"""Callers who ask and never read the answer: what it holds is theirs, and neither others nor health wait for them."""

import asyncio
from typing import Any

from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.limits_config import LimitsConfig
from gateway.v1 import mission_pb2
from tests.adversarial.h2_frames import HEADERS, Connection, asked
from tests.fakes import FakeDesk, view
from tests.rpc_server import Served, serving

WATCH = "/grpc.health.v1.Health/Watch"
GET = "/gateway.v1.MissionService/GetMission"
ANN = {"authorization": "Bearer ann-token"}
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def watched(served: Served) -> tuple[Any, int]:
    """Return a balancer's watch, and what it has said first."""
    stub: Any = health_pb2_grpc.HealthStub(served.channel)
    call = stub.Watch(health_pb2.HealthCheckRequest())
    return call, (await call.read()).status


async def test_a_stranger_who_watches_health_and_reads_nothing_keeps_it_from_nobody() -> None:
    """A balancer is answered beside it and hears of what changes, and the gateway gets to its stop."""
    async with serving() as served, asyncio.timeout(10):
        stranger = await Connection.open(served.server.address, reads=False)
        stranger.writer.write(asked(1, WATCH, {}, b""))
        assert await stranger.until(HEADERS) is not None  # it is let in, and its answer waits
        balancer, first = await watched(served)
        assert first == SERVING
        await served.server.not_serving()
        assert (await balancer.read()).status == NOT_SERVING
        balancer.cancel()
        await stranger.close()


async def test_a_watch_of_health_that_is_never_read_ends() -> None:
    """It holds a place of strangers no longer than a stream of missions holds one of its principal."""
    settings = LimitsConfig.model_validate({"connections": {"write_seconds_max": 0.05}})
    async with serving(settings=settings) as served, asyncio.timeout(10):
        stranger = await Connection.open(served.server.address, reads=False)
        stranger.writer.write(asked(1, WATCH, {}, b""))
        assert await stranger.until(HEADERS) is not None
        await stranger.close()
        while served.held.calls.open.total:  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.01)
        assert served.held.calls.open.total == 0


async def test_what_nobody_reads_is_its_callers_until_it_is_gone() -> None:
    """Calls whose answers are not taken fill their principal's places, and not the server's, which are everybody's."""
    settings = LimitsConfig.model_validate({"principal": {"calls_open_max": 3}})
    async with serving(FakeDesk(missions={"m-1": view()}), settings=settings) as served, asyncio.timeout(10):
        connection = await Connection.open(served.server.address, reads=False)
        message = mission_pb2.GetMissionRequest(mission_id="m-1").SerializeToString()
        for number in range(8):
            connection.writer.write(asked(2 * number + 1, GET, ANN, message))
        while served.held.calls.refused["principal.calls_open_max"] < 5:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
        assert served.held.calls.open.held(False) == 3
        await connection.close()
        while served.held.calls.open.total:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
        assert served.held.calls.refused["principal.calls_open_max"] == 5

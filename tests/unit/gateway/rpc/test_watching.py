"""The outermost interceptor: every call is counted once, under the status that its client saw."""

import grpc
import grpc.aio
import pytest

from gateway.rpc.watching import WatchingInterceptor
from gateway.telemetry.meters import Meters
from gateway.telemetry.spans import Tracer
from gateway.telemetry.watching import Watching
from gateway.v1 import mission_pb2, mission_pb2_grpc
from tests.fakes import FakeDesk, ended
from tests.rpc_server import AS_ANN, Served, serving
from tests.telemetry import Counting, HandClock

SERVICE = "gateway.v1.MissionService"
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def watching() -> tuple[Watching, Meters, Tracer]:
    clock, meters = HandClock(), Meters()
    tracer = Tracer(clock, Counting(), ratio=0.0)
    return Watching(meters, clock, tracer), meters, tracer


def counted(meters: Meters) -> dict[tuple[str, ...], int]:
    return {labels: sum(buckets) for labels, buckets, _ in meters.calls.series()}


async def status(served: Served, metadata: tuple[tuple[str, str], ...], mission_id: str = "m-1") -> str:
    request = mission_pb2.GetMissionRequest(mission_id=mission_id)
    try:
        await served.missions.GetMission(request, metadata=metadata)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


async def test_each_status_is_counted_as_the_client_saw_it() -> None:
    """Refusals before the service, faults in it, and what goes well; a method that is not there is no series."""
    watch, meters, tracer = watching()
    desk = FakeDesk()
    async with serving(desk, watch=watch) as served:
        seen = [await status(served, ()), await status(served, AS_ANN, "no-such")]
        desk.missions["m-1"] = ended("m-1")
        seen.append(await status(served, (*AS_ANN, ("traceparent", CALLER))))
        with pytest.raises(grpc.aio.AioRpcError):
            await served.channel.unary_unary("/gateway.v1.Nothing/There")(b"", metadata=AS_ANN)
    assert seen[:2] == ["UNAUTHENTICATED", "NOT_FOUND"]
    expected = {(f"{SERVICE}/GetMission", "unary", code): seen.count(code) for code in set(seen)}
    assert counted(meters) == expected
    [span] = tracer.take(9)
    assert (span.name, span.position.trace_id.hex()) == (f"{SERVICE}/GetMission", CALLER[3:35])
    assert meters.calls_under_way == 0


async def test_a_stream_is_counted_when_it_ends() -> None:
    """Under its status, as a stream."""
    watch, meters, _ = watching()
    async with serving(FakeDesk(), watch=watch) as served:
        stub = mission_pb2_grpc.MissionServiceStub(served.channel)
        call = stub.WatchMission(mission_pb2.WatchMissionRequest(mission_id="no-such"), metadata=AS_ANN)
        with pytest.raises(grpc.aio.AioRpcError):
            await call.read()
    assert counted(meters) == {(f"{SERVICE}/WatchMission", "stream", "NOT_FOUND"): 1}


async def test_nobody_watches_and_nothing_is_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway without telemetry has no second interceptor."""
    monkeypatch.setattr(WatchingInterceptor, "__init__", None)  # whoever makes one fails
    async with serving(FakeDesk()) as served:
        assert await status(served, AS_ANN, "no-such") == "NOT_FOUND"

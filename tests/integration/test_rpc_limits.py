"""The limits as clients meet them: a real server and real channels, in front of a fake desk."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.limits_config import LimitsConfig
from gateway.v1 import mission_pb2
from tests.fakes import FakeDesk, event, view
from tests.rpc_calls import answers, refused, until
from tests.rpc_server import AS_ANN, AS_BOB, Served, details, serving

GET = mission_pb2.GetMissionRequest(mission_id="m-1")
WATCH = mission_pb2.WatchMissionRequest(mission_id="m-1")
SUBMIT = mission_pb2.SubmitMissionRequest(request_id="r", document=b"{}")
CANCEL = mission_pb2.CancelMissionRequest(mission_id="m-1")
WRONG = (("authorization", "Bearer wrong"),)


def limits(**tables: Any) -> LimitsConfig:
    return LimitsConfig.model_validate(tables)


def desk(**fields: Any) -> FakeDesk:
    return FakeDesk(missions={"m-1": view(), "m-2": view("m-2", tenant="other")}, **fields)


def retry_delay(error: grpc.aio.AioRpcError) -> Duration | None:
    """Return what RetryInfo says, if it is there."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for box in status_pb2.Status.FromString(value).details:
                info = error_details_pb2.RetryInfo()
                if box.Unpack(info):
                    return info.retry_delay
    return None


async def healthy(served: Served) -> bool:
    stub = health_pb2_grpc.HealthStub(served.channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=5)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def test_a_refusal_names_the_limit_its_value_and_when_to_try_again() -> None:
    """In words, in ErrorInfo, and in RetryInfo, which clients' libraries read; it reaches no desk, gate or parser."""
    async with serving(desk(), settings=limits(principal={"reads_per_second": 0.5, "reads_burst": 1})) as served:
        await served.missions.GetMission(GET, metadata=AS_ANN)
        asked = len(served.gate.asked)
        error = await refused(served.missions.GetMission(GET, metadata=AS_ANN))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        info, _, detail = details(error)
        assert (info.reason, detail.code) == ("LIMITS_RATE", "limits.rate")
        assert dict(info.metadata) == {"limit": "principal.reads_per_second", "value": "0.5"}
        assert "principal.reads_per_second is 0.5" in (error.details() or "")
        delay = retry_delay(error)
        assert delay is not None
        assert 0 < delay.ToMilliseconds() <= 2_000
        raw = served.channel.unary_unary("/gateway.v1.MissionService/GetMission")
        assert (await refused(raw(b"\xff\xff\xff", metadata=AS_ANN))).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert len(served.gate.asked) == asked
        await served.missions.CancelMission(CANCEL, metadata=AS_ANN)
        with pytest.raises(grpc.aio.AioRpcError) as other:
            await served.missions.GetMission(GET, metadata=AS_BOB)
        assert other.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_stream_that_ends_lets_the_next_one_in() -> None:
    """However it ends: by itself, because the client hangs up, or with an error."""
    async with serving(desk(idle=True), settings=limits(principal={"streams_open_max": 1})) as served:
        first = served.missions.WatchMission(WATCH, metadata=AS_ANN)
        await until(lambda: served.desk.watchers == 1)
        error = await refused(served.missions.WatchMission(WATCH, metadata=AS_ANN))
        assert dict(details(error)[0].metadata)["limit"] == "principal.streams_open_max"
        first.cancel()
        await until(lambda: served.held.calls.open.total == 0)
        served.desk.fault = ValueError("a bug")
        assert (await refused(served.missions.WatchMission(WATCH, metadata=AS_ANN))).code() is grpc.StatusCode.INTERNAL
        await until(lambda: served.held.calls.open.total == 0)
        served.desk.fault, served.desk.idle = None, False
        assert [answer async for answer in served.missions.WatchMission(WATCH, metadata=AS_ANN)] == []
        await until(lambda: served.held.calls.open.total == 0)


async def test_strangers_are_told_to_wait_and_health_goes_on_for_who_asks_with_a_credential() -> None:
    """A wrong token is counted by address. A right one from the same address passes."""
    settings = limits(strangers={"calls_per_second": 0.1, "calls_burst": 2})
    async with serving(desk(), settings=settings) as served:
        codes = [(await refused(served.missions.GetMission(GET, metadata=WRONG))).code() for _ in range(4)]
        assert codes == [grpc.StatusCode.UNAUTHENTICATED] * 2 + [grpc.StatusCode.RESOURCE_EXHAUSTED] * 2
        await served.missions.GetMission(GET, metadata=AS_ANN)
        stub = health_pb2_grpc.HealthStub(served.channel)
        error = await refused(stub.Check(health_pb2.HealthCheckRequest()))
        assert dict(details(error)[0].metadata)["limit"] == "strangers.calls_per_second"
        assert (await stub.Check(health_pb2.HealthCheckRequest(), metadata=AS_ANN)).status == 1


async def test_under_load_new_work_gives_way_and_control_and_health_do_not() -> None:
    """Calls that hang fill the places; what stops missions, and what balancers ask, has its own. At once after."""
    block = asyncio.Event()
    settings = limits(shedding={"calls_open_max": 8, "retry_seconds": 1.0})
    async with serving(desk(block=block), settings=settings) as served:
        hanging = [served.missions.SubmitMission(SUBMIT, metadata=AS_ANN) for _ in range(6)]
        tasks = [asyncio.ensure_future(call) for call in hanging]
        await until(lambda: served.held.calls.open.total == 6)
        error = await refused(served.missions.SubmitMission(SUBMIT, metadata=AS_ANN))
        assert details(error)[2].code == "limits.overloaded"
        delay = retry_delay(error)
        assert delay is not None
        assert delay.ToMilliseconds() == 1_000
        await served.missions.GetMission(GET, metadata=AS_ANN)
        await served.missions.CancelMission(CANCEL, metadata=AS_ANN)
        assert await healthy(served)
        block.set()
        await asyncio.gather(*tasks)
        await served.missions.SubmitMission(SUBMIT, metadata=AS_ANN)


async def test_a_reader_that_does_not_read_loses_its_stream_and_may_take_it_up_again() -> None:
    """What watchers pull from is let go at once; the status says to come back, and comes behind what was sent."""
    events = [event(n, text="x" * 32_000) for n in range(400)]
    settings = limits(connections={"write_seconds_max": 0.1}, principal={"streams_open_max": 1})
    options = (("grpc.http2.lookahead_bytes", 1_024), ("grpc.http2.bdp_probe", 0))
    async with serving(desk(events=events), settings=settings, options=options) as served:
        call = served.missions.WatchMission(WATCH, metadata=AS_ANN)
        await until(lambda: served.desk.watchers == 1)
        await until(lambda: served.desk.watchers == 0)
        assert served.desk.produced < 100, "what a slow reader has not taken is not held for it"
        assert served.held.calls.open.held(True) == 1, "until it has read the status it is its own stream"
        seen: list[Any] = []
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await answers(call, seen)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert details(caught.value)[2].code == "stream.slow_reader"
        assert [answer.event.index for answer in seen] == list(range(len(seen)))
        await until(lambda: served.held.calls.open.total == 0)


async def test_a_request_that_does_not_come_is_not_waited_for() -> None:
    """Who has a credential and sends half a request holds a place of its own, for a while; strangers not even that."""
    settings = limits(connections={"read_seconds_max": 0.1})

    async def nothing() -> AsyncIterator[bytes]:
        await asyncio.sleep(30)
        yield b""

    async with serving(desk(), settings=settings) as served:
        call = served.channel.stream_unary("/gateway.v1.MissionService/GetMission")
        error = await refused(call(nothing(), metadata=AS_ANN))
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert details(error)[2].code == "request.too_slow"
        slow = served.channel.stream_unary("/gateway.v1.HookService/PublishHook")
        assert details(await refused(slow(nothing(), metadata=AS_ANN)))[2].code == "request.too_slow"
        error = await refused(call(nothing(), metadata=WRONG))
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED
        await until(lambda: served.held.calls.open.total == 0)


async def test_a_call_without_a_request_is_told_so() -> None:
    """The end of a call that carries none is no request."""

    async def ended() -> AsyncIterator[bytes]:
        for nothing in ():
            yield nothing

    async with serving(desk()) as served:
        call = served.channel.stream_unary("/gateway.v1.MissionService/GetMission")
        error = await refused(call(ended(), metadata=AS_ANN))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert details(error)[2].code == "request.missing"


@pytest.mark.parametrize(("size", "passes"), [(1_300, True), (1_700, False)])
async def test_metadata_has_a_limit_that_is_no_matter_of_chance(size: int, passes: bool) -> None:
    """Each of many calls fares the same; gRPC's own soft limit would refuse some of them."""
    settings = limits(connections={"metadata_bytes_max": 2_048})
    async with serving(desk(), settings=settings) as served:
        metadata = (*AS_ANN, ("x-more", "m" * size))
        outcomes = await asyncio.gather(
            *(served.missions.GetMission(GET, metadata=metadata) for _ in range(20)), return_exceptions=True
        )
        assert [not isinstance(outcome, Exception) for outcome in outcomes] == [passes] * 20


async def test_a_message_has_a_limit() -> None:
    """It is refused before it is whole."""
    settings = limits(connections={"message_bytes_max": 65_536})
    async with serving(desk(), settings=settings) as served:
        large = mission_pb2.SubmitMissionRequest(request_id="r", document=b"x" * 70_000)
        error = await refused(served.missions.SubmitMission(large, metadata=AS_ANN))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert served.desk.forms == []


async def test_a_submission_knows_when_its_caller_no_longer_waits() -> None:
    """The call's own deadline, in time of the loop; none, where the call has none."""
    async with serving(desk()) as served:
        began = asyncio.get_running_loop().time()
        await served.missions.SubmitMission(SUBMIT, metadata=AS_ANN, timeout=50)
        await served.missions.SubmitMission(SUBMIT, metadata=AS_ANN)
        first, second = served.desk.untils
        assert first is not None
        assert first - began == pytest.approx(50, abs=5)  # gRPC counts in wall time, which is adjusted at times
        assert second is None

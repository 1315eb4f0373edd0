"""How long calls wait on their way: a real server calls itself, and what it finds decides what is turned away."""

import asyncio
import socket
import stat
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import grpc
import grpc.aio
import pytest

from gateway.errors import ConfigurationError, WorkerError
from gateway.limits_config import LimitsConfig
from gateway.rpc.listeners import Listening
from gateway.v1 import mission_pb2
from tests.fakes import FakeDesk, view
from tests.rpc_calls import refused, until
from tests.rpc_server import AS_ANN, Served, details, serving

GET = mission_pb2.GetMissionRequest(mission_id="m-1")
SUBMIT = mission_pb2.SubmitMissionRequest(request_id="r", document=b"{}")
SOCKET = "probe-0.sock"


@asynccontextmanager
async def working(served: Served) -> AsyncIterator[None]:
    """Let what goes on beside the calls of a server go on."""
    tasks = [asyncio.create_task(each) for each in (*served.server.works(), served.held.meter.run())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


class Queue:
    """One that calls pass, and that may be held up."""

    def __init__(self) -> None:
        self.free = asyncio.Event()
        self.free.set()
        self.passed = 0

    async def turn(self) -> None:
        await self.free.wait()
        self.passed += 1


def settings(**shedding: float) -> LimitsConfig:
    return LimitsConfig.model_validate({"shedding": shedding})


async def test_what_waits_in_a_queue_bounds_new_work_until_it_has_gone() -> None:
    """The event loop is in time and few calls are under way: it is the queue behind them that is long."""
    queue, block = Queue(), asyncio.Event()
    desk = FakeDesk(missions={"m-1": view()}, block=block)
    marks = settings(wait_ms_max=50, reads_wait_ms_max=60_000, interval_ms=100)
    async with serving(desk, settings=marks, queues=(queue.turn,)) as served, working(served):
        await served.missions.GetMission(GET, metadata=AS_ANN)
        await until(lambda: queue.passed > 0)
        assert served.held.calls.level == 0
        queue.free.clear()
        await served.missions.GetMission(GET, metadata=AS_ANN)
        await until(lambda: served.held.calls.level == 1)
        assert served.server.wait_seconds() > 0.05
        under_way = [asyncio.ensure_future(served.missions.SubmitMission(SUBMIT, metadata=AS_ANN)) for _ in range(2)]
        await until(lambda: served.held.calls.open.total == 2)
        error = await refused(served.missions.SubmitMission(SUBMIT, metadata=AS_ANN))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert dict(details(error)[0].metadata)["limit"] == "shedding.wait_ms_max"
        await served.missions.GetMission(GET, metadata=AS_ANN)
        queue.free.set()
        block.set()
        await asyncio.gather(*under_way)
        await until(lambda: served.held.calls.level == 0)
        await served.missions.SubmitMission(SUBMIT, metadata=AS_ANN)


async def test_what_waits_inside_of_grpc_is_seen() -> None:
    """Each turn of the loop is long, and takes one call of a method: the others wait where nothing counts them."""
    busy = True

    async def long_turns() -> None:
        while busy:
            time.sleep(0.01)  # noqa: ASYNC251 - a loop that has much to do in each turn
            await asyncio.sleep(0)

    async with serving(FakeDesk(missions={"m-1": view()})) as served, working(served):
        turns = asyncio.create_task(long_turns())
        calls = [asyncio.ensure_future(served.missions.GetMission(GET, metadata=AS_ANN)) for _ in range(100)]
        await until(lambda: served.server.wait_seconds() > 0.3)
        waited = [served.held.calls.open.total, served.server.wait_seconds()]
        busy = False
        await asyncio.gather(turns, *calls)
        assert waited[0] < 50, "the calls wait where they are counted: this test is of those that are not"


async def test_a_queue_that_takes_nothing_any_more_holds_nobody_up() -> None:
    """A store that is closed says so to those who need it; it is no overload."""

    async def closed() -> None:
        raise WorkerError("the pool is closed", code="worker.closed")

    queue = Queue()
    async with serving(FakeDesk(missions={"m-1": view()}), queues=(closed, queue.turn)) as served, working(served):
        await served.missions.GetMission(GET, metadata=AS_ANN)
        await until(lambda: queue.passed > 0)
        assert served.server.wait_seconds() < 5.0


async def test_a_server_that_nobody_calls_does_not_call_itself() -> None:
    """Nor does it remember a wait for ever: what nobody has asked for since does not wait."""
    queue = Queue()
    async with serving(FakeDesk(missions={"m-1": view()}), queues=(queue.turn,)) as served, working(served):
        await served.missions.GetMission(GET, metadata=AS_ANN)
        await until(lambda: queue.passed == 1)
        await until(lambda: served.server.wait_seconds() == 0.0)
        await asyncio.sleep(0.3)
        assert queue.passed == 1


async def test_nobody_else_gets_its_answer(tmp_path: Path) -> None:
    """Who guesses what the metadata is called is still a caller like any other; the socket is for its owner alone."""
    queue = Queue()
    listening = Listening(address="127.0.0.1:0", home=tmp_path)
    async with serving(FakeDesk(missions={"m-1": view()}), listening=listening, queues=(queue.turn,)) as served:
        error = await refused(served.missions.GetMission(GET, metadata=(("missiongate-probe", "0" * 32),)))
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED
        assert queue.passed == 0
        assert stat.S_IMODE((tmp_path / SOCKET).stat().st_mode) == 0o600
        async with grpc.aio.insecure_channel(f"unix:{tmp_path / SOCKET}") as channel:
            method = channel.unary_unary("/gateway.v1.MissionService/GetMission")
            error = await refused(method(GET.SerializeToString()))
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert not (tmp_path / SOCKET).exists()


async def test_a_home_with_a_long_name_and_what_a_killed_gateway_has_left_are_no_hindrance(tmp_path: Path) -> None:
    """A path over the kernel's 107 bytes, and a socket at which nobody listens any more."""
    home = tmp_path / ("long" * 30)
    home.mkdir()
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / SOCKET))
    left.close()
    (tmp_path / SOCKET).rename(home / SOCKET)
    queue = Queue()
    listening = Listening(address="127.0.0.1:0", home=home)
    async with (
        serving(FakeDesk(missions={"m-1": view()}), listening=listening, queues=(queue.turn,)) as served,
        working(served),
    ):
        await served.missions.GetMission(GET, metadata=AS_ANN)
        await until(lambda: queue.passed > 0)


async def test_a_home_that_holds_no_sockets_is_a_configuration_error(tmp_path: Path) -> None:
    """A directory is in the way; the start says so, and nothing is left open."""
    (tmp_path / SOCKET).mkdir()
    with pytest.raises(ConfigurationError) as caught:
        async with serving(listening=Listening(address="127.0.0.1:0", home=tmp_path)):
            pytest.fail("it has started")
    assert caught.value.code == "config.listen"

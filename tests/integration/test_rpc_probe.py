"""How long calls wait on their way: a real server calls itself, and what it finds decides what is turned away."""

import asyncio
import logging
import socket
import stat
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import grpc
import grpc.aio
import pytest

from gateway.authn.sockets import Socket
from gateway.errors import StoreError, WorkerError
from gateway.limits.kinds import CallKind
from gateway.limits.shedding import BOUNDED
from gateway.limits_config import LimitsConfig
from gateway.rpc.listeners import Listening
from gateway.rpc.probe import SOCKET_NAME, Queues, Turn, passing
from gateway.v1 import mission_pb2, mission_pb2_grpc
from tests.fakes import FakeDesk, view
from tests.rpc_calls import refused, until
from tests.rpc_server import ANN, AS_ANN, Served, details, serving

GET = mission_pb2.GetMissionRequest(mission_id="m-1")
SUBMIT = mission_pb2.SubmitMissionRequest(request_id="r", document=b"{}")


@asynccontextmanager
async def working(served: Served) -> AsyncIterator[None]:
    """Let what goes on beside the calls of a server go on."""
    works = (*served.server.works(), *served.held.works(served.server.waits))
    tasks = [asyncio.create_task(each) for each in works]
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


def reads(*turns: Turn) -> Queues:
    return {CallKind.READ: turns}


def desk(block: asyncio.Event | None = None) -> FakeDesk:
    return FakeDesk(missions={"m-1": view()}, block=block)


def waits(served: Served) -> Sequence[float]:
    return [served.server.waits(kind).whole for kind in BOUNDED]


def sockets_below(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*.sock"))


async def look(served: Served) -> None:
    """Make a call that is a read."""
    await served.missions.GetMission(GET, metadata=AS_ANN)


async def test_what_waits_in_a_queue_bounds_new_work_until_it_has_gone() -> None:
    """The event loop is in time and few calls are under way: it is the queue behind them that is long."""
    queue, block = Queue(), asyncio.Event()
    settings = LimitsConfig.model_validate({"shedding": {"wait_ms_max": 200, "interval_ms": 100}})
    queues = {CallKind.MUTATION: (queue.turn,)}
    async with serving(desk(block), settings=settings, queues=queues) as served, working(served):
        calls = served.held.calls
        queue.free.clear()
        under_way = [asyncio.ensure_future(served.missions.SubmitMission(SUBMIT, metadata=AS_ANN)) for _ in range(2)]
        await until(lambda: calls.level == 1)
        whole, inside = served.server.waits(CallKind.MUTATION)
        assert 0.2 < inside <= whole
        error = await refused(served.missions.SubmitMission(SUBMIT, metadata=AS_ANN))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert dict(details(error)[0].metadata)["limit"] == "shedding.wait_ms_max"
        await look(served)
        queue.free.set()
        block.set()
        await asyncio.gather(*under_way)
        await until(lambda: calls.level == 0)
        await served.missions.SubmitMission(SUBMIT, metadata=AS_ANN)


async def test_what_waits_inside_of_grpc_is_seen() -> None:
    """Each turn of the loop is long, and takes one call of a method: the others wait where nothing counts them."""
    busy = True

    async def long_turns() -> None:
        while busy:
            time.sleep(0.01)  # noqa: ASYNC251 - a loop that has much to do in each turn
            await asyncio.sleep(0)

    async with serving(desk()) as served, working(served):
        turns = asyncio.create_task(long_turns())
        calls = [asyncio.ensure_future(look(served)) for _ in range(100)]
        await until(lambda: waits(served)[1] > 0.3)
        under_way = served.held.calls.open.total
        inside = served.server.waits(CallKind.READ).inside
        busy = False
        await asyncio.gather(turns, *calls)
        assert inside < 0.3
        assert under_way < 50, "the calls wait where they are counted: this test is of those that are not"


async def test_a_full_queue_is_waited_for_and_one_that_is_closed_is_not() -> None:
    """That so many wait that no more may is overload; that nothing is taken any more is for those who need it."""
    full, queue = True, Queue()

    async def overloaded() -> None:
        if full:
            raise StoreError("too many wait", code="store.overloaded")

    async def closed() -> None:
        raise WorkerError("the pool is closed", code="worker.closed")

    async with serving(desk(), queues=reads(closed, overloaded, queue.turn)) as served, working(served):
        await look(served)
        await until(lambda: waits(served)[1] > 0.3)
        assert queue.passed == 0
        full = False
        await until(lambda: queue.passed == 1)
        await until(lambda: waits(served) == [0.0, 0.0])


async def test_a_server_that_nobody_calls_does_not_call_itself() -> None:
    """Nor does it remember a wait for ever: what nobody has asked for since does not wait."""
    queue = Queue()
    async with serving(desk(), queues=reads(queue.turn)) as served, working(served):
        await look(served)
        await until(lambda: queue.passed == 1)
        await until(lambda: waits(served) == [0.0, 0.0])
        await asyncio.sleep(0.3)
        assert queue.passed == 1


async def test_where_it_fails_nothing_is_known_and_that_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """A fault of ours is no overload, also where nobody calls after it."""
    asked = 0

    async def broken() -> None:
        nonlocal asked
        asked += 1
        raise ValueError("a bug")

    async with serving(desk(), queues=reads(broken)) as served, working(served):
        for times in (1, 2):
            await look(served)
            await until(lambda times=times: asked == times)  # type: ignore[misc]
            await until(lambda: waits(served) == [0.0, 0.0])
        assert served.held.calls.level == 0
    told = [record for record in caplog.records if "cannot call itself" in record.getMessage()]
    assert [record.levelno for record in told] == [logging.WARNING]


async def test_its_connection_ages_like_any_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The gateway ends it again and again; it comes back, and that is no overload."""
    settings = LimitsConfig.model_validate({"connections": {"age_seconds_max": 0.2, "age_grace_seconds": 10.0}})
    queue = Queue()
    listening = Listening(address="127.0.0.1:0", home=tmp_path)
    async with (
        serving(desk(), settings=settings, listening=listening, queues=reads(queue.turn)) as served,
        working(served),
    ):
        for times in range(1, 16):
            await look(served)
            await until(lambda times=times: queue.passed >= times)  # type: ignore[misc]
            await asyncio.sleep(0.05)
        await until(lambda: waits(served) == [0.0, 0.0])
    assert "cannot call itself" not in caplog.text


async def test_nobody_else_gets_its_answer(tmp_path: Path) -> None:
    """Who guesses what the metadata is called is still a caller like any other, also over the socket in the home."""
    queue = Queue()
    listening = Listening(address="127.0.0.1:0", home=tmp_path)
    async with serving(desk(), listening=listening, queues=reads(queue.turn)) as served:
        [probe] = served.server._probes
        key, value = probe._mark
        assert stat.S_IMODE((tmp_path / SOCKET_NAME).stat().st_mode) == 0o600
        async with grpc.aio.insecure_channel(f"unix:{tmp_path / SOCKET_NAME}") as channel:
            for stub in (served.missions, mission_pb2_grpc.MissionServiceStub(channel)):
                for metadata in ((), ((key, "0" * 32),), ((key, value[:-1]),), (("other", value),)):
                    error = await refused(stub.GetMission(GET, metadata=metadata))
                    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
            assert queue.passed == 0
            method = channel.unary_unary("/gateway.v1.MissionService/GetMission")
            assert await method(b"", metadata=(probe._mark,)) == b""
            assert queue.passed == 1
    assert not (tmp_path / SOCKET_NAME).exists()


async def test_a_home_with_a_long_name_and_what_a_killed_gateway_has_left_are_no_hindrance(tmp_path: Path) -> None:
    """A path over the kernel's 107 bytes, and a socket at which nobody listens any more."""
    home = tmp_path / ("long" * 30)
    home.mkdir()
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / SOCKET_NAME))
    left.close()
    (tmp_path / SOCKET_NAME).rename(home / SOCKET_NAME)
    queue = Queue()
    listening = Listening(address="127.0.0.1:0", home=home)
    async with serving(desk(), listening=listening, queues=reads(queue.turn)) as served, working(served):
        await look(served)
        await until(lambda: queue.passed > 0)
        assert sockets_below(tmp_path) == [SOCKET_NAME]
    assert sockets_below(tmp_path) == []


async def test_a_home_that_holds_no_sockets_is_served_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A directory is in the way: the log says what is not seen."""
    (tmp_path / SOCKET_NAME).mkdir()
    listening = Listening(address="127.0.0.1:0", home=tmp_path)
    async with serving(desk(), listening=listening) as served, working(served):
        await look(served)
        assert waits(served) == [0.0, 0.0]
    assert "overload is seen by the lateness of the event loop alone" in caplog.text


async def test_the_server_of_a_principals_socket_is_called_over_that(tmp_path: Path) -> None:
    """It has queues of its own inside of gRPC, and gets no second door."""
    queue = Queue()
    folder = tmp_path / "ann"
    listening = Listening(address="127.0.0.1:0", home=tmp_path, sockets=[Socket(folder=folder, principal=ANN)])
    async with serving(desk(), listening=listening, queues=reads(queue.turn)) as served, working(served):
        async with grpc.aio.insecure_channel(f"unix:{quote(str(folder / 'gateway.sock'))}") as channel:
            await mission_pb2_grpc.MissionServiceStub(channel).GetMission(GET)
        await until(lambda: queue.passed == 1)
        assert sockets_below(tmp_path) == ["gateway.sock", SOCKET_NAME]


async def test_what_calls_pass() -> None:
    """All ask policy and read; those that bring work write as well."""
    order: list[str] = []

    class Store:
        async def reading_turn(self) -> None:
            order.append("read")

        async def writing_turn(self) -> None:
            order.append("write")

    async def policy() -> None:
        order.append("policy")

    for kind, expected in {CallKind.READ: ["policy", "read"], CallKind.MUTATION: ["policy", "read", "write"]}.items():
        for turn in passing(policy, Store())[kind]:
            await turn()
        assert order == expected
        order.clear()

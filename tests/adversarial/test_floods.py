"""Floods below the calls, of resets, connections, half-made calls and pings: others are answered all the while."""

import asyncio
import resource
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.limits_config import LimitsConfig
from gateway.v1 import mission_pb2
from tests.adversarial.h2_frames import GOAWAY, SETTINGS, Connection, begun, ping, reset
from tests.fakes import FakeDesk, view
from tests.rpc_server import AS_ANN, Served, serving

GET = mission_pb2.GetMissionRequest(mission_id="m-1")
PATH = "/gateway.v1.MissionService/GetMission"
CHECK = "/grpc.health.v1.Health/Check"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
ANN = {"authorization": "Bearer ann-token"}
RESETS = 3_000
KIB_MORE_MAX = 256 * 1024
MAX_CONCURRENT_STREAMS = 0x3  # RFC 9113, 6.5.2


def limits(**tables: Any) -> LimitsConfig:
    return LimitsConfig.model_validate(tables)


def desk() -> FakeDesk:
    return FakeDesk(missions={"m-1": view()})


async def assert_answers(served: Served) -> None:
    """Return if somebody else, on a connection of its own, is answered."""
    options = (("grpc.use_local_subchannel_pool", 1),)
    async with grpc.aio.insecure_channel(served.server.address, options=options) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        assert (await stub.Check(health_pb2.HealthCheckRequest(), timeout=20)).status == 1
    await served.missions.GetMission(GET, metadata=AS_ANN, timeout=20)


def resets(metadata: dict[str, str]) -> Iterator[bytes]:
    for number in range(RESETS):
        stream = 2 * number + 1
        yield begun(stream, PATH, metadata) + reset(stream)


@pytest.mark.parametrize("metadata", [{}, ANN], ids=["stranger", "principal"])
async def test_rapid_resets_hold_nothing(metadata: dict[str, str]) -> None:
    """Thousands of calls, each given up at once (CVE-2023-44487): nothing to speak of is left."""
    async with serving(desk()) as served:
        await assert_answers(served)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        connection = await Connection.open(served.server.address)
        for burst in resets(metadata):
            connection.writer.write(burst)
        await connection.writer.drain()
        await assert_answers(served)
        await connection.close()
        await assert_answers(served)
        async with asyncio.timeout(20):
            while served.held.calls.open.total:  # noqa: ASYNC110 - the server has no event for it
                await asyncio.sleep(0.01)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < KIB_MORE_MAX
        assert not served.desk.callers or len(served.desk.callers) <= RESETS


async def test_a_connection_says_how_many_streams_it_takes() -> None:
    """In its first settings, so that well-behaved clients open another; those beyond are refused."""
    settings = limits(connections={"streams_per_connection_max": 7})
    async with serving(desk(), settings=settings) as served:
        connection = await Connection.open(served.server.address)
        payload = await connection.until(SETTINGS)
        assert payload is not None
        pairs = {
            int.from_bytes(payload[at : at + 2], "big"): int.from_bytes(payload[at + 2 : at + 6], "big")
            for at in range(0, len(payload), 6)
        }
        assert pairs[MAX_CONCURRENT_STREAMS] == 7
        await connection.close()


async def test_connections_beyond_the_limit_are_not_taken_and_a_closed_one_makes_room() -> None:
    """The flood loses its connections, the others keep theirs."""
    settings = limits(connections={"connections_max": 4})
    async with serving(desk(), settings=settings) as served:
        await served.missions.GetMission(GET, metadata=AS_ANN, wait_for_ready=True)  # the first of the four
        taken = [await Connection.open(served.server.address) for _ in range(12)]
        greeted = await asyncio.gather(*(connection.until(SETTINGS) for connection in taken))
        assert sum(payload is not None for payload in greeted) == 3
        await served.missions.GetMission(GET, metadata=AS_ANN, timeout=10)
        for connection in taken:
            await connection.close()
        async with asyncio.timeout(20):
            while True:
                again = await Connection.open(served.server.address)
                said = await again.until(SETTINGS)
                await again.close()
                if said is not None:
                    break


async def test_who_connects_and_says_nothing_is_cut_off() -> None:
    """A connection that does not become HTTP/2 is closed when its time for that is up."""
    settings = limits(connections={"handshake_seconds_max": 0.3})
    async with serving(desk(), settings=settings) as served:
        host, _, port = served.server.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        async with asyncio.timeout(20):
            while await reader.read(65_536):
                pass
        writer.close()
        await assert_answers(served)


async def test_half_made_calls_of_strangers_hold_no_place() -> None:
    """Headers, and never a request: who has no credential is refused before one is waited for."""
    settings = limits(strangers={"calls_burst": 100_000}, connections={"read_seconds_max": 600})
    async with serving(desk(), settings=settings) as served:
        connection = await Connection.open(served.server.address)
        for number in range(200):
            connection.writer.write(begun(2 * number + 1, PATH, {}))
        await connection.writer.drain()
        await assert_answers(served)
        refusals = served.server._ports.refusals
        async with asyncio.timeout(20):
            while sum(refusals.totals.values()) < 200:  # noqa: ASYNC110 - as below: others' answers overtake them
                await asyncio.sleep(0.01)
            assert refusals.totals == {"missing": 200}
            while served.held.calls.open.total:  # noqa: ASYNC110 - as below: the calls that were answered, at most
                await asyncio.sleep(0.01)
        await connection.close()


async def test_half_made_calls_of_a_principal_are_its_own_and_end() -> None:
    """They fill its places and nobody else's, and are given up after a while."""
    settings = limits(principal={"calls_open_max": 5}, connections={"read_seconds_max": 1.0})
    async with serving(desk(), settings=settings) as served:
        connection = await Connection.open(served.server.address)
        for number in range(50):
            connection.writer.write(begun(2 * number + 1, PATH, ANN))
        await connection.writer.drain()
        async with asyncio.timeout(20):
            while served.held.calls.refused["principal.calls_open_max"] < 45:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
            assert served.held.calls.open.total <= 5
            while served.held.calls.open.total:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
        await assert_answers(served)
        await connection.close()


@pytest.mark.parametrize(
    ("path", "metadata"), [(PATH, ANN), (CHECK, {}), (REFLECTION, ANN)], ids=["principal", "stranger", "conversation"]
)
async def test_few_requests_at_a_time_may_be_half_there(
    path: str, metadata: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has come of one is held in memory, up to 8 MiB each: those beyond are refused, and nobody else notices."""
    monkeypatch.setattr("gateway.rpc.sending.QUICK_SECONDS", 0.05)
    async with serving(desk(), settings=limits(connections={"requests_slow_max": 3})) as served:
        connection = await Connection.open(served.server.address)
        for number in range(20):
            connection.writer.write(begun(2 * number + 1, path, metadata))
        await connection.writer.drain()
        async with asyncio.timeout(20):
            while served.held.calls.refused["connections.requests_slow_max"] < 17:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
            while served.held.calls.open.total > 3:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
            assert len(served.held.calls._slow) == 2  # the caller, and all like it
            await assert_answers(served)
            await connection.close()
            while served.held.calls.open.total:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
        assert len(served.held.calls._slow) == 0


async def test_who_pings_without_end_is_told_to_calm_down() -> None:
    """GOAWAY with ENHANCE_YOUR_CALM, and the end of that connection."""
    async with serving(desk()) as served:
        connection = await Connection.open(served.server.address)
        for number in range(5):
            connection.writer.write(ping(number))
        async with asyncio.timeout(20):
            assert b"too_many_pings" in (await connection.until(GOAWAY) or b"")
            while await connection.next() is not None:
                pass
        await connection.close()
        await assert_answers(served)


async def test_a_flood_of_calls_that_are_refused_anyway_turns_nobody_else_away() -> None:
    """Strangers by the method that Ann calls: hers wait behind theirs inside of gRPC, and that is all."""
    settings = limits(shedding={"wait_ms_max": 20, "reads_wait_ms_max": 20, "interval_ms": 200})
    submit = mission_pb2.SubmitMissionRequest(request_id="r", document=b"{}")
    block, refused, waits = asyncio.Event(), 0, [0.0]
    async with serving(FakeDesk(block=block), settings=settings) as served:

        async def stranger() -> None:
            nonlocal refused
            while True:
                with suppress(grpc.aio.AioRpcError):
                    await served.missions.SubmitMission(submit, metadata=(("authorization", "Bearer wrong"),))
                refused += 1

        works = (
            *served.server.works(),
            *served.held.works(served.server.waits),
            *(stranger() for _ in range(200)),
        )
        tasks = [asyncio.create_task(each) for each in works]
        try:
            submitted: list[Any] = []
            for more in range(200, 2_000, 200):
                while refused < more:  # noqa: ASYNC110 - as above
                    await asyncio.sleep(0.01)
                waits.append(served.held.calls.wait_seconds)
                call = served.missions.SubmitMission(submit, metadata=AS_ANN, timeout=60)
                submitted.append(asyncio.ensure_future(call))
            assert max(waits) > 0.02, "nothing has waited: this test is of waits"
            block.set()
            await asyncio.gather(*submitted)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

"""gateway.v1.PrivacyService behind a real channel, in front of a fake desk."""

import grpc
import grpc.aio
import pytest

from gateway.errors import ErasedError
from gateway.v1 import mission_pb2, privacy_pb2
from tests.fakes import FakeDesk, ended
from tests.rpc_server import AS_ANN, details, serving


async def test_a_mission_is_erased_for_its_caller() -> None:
    """The call names the mission to policy; the answer says how much that was."""
    async with serving(FakeDesk(missions={"m": ended("m")})) as served:
        request = privacy_pb2.EraseMissionRequest(mission_id="m", reason="asked for")
        answer = await served.privacy.EraseMission(request, metadata=AS_ANN)
        assert (answer.mission_id, answer.missions, answer.decisions) == ("m", 3, 4)
        assert answer.HasField("erased_at")
        assert served.desk.asked == ["asked for"]
        _, service, method, resource = served.gate.asked[-1]
        assert (service, method, resource["mission_id"]) == ("gateway.v1.PrivacyService", "EraseMission", "m")


@pytest.mark.parametrize("reason", ["r" * 1_001, "line\nfeed"])
async def test_a_reason_has_bounds(reason: str) -> None:
    """It goes into the log."""
    async with serving(FakeDesk(missions={"m": ended("m")})) as served:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await served.privacy.EraseMission(
                privacy_pb2.EraseMissionRequest(mission_id="m", reason=reason), metadata=AS_ANN
            )
        assert details(refused.value)[0].reason == "REQUEST_OUT_OF_RANGE"
        assert served.desk.asked == []


async def test_what_was_erased_is_a_precondition_that_failed() -> None:
    """With its code and its words: the mission is there, and what is asked for is not."""
    desk = FakeDesk(missions={"m": ended("m")}, fault=ErasedError("what the mission held was erased"))
    async with serving(desk) as served:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await served.missions.GetMission(mission_pb2.GetMissionRequest(mission_id="m"), metadata=AS_ANN)
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert details(refused.value)[0].reason == "MISSION_ERASED"

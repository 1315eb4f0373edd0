"""gateway.v1.PrivacyService: what is kept of missions is erased where somebody asks who may."""

from gateway.missions.control import REASON_MAX
from gateway.rpc.bad_request import out_of_range
from gateway.rpc.interceptor import CALLER
from gateway.rpc.ports import PrivacyDesk
from gateway.rpc.timestamps import timestamp
from gateway.rpc.types import Context
from gateway.v1 import privacy_pb2, privacy_pb2_grpc


class PrivacyService(privacy_pb2_grpc.PrivacyServiceServicer):
    """Speaks for the desk."""

    def __init__(self, desk: PrivacyDesk) -> None:
        self._desk = desk

    async def EraseMission(
        self, request: privacy_pb2.EraseMissionRequest, _context: Context
    ) -> privacy_pb2.EraseMissionResponse:
        """Erase what is kept of a mission."""
        if len(request.reason) > REASON_MAX or not request.reason.isprintable():
            raise out_of_range("reason", f"must have at most {REASON_MAX} printable characters")
        erased = await self._desk.erase(CALLER.get(), request.mission_id, request.reason)
        return privacy_pb2.EraseMissionResponse(
            mission_id=erased.mission_id,
            erased_at=timestamp(erased.erased_at),
            missions=erased.missions,
            decisions=erased.decisions,
        )

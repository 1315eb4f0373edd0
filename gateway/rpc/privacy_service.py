"""gateway.v1.PrivacyService: what is kept of missions and people is erased where somebody asks who may."""

from typing import Final

from gateway.missions.control import REASON_MAX
from gateway.rpc.bad_request import out_of_range
from gateway.rpc.interceptor import CALLER
from gateway.rpc.ports import PeopleDesk, PrivacyDesk
from gateway.rpc.timestamps import timestamp
from gateway.rpc.types import Context
from gateway.v1 import privacy_pb2, privacy_pb2_grpc

NAME_CHARS_MAX: Final = 256


class PrivacyService(privacy_pb2_grpc.PrivacyServiceServicer):
    """Speaks for the desks."""

    def __init__(self, desk: PrivacyDesk, people: PeopleDesk) -> None:
        self._desk = desk
        self._people = people

    async def EraseMission(
        self, request: privacy_pb2.EraseMissionRequest, _context: Context
    ) -> privacy_pb2.EraseMissionResponse:
        """Erase what is kept of a mission."""
        _check_reason(request.reason)
        erased = await self._desk.erase(CALLER.get(), request.mission_id, request.reason)
        return privacy_pb2.EraseMissionResponse(
            mission_id=erased.mission_id,
            erased_at=timestamp(erased.erased_at),
            missions=erased.missions,
            decisions=erased.decisions,
        )

    async def EraseSubject(
        self, request: privacy_pb2.EraseSubjectRequest, _context: Context
    ) -> privacy_pb2.EraseSubjectResponse:
        """Erase a person."""
        _check_reason(request.reason)
        _check_name("subject", request.subject)
        erased = await self._people.erase(CALLER.get(), request.tenant, request.subject, request.reason)
        return privacy_pb2.EraseSubjectResponse(
            pseudonym=erased.pseudonym, missions=erased.missions, decisions=erased.decisions
        )

    async def LookupSubject(
        self, request: privacy_pb2.LookupSubjectRequest, _context: Context
    ) -> privacy_pb2.LookupSubjectResponse:
        """Say who a pseudonym is, or which pseudonym somebody has."""
        if request.WhichOneof("asked") == "name":
            _check_name("name.subject", request.name.subject)
            found = await self._people.by_name(CALLER.get(), request.name.tenant, request.name.subject)
        else:
            _check_name("pseudonym", request.pseudonym)
            found = await self._people.by_pseudonym(CALLER.get(), request.pseudonym)
        name = privacy_pb2.SubjectName(tenant=found.name.tenant, subject=found.name.subject)
        return privacy_pb2.LookupSubjectResponse(pseudonym=found.pseudonym, name=name)


def _check_reason(reason: str) -> None:
    if len(reason) > REASON_MAX or not reason.isprintable():
        raise out_of_range("reason", f"must have at most {REASON_MAX} printable characters")


def _check_name(field: str, name: str) -> None:
    if not 1 <= len(name) <= NAME_CHARS_MAX or not name.isprintable():
        raise out_of_range(field, f"must have 1 to {NAME_CHARS_MAX} printable characters")

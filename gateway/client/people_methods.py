"""PrivacyService: what is sent, and what comes back."""

from typing import Final

from gateway.client.call import Call, call
from gateway.client.methods import DriverT, Group, Method
from gateway.client.people import Erasure, Subject, SubjectErasure
from gateway.v1 import privacy_pb2

_ERASE_SECONDS: Final = 600.0  # the whole log is read, and rows are overwritten


def erase_mission(mission_id: str, reason: str = "") -> Call[Erasure]:
    """Erase what is kept of an ended mission: all but ids, times and counts. Erasing it twice changes nothing."""
    request = privacy_pb2.EraseMissionRequest(mission_id=mission_id, reason=reason)
    return call(_path("EraseMission"), request, privacy_pb2.EraseMissionResponse, Erasure.of, seconds=_ERASE_SECONDS)


def erase_subject(subject: str, tenant: str = "", reason: str = "") -> Call[SubjectErasure]:
    """Erase a person; without a tenant, of the caller's. Not repeated: whom nobody knows cannot be found again."""
    request = privacy_pb2.EraseSubjectRequest(tenant=tenant, subject=subject, reason=reason)
    return call(
        _path("EraseSubject"),
        request,
        privacy_pb2.EraseSubjectResponse,
        SubjectErasure.of,
        repeats=False,
        seconds=_ERASE_SECONDS,
    )


def look_up_pseudonym(pseudonym: str) -> Call[Subject]:
    """Return who stands behind a pseudonym of the log; that it was asked is recorded."""
    request = privacy_pb2.LookupSubjectRequest(pseudonym=pseudonym)
    return call(_path("LookupSubject"), request, privacy_pb2.LookupSubjectResponse, Subject.of)


def look_up_subject(subject: str, tenant: str = "") -> Call[Subject]:
    """Return the pseudonym of somebody, by name."""
    name = privacy_pb2.SubjectName(tenant=tenant, subject=subject)
    request = privacy_pb2.LookupSubjectRequest(name=name)
    return call(_path("LookupSubject"), request, privacy_pb2.LookupSubjectResponse, Subject.of)


class PeopleMethods(Group[DriverT]):
    """People in the log."""

    erase_mission = Method(erase_mission)
    erase_subject = Method(erase_subject)
    look_up_pseudonym = Method(look_up_pseudonym)
    look_up_subject = Method(look_up_subject)


def _path(method: str) -> str:
    return f"/gateway.v1.PrivacyService/{method}"

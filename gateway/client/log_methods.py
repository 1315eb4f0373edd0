"""AuditService: what is sent, and what comes back."""

from collections.abc import Sequence

from gateway.client.call import Call, call
from gateway.client.log import Checkpoints, Consistency, EventQuery, Inclusion, StepReplay
from gateway.client.methods import DriverT, Group, Method, Stream
from gateway.client.streams import EventsOfLog, LinesOfLog, Unresumable
from gateway.v1 import audit_pb2


def checkpoints() -> Call[Checkpoints]:
    """Return the newest signed notes."""
    return call(
        _path("GetCheckpoint"),
        audit_pb2.GetCheckpointRequest(),
        audit_pb2.GetCheckpointResponse,
        lambda it: Checkpoints(it.checkpoint, it.witnessed),
    )


def keys() -> Call[tuple[str, ...]]:
    """Return the verifier keys, the one that signs now first."""
    return call(
        _path("GetVerifierKeys"),
        audit_pb2.GetVerifierKeysRequest(),
        audit_pb2.GetVerifierKeysResponse,
        lambda it: tuple(it.verifier_keys),
    )


def prove_inclusion(
    *, seq: int | None = None, event_id: str = "", tree_size: int = 0, witnessed: bool = False
) -> Call[Inclusion]:
    """Return an event, by seq or by id, and its proof."""
    request = audit_pb2.ProveInclusionRequest(tree_size=tree_size, witnessed=witnessed)
    if seq is not None:
        request.seq = seq
    else:
        request.event_id = event_id
    return call(_path("ProveInclusion"), request, audit_pb2.ProveInclusionResponse, Inclusion.of)


def prove_consistency(old_size: int, new_size: int = 0) -> Call[Consistency]:
    """Return the proof that the log only grew; `new_size` 0 is that of the newest checkpoint."""
    request = audit_pb2.ProveConsistencyRequest(old_size=old_size, new_size=new_size)
    return call(_path("ProveConsistency"), request, audit_pb2.ProveConsistencyResponse, Consistency.of)


def events(query: EventQuery) -> EventsOfLog:
    """Yield events that match, each once and none left out, however often the stream breaks."""
    return EventsOfLog(query)


def read(start: int = 0, count: int = 0) -> LinesOfLog:
    """Yield events of all tenants; with `count` 0, to the end of what is signed."""
    return LinesOfLog(start, count)


def replay(mission_id: str, step_ids: Sequence[str] = ()) -> Unresumable[StepReplay, audit_pb2.ReplayMissionResponse]:
    """Yield what each step of a recorded mission comes to when it is run again."""
    request = audit_pb2.ReplayMissionRequest(mission_id=mission_id, step_ids=step_ids)
    return Unresumable(
        _path("ReplayMission"), request, audit_pb2.ReplayMissionResponse, lambda it: StepReplay.of(it.step)
    )


class LogMethods(Group[DriverT]):
    """The audit log."""

    checkpoints = Method(checkpoints)
    keys = Method(keys)
    prove_inclusion = Method(prove_inclusion)
    prove_consistency = Method(prove_consistency)
    events = Stream(events)
    read = Stream(read)
    replay = Stream(replay)


def _path(method: str) -> str:
    return f"/gateway.v1.AuditService/{method}"

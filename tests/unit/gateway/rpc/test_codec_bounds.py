"""A Mission message has no more room than the document that it stands for."""

import orjson
import pytest

from engine.errors import MissionInvalidError
from engine.mission import MissionLimits
from gateway.rpc.forms import form_of
from gateway.v1 import mission_pb2

LIMITS = MissionLimits(steps_max=100, document_bytes_max=8 * 1024 * 1024)


def refused(mission: mission_pb2.Mission) -> list[tuple[str, str, str, int | None]]:
    """Return code, field, kind and line of each violation of a message that must be refused."""
    with pytest.raises(MissionInvalidError) as caught:
        form_of(mission_pb2.SubmitMissionRequest(mission=mission), LIMITS)
    return [(v.code, v.field, v.kind, v.line) for v in caught.value.violations]


@pytest.mark.timeout(20)
def test_millions_of_empty_steps_are_refused_before_they_are_read() -> None:
    """A step of two bytes costs microseconds to read: their number is checked before any of them is."""
    mission = mission_pb2.Mission(steps=[mission_pb2.MissionStep()] * 1_000_000)
    assert refused(mission) == [("mission.too_many_steps", "steps", "limit", None)]


def test_faulty_parameters_are_named_by_their_field() -> None:
    """A violation inside a bytes field has the field of the whole message, and no line of a text nobody sent."""
    good = mission_pb2.MissionStep(id="a", parameters=b"{}")
    bad = mission_pb2.MissionStep(id="b", parameters=b'{"x": {"y": 1, "y": 2}}')
    assert refused(mission_pb2.Mission(steps=[good, bad])) == [
        ("document.duplicate_key", "steps[1].parameters.x.y", "malformed", None)
    ]
    torn = mission_pb2.MissionStep(id="a", parameters=b'{"x": ')
    assert refused(mission_pb2.Mission(steps=[torn])) == [("document.syntax", "steps[0].parameters", "malformed", None)]


def test_a_message_is_read_to_the_value_of_its_document() -> None:
    """Integers stay integers, to the last of 2^53 + 1, and what is not set is left out."""
    parameters = {"whole": 1, "beyond": 2**53 + 1, "float": 1.0}
    step = mission_pb2.MissionStep(id="a", name="A", step_type="http", parameters=orjson.dumps(parameters))
    form = form_of(
        mission_pb2.SubmitMissionRequest(mission=mission_pb2.Mission(version="1.0", name="m", steps=[step])), LIMITS
    )
    read = {"id": "a", "name": "A", "step_type": "http", "parameters": parameters}
    assert orjson.dumps(form) == orjson.dumps({"version": "1.0", "name": "m", "steps": [read]})

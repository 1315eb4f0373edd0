"""Words to protobuf's numbers and back."""

import pytest

from gateway.errors import SanitizationError
from gateway.rpc import codec
from gateway.store.approval_records import ApprovalState
from gateway.v1 import mission_pb2
from tests.fakes import approval


def test_every_state_can_be_asked_for() -> None:
    """0 is all; what is no state is refused."""
    assert codec.state_of(mission_pb2.MISSION_STATE_UNSPECIFIED) is None
    numbers = set(mission_pb2.MissionState.values()) - {mission_pb2.MISSION_STATE_UNSPECIFIED}
    assert len({codec.state_of(number) for number in numbers}) == len(numbers)
    with pytest.raises(SanitizationError):
        codec.state_of(77)


def test_every_state_of_an_approval_has_a_number() -> None:
    """Of its own, so that a reader can tell them apart."""
    numbers = {codec.approval_message(approval(state=state.value)).state for state in ApprovalState}
    assert numbers == set(mission_pb2.ApprovalState.values()) - {mission_pb2.APPROVAL_STATE_UNSPECIFIED}

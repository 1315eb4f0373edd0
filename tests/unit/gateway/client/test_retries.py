"""How often a call is made, and how long is waited: blocking and on a loop alike."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from gateway.client import (
    CallError,
    CallOptions,
    ConflictCallError,
    LateCallError,
    OverloadedCallError,
    Retry,
    Retrying,
    UnavailableCallError,
)
from gateway.client.clients import NO_EVENT
from gateway.v1 import hook_pb2, mission_pb2, policy_pb2
from tests.driven_clients import KINDS, Waits, do
from tests.scripted_server import Fails, scripted

MISSION = mission_pb2.GetMissionResponse(mission=mission_pb2.MissionView(mission_id="m", state=3, name="é"))
TAKEN = mission_pb2.SubmitMissionResponse(mission_id="m", digest="sha256:x", created=True)
AWAY, LATE = Fails(), Fails(grpc.StatusCode.DEADLINE_EXCEEDED)
BUSY = Fails(grpc.StatusCode.RESOURCE_EXHAUSTED, "mission.too_many_running", "full")
TIED = [(kind, method) for kind in KINDS for method in ("submit", "get")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("failure", [AWAY, BUSY, LATE], ids=["away", "busy", "late"])
def test_a_read_is_made_again_until_it_is_answered(kind: str, failure: Fails) -> None:
    """With waits that double; the answer is the value."""
    waits = Waits()
    with scripted({"GetMission": [[failure], [failure], [failure], [MISSION]]}) as (address, script):
        found = do(kind, address, lambda client: client.get("m"), waits=waits)
    assert (found.mission_id, found.name, found.state) == ("m", "é", "Executing")
    assert waits.seconds == [0.25, 0.5, 1.0]
    assert len(script.asked) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_a_submission_is_repeated_under_one_request_id(kind: str) -> None:
    """Whoever had not heard that it was taken asks again in the same words; each call without an id has a new one."""
    with scripted({"SubmitMission": [[AWAY], [LATE], [TAKEN]]}) as (address, script):
        found = do(kind, address, lambda client: client.submit({"name": "é"}))
        do(kind, address, lambda client: client.submit(b"{}", "mine"))
    sent = [mission_pb2.SubmitMissionRequest.FromString(each.messages[0]) for each in script.asked]
    assert (found.mission_id, found.created) == ("m", True)
    assert sent[0] == sent[1] == sent[2]
    assert sent[0].document == '{"name":"é"}'.encode()
    assert len(sent[0].request_id) == 32
    assert (sent[3].request_id, sent[3].document) == ("mine", b"{}")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("method", "action"),
    [
        ("CancelMission", lambda client: client.cancel("m")),
        ("RetryMission", lambda client: client.retry("m")),
        ("DecideApproval", lambda client: client.decide_approval("m", "a", approve=True, digest="d")),
        ("EnableHook", lambda client: client.hooks.enable("h", "1")),
        ("RollbackBundle", lambda client: client.policy.rollback()),
        ("EraseSubject", lambda client: client.people.erase_subject("ann")),
    ],
)
def test_a_change_that_no_id_makes_the_same_is_made_once(kind: str, method: str, action: Callable[[Any], Any]) -> None:
    """Nobody knows whether it took place: its caller looks, and decides."""
    with scripted({method: [[AWAY]]}) as (address, script), pytest.raises(UnavailableCallError):
        do(kind, address, action)
    assert len(script.asked) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_publication_is_sent_again_whole(kind: str) -> None:
    """What is published twice is there once; each attempt has every part."""
    hook = hook_pb2.PublishHookResponse(hook=hook_pb2.Hook(name="h"), created=True)
    bundle = policy_pb2.PublishBundleResponse(created=True)
    with scripted({"PublishHook": [[AWAY], [hook]], "PublishBundle": [[AWAY], [bundle]]}) as (address, script):
        found = do(kind, address, lambda client: client.hooks.publish(b"toml", b"x" * 300_000, signature=b"s"))
        do(kind, address, lambda client: client.policy.publish(b"y" * 600_000))
    assert found.hook.name == "h"
    first, second = (each.messages for each in script.of("PublishHook"))
    assert first == second
    parts = [hook_pb2.PublishHookRequest.FromString(part) for part in second]
    assert parts[0].header.manifest == b"toml"
    assert b"".join(part.module for part in parts) == b"x" * 300_000
    assert [len(each.messages) for each in script.of("PublishBundle")] == [3, 3]


@pytest.mark.parametrize("kind", KINDS)
def test_a_refusal_is_no_failure_of_the_moment(kind: str) -> None:
    """The same again would be refused again."""
    no = Fails(grpc.StatusCode.FAILED_PRECONDITION, "mission.request_id_reused", "no")
    with scripted({"SubmitMission": [[no]]}) as (address, script), pytest.raises(ConflictCallError) as caught:
        do(kind, address, lambda client: client.submit(b"{}"))
    assert (caught.value.code, len(script.asked)) == ("mission.request_id_reused", 1)


@pytest.mark.parametrize(("kind", "method"), TIED)
def test_the_gateway_says_when_to_come_again(kind: str, method: str) -> None:
    """RetryInfo is waited for, where it is longer than our own wait."""
    waits, full = Waits(), Fails(grpc.StatusCode.RESOURCE_EXHAUSTED, "limit.rate", "full", 7.5)
    soon = Fails(grpc.StatusCode.RESOURCE_EXHAUSTED, "limit.rate", "full", 0.001)
    turns: Any = {"GetMission": [[full], [soon], [MISSION]], "SubmitMission": [[full], [soon], [TAKEN]]}
    with scripted(turns) as (address, _):
        do(kind, address, lambda client: getattr(client, method)("m"), waits=waits)
    assert waits.seconds == [7.5, 0.5]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_waited_for_beyond_the_deadline(kind: str) -> None:
    """The failure is told at once, with when to come again."""
    waits, full = Waits(), Fails(grpc.StatusCode.RESOURCE_EXHAUSTED, "limit.rate", "full", 3600.0)
    with scripted({"GetMission": [[full]]}) as (address, script), pytest.raises(OverloadedCallError) as caught:
        do(kind, address, lambda client: client.having(deadline_seconds=5).get("m"), waits=waits)
    assert (caught.value.retry_after_seconds, waits.seconds, len(script.asked)) == (3600.0, [], 1)


@pytest.mark.parametrize("kind", KINDS)
def test_attempts_have_an_end(kind: str) -> None:
    """By their number, or by the deadline over all of them; the last failure is told."""
    told: list[Retrying] = []
    options = CallOptions(retry=Retry(attempts_max=3, first_seconds=1.0, seconds_max=1.5), on_retry=told.append)
    with scripted({"GetMission": [[AWAY]]}) as (address, script):
        with pytest.raises(UnavailableCallError):
            do(kind, address, lambda client: client.get("m"), options)
        assert [(each.failures, each.failures_max, each.wait_seconds) for each in told] == [(1, 2, 1.0), (2, 2, 1.5)]
        assert len(script.asked) == 3
        waits = Waits()
        with pytest.raises(UnavailableCallError):
            do(kind, address, lambda client: client.having(deadline_seconds=2.2).get("m"), waits=waits)
    assert waits.seconds == [0.25, 0.5, 1.0]


@pytest.mark.parametrize("kind", KINDS)
def test_waits_are_never_in_step(kind: str) -> None:
    """Half of what it could be, at least."""
    waits = Waits()
    with scripted({"GetMission": [[AWAY], [AWAY], [MISSION]]}) as (address, _):
        do(kind, address, lambda client: client.get("m"), waits=waits, chance=lambda: 0.0)
    assert waits.seconds == [0.125, 0.25]


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_that_is_too_large_is_as_large_again(kind: str) -> None:
    """The limit of gRPC itself has the status of a full gateway, and is not one."""
    large = Fails(grpc.StatusCode.RESOURCE_EXHAUSTED, message="Received message larger than max (9 vs. 8)")
    with scripted({"GetMission": [[large]]}) as (address, script), pytest.raises(CallError) as caught:
        do(kind, address, lambda client: client.get("m"))
    assert (caught.value.code, len(script.asked)) == ("rpc.message_too_large", 1)


@pytest.mark.parametrize("kind", KINDS)
def test_waiting_for_a_mission_has_one_deadline(kind: str) -> None:
    """Over all of its calls: what is left of it is what the next has."""
    waits = Waits()
    running = mission_pb2.GetMissionResponse(mission=mission_pb2.MissionView(mission_id="m", state=3))
    end = mission_pb2.MissionEvent(index=NO_EVENT, kind="mission.completed", details=b"{}")

    def slowly(_: bytes) -> list[Message]:
        waits.moment += 4
        return [running]

    turns = {"GetMission": slowly, "WatchMission": [[mission_pb2.WatchMissionResponse(event=end)]]}
    with scripted(turns) as (address, script), pytest.raises(LateCallError) as caught:
        do(kind, address, lambda client: client.having(deadline_seconds=10).wait("m"), waits=waits)
    assert caught.value.code == "rpc.deadline_exceeded"
    assert len(script.of("GetMission")) == 3

"""Both clients have every method of the protocol, and say what they take."""

import inspect
import re
from pathlib import Path
from typing import Any

import grpc
import pytest

import gateway.client
from engine.builder import MissionBuilder
from engine.errors import MissionInvalidError
from engine.result import MissionState
from gateway.client import AsyncClient, CallOptions, Client, EventQuery, Retry, Server
from gateway.client.call import Call, Cursor
from gateway.client.hook_methods import HookMethods
from gateway.client.log_methods import LogMethods
from gateway.client.methods import Method, Pages, Stream
from gateway.client.mission_methods import MissionMethods
from gateway.client.people_methods import PeopleMethods
from gateway.client.policy_methods import PolicyMethods
from gateway.client.statistics_methods import StatisticsMethods
from gateway.v1 import audit_pb2, hook_pb2, mission_pb2, policy_pb2, privacy_pb2, statistics_pb2
from tests.driven_clients import KINDS, do
from tests.scripted_server import Fails, scripted

PACKAGE = Path(gateway.client.__file__).parent
SERVICES = [
    service
    for file in (mission_pb2, audit_pb2, hook_pb2, policy_pb2, privacy_pb2, statistics_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
]
GROUPS = (MissionMethods, HookMethods, PolicyMethods, LogMethods, PeopleMethods, StatisticsMethods)
METHODS = [
    (group.__name__, name, method)
    for group in GROUPS
    for name, method in vars(group).items()
    if isinstance(method, Method | Stream | Pages)
]


class Recorded(Exception):  # noqa: N818 - it is no error
    """A description of a call, instead of its answer."""

    def __init__(self, asked: Any) -> None:
        super().__init__()
        self.asked = asked


class Recording:
    """A driver that calls nobody."""

    options = CallOptions()

    def call(self, call: Call[Any]) -> Any:
        raise Recorded(call)

    def stream(self, cursor: Cursor[Any]) -> Any:
        raise Recorded(cursor)

    def pages(self, turning: Any) -> Any:
        raise Recorded(turning("t"))


def described(group: Any, method: Any) -> Any:
    """Return the call that a method makes, of arguments that say nothing."""
    wanted = inspect.signature(method.describe).parameters.values()
    named = {each.name: _anything(each) for each in wanted if each.default is each.empty}
    with pytest.raises(Recorded) as caught:
        method.__get__(group(Recording()), group)(**named)
    return caught.value.asked


def _anything(parameter: inspect.Parameter) -> Any:
    filled = {bool: True, bytes: b"x", int: 1, EventQuery: EventQuery()}
    return filled.get(parameter.annotation, "x")


def test_every_method_of_the_protocol_is_there() -> None:
    """And none that is not: a method that the protocol gains is one of both clients."""
    made = {described(_group(group), method).method for group, _, method in METHODS}
    assert made == {f"/{service.full_name}/{method.name}" for service in SERVICES for method in service.methods}


def test_only_what_comes_to_the_same_is_repeated() -> None:
    """The changes that are made once, by name: whoever adds one decides."""
    calls = [described(_group(group), method) for group, _, method in METHODS if isinstance(method, Method)]
    once = {call.method.rpartition("/")[2] for call in calls if not call.repeats}
    assert once == {
        "CancelMission", "PauseMission", "ResumeMission", "RetryMission", "DecideApproval", "EnableHook", "DisableHook",
        "RollbackHook", "ActivateBundle", "RollbackBundle", "FollowSource", "EraseSubject",
    }  # fmt: skip


@pytest.mark.parametrize(("group", "name", "method"), METHODS, ids=[name for _, name, _ in METHODS])
def test_each_method_says_what_it_does(group: str, name: str, method: Any) -> None:
    """In its docstring, and its signature is that of its description: for `help`, and for whoever completes a line."""
    assert (method.__doc__ or "").rstrip().endswith("."), (group, name)
    assert method.__name__ == name
    bound = method.__get__(_group(group)(Recording()), object)
    assert inspect.signature(bound) == inspect.signature(method.describe)


def _group(name: str) -> Any:
    return next(group for group in GROUPS if group.__name__ == name)


def test_the_package_names_all_that_it_gives() -> None:
    """What a caller gets or gives can be imported from one place, and is in the guide."""
    assert sorted(gateway.client.__all__) == sorted(set(gateway.client.__all__))
    assert [name for name in gateway.client.__all__ if not hasattr(gateway.client, name)] == []
    values = {
        found
        for path in PACKAGE.glob("*.py")
        for found in re.findall(r"^class ([A-Z]\w+)\(Documented\)", path.read_text(), re.MULTILINE)
    }
    assert values <= set(gateway.client.__all__)


@pytest.mark.parametrize("kind", KINDS)
def test_a_mission_comes_in_any_form(kind: str) -> None:
    """Text, bytes, an object, and what a builder has built, which is checked before it is sent."""
    built = MissionBuilder("built")
    built.step("a", "transform", {"input": 1})
    unbuilt = MissionBuilder("unbuilt")
    taken = mission_pb2.SubmitMissionResponse(mission_id="m")
    with scripted({"SubmitMission": [[taken]], "PlanMission": [[mission_pb2.PlanMissionResponse(mission=b"{}")]]}) as (
        address,
        script,
    ):
        for form in ("name: é", "name: é".encode(), {"name": "é"}, built):
            do(kind, address, lambda client, form=form: client.submit(form))
        assert do(kind, address, lambda client: client.plan(built)).allowed
        with pytest.raises(MissionInvalidError):
            do(kind, address, lambda client: client.submit(unbuilt))
    sent = [mission_pb2.SubmitMissionRequest.FromString(each.messages[0]).document for each in script.asked[:4]]
    assert sent == ["name: é".encode(), "name: é".encode(), '{"name":"é"}'.encode(), built.to_json()]


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_is_read_page_by_page(kind: str) -> None:
    """To its end; one page by itself has the token of the next."""

    def page(raw: bytes) -> Any:
        asked = mission_pb2.ListMissionsRequest.FromString(raw)
        at = int(asked.page_token or 0)
        views = [mission_pb2.MissionView(mission_id=f"m{at}", state=asked.state)]
        return [mission_pb2.ListMissionsResponse(missions=views, next_page_token=str(at + 1) if at < 3 else "")]

    with scripted({"ListMissions": page}) as (address, _):
        found = do(kind, address, lambda client: client.missions(MissionState.FAILED))
        assert [(each.mission_id, each.state) for each in found] == [(f"m{at}", "Failed") for at in range(4)]
        one = do(kind, address, lambda client: client.list_missions(MissionState.FAILED, 1, "2"))
        assert ([each.mission_id for each in one.missions], one.next_page_token) == (["m2"], "3")


@pytest.mark.parametrize("kind", KINDS)
def test_a_mission_is_waited_for_without_its_events(kind: str) -> None:
    """Only its end is asked for, also where the stream breaks; one that has ended needs no stream."""
    view = mission_pb2.MissionView(mission_id="m", state=4)
    view.ended_at.FromSeconds(1)
    view.result.overall_status = 1
    ended = mission_pb2.GetMissionResponse(mission=view)
    running = mission_pb2.GetMissionResponse(mission=mission_pb2.MissionView(mission_id="m", state=3))
    turns: Any = {"GetMission": [[running], [running], [ended]], "WatchMission": [[Fails()], [], []]}
    with scripted(turns) as (address, script):
        assert do(kind, address, lambda client: client.wait("m")).succeeded
        asked = [mission_pb2.WatchMissionRequest.FromString(each.messages[0]) for each in script.of("WatchMission")]
        assert len(asked) == 3
        assert all(each.from_index == 2**62 for each in asked)
        assert do(kind, address, lambda client: client.wait("m")).succeeded
        assert len(script.of("WatchMission")) == 3


def test_options_are_a_clients_own() -> None:
    """One that was made of another shares its channel, and changes nothing of it."""
    with Client(Server("localhost:1")) as client:
        other = client.having(deadline_seconds=1, retry=Retry(attempts_max=2))
        assert (other.driver.options.deadline_seconds, client.driver.options.deadline_seconds) == (1, None)
        assert other.driver.channel is client.driver.channel
        assert other.having(traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-00").driver.options.deadline_seconds == 1


async def test_a_client_that_is_closed_is_closed() -> None:
    """Leaving the block closes the channel."""
    async with AsyncClient(Server("localhost:1")) as client:
        pass
    with pytest.raises(grpc.aio.UsageError):
        await client.get("m")

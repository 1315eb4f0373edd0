"""No tenant reads or changes anything of another's, by any method; and nobody without a role anything at all."""

import asyncio
from collections.abc import AsyncIterator
from itertools import product
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.message import Message
from grpc_reflection.v1alpha import reflection_pb2

from gateway.v1 import hook_pb2
from tests.adversarial.tenant_rules import RULES, Request, Rule
from tests.depth import times
from tests.rpc_methods import METHODS, OURS, Answer, message_of
from tests.tenant_world import EVERYTHING, NOWHERE, ROLES, Things, TwoTenants, two_tenants

pytestmark = pytest.mark.asyncio(loop_scope="module")  # the gateway's

REFLECTION = "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
REFUSED = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TwoTenants]:
    """One gateway for the module."""
    async with two_tenants(tmp_path_factory.mktemp("tenants")) as running:
        yield running


async def test_every_method_has_its_rule(world: TwoTenants) -> None:
    """Of the descriptors, and of what the server says it serves: neither has a method without a rule."""
    assert sorted(RULES) == sorted(METHODS)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    answer = await world.ask("default-admin", REFLECTION, request)
    served = reflection_pb2.ServerReflectionResponse.FromString(answer.responses[0]).list_services_response.service
    assert {each.name for each in served} == {path.partition("/")[0] for path in METHODS}


@pytest.mark.parametrize("path", RULES)
async def test_what_another_tenant_has_is_nowhere(world: TwoTenants, path: str) -> None:
    """Foreign and missing are one answer for each role, and nothing of the other tenant's is in it.

    Roles add up, so who has all of them is asked for as well; of the others, here every third, and all in `make fuzz`.
    """
    rule, step = RULES[path], times(3, 1)
    some = ROLES[list(RULES).index(path) % step :: step]
    for make in rule.requests:
        await asyncio.gather(*(assert_compared(world, path, rule, role, make) for role in (EVERYTHING, *some, "nil")))


async def test_nothing_was_changed(world: TwoTenants) -> None:
    """Everything that could be asked for was, by everybody: red has what it had."""
    before = await world.snapshot()
    for path, rule in RULES.items():
        for make in rule.requests:
            await asyncio.gather(
                *(world.ask(f"blue-{role}", path, *_stream(make(world.red))) for role in (EVERYTHING, "admin"))
            )
    assert await world.snapshot() == before


async def test_what_is_refused_to_others_is_there_for_its_own(world: TwoTenants) -> None:
    """The rules address what exists: with the same requests red's own people get at it."""
    hidden = [path for path, rule in RULES.items() if not (rule.answered or rule.of_site) and path.startswith(OURS)]
    reading = [path for path in hidden if path.rpartition("/")[2].startswith(("Get", "Watch", "List", "Lookup"))]
    for path in reading:
        answer = await world.ask(f"red-{EVERYTHING}", path, *_stream(RULES[path].requests[0](world.red)))
        assert answer.code is grpc.StatusCode.OK, (path, answer)


async def test_what_all_share_is_refused_to_a_tenant_in_any_role(world: TwoTenants) -> None:
    """In the same words, whatever there is; and answered to those who run the gateway."""
    for path in [path for path, rule in RULES.items() if rule.of_site]:
        requests = _stream(RULES[path].requests[0](NOWHERE))
        for role in (EVERYTHING, "admin"):
            assert (await world.ask(f"blue-{role}", path, *requests)).reason == "RPC_SITE_ONLY", path
        assert (await world.ask("default-admin", path, *requests)).reason != "RPC_SITE_ONLY", path


@pytest.mark.parametrize("path", RULES)
async def test_without_a_credential_or_a_role_there_is_nothing(world: TwoTenants, path: str) -> None:
    """No credential, a wrong one and no role: refused, before anything is looked at."""
    rule = RULES[path]
    for who in (None, "nobody", "blue-nil"):
        answer = await world.ask(who, path, *_stream(rule.requests[0](world.red)))
        if rule.by_anybody and who != "nobody":
            assert answer.code is grpc.StatusCode.OK
            continue
        assert answer.code in REFUSED, (path, who, answer)
        assert answer.code is grpc.StatusCode.PERMISSION_DENIED or who != "blue-nil", (path, who, answer)
        assert answer.reason
        assert not answer.responses


async def test_a_hook_is_its_tenants_until_it_is_in_force(world: TwoTenants) -> None:
    """Then everybody may know what it is, and nobody else who brought it or what was before."""
    of = world.red
    get, enable = hook_pb2.GetHookRequest(name=of.hook), hook_pb2.EnableHookRequest(name=of.hook, version=of.version)
    disable = hook_pb2.DisableHookRequest(name=of.hook)
    service = f"{OURS}HookService"
    assert (await world.ask("blue-publisher", f"{service}/GetHook", get)).code is grpc.StatusCode.NOT_FOUND
    assert (await world.ask("red-admin", f"{service}/EnableHook", enable)).reason == "RPC_SITE_ONLY"
    assert (await world.ask("default-admin", f"{service}/EnableHook", enable)).code is grpc.StatusCode.OK
    try:
        told = hook_pb2.GetHookResponse.FromString(
            (await world.ask("blue-publisher", f"{service}/GetHook", get)).responses[0]
        )
        assert (told.hook.name, told.hook.enabled) == (of.hook, True)
        assert told.manifest
        assert told.schema
        assert (told.hook.published_by, list(told.history)) == ("", [])
        listed = (await world.ask("blue-publisher", f"{service}/ListHooks", hook_pb2.ListHooksRequest())).responses[0]
        found = next(each for each in hook_pb2.ListHooksResponse.FromString(listed).hooks if each.name == of.hook)
        assert found == told.hook
        own = hook_pb2.GetHookResponse.FromString(
            (await world.ask("red-publisher", f"{service}/GetHook", get)).responses[0]
        )
        assert own.hook.published_by
        assert len(own.history) == 1
    finally:
        await world.ask("default-admin", f"{service}/DisableHook", disable)
    assert (await world.ask("blue-publisher", f"{service}/GetHook", get)).code is grpc.StatusCode.NOT_FOUND


async def assert_compared(world: TwoTenants, path: str, rule: Rule, role: str, make: Request) -> None:
    foreign, missing = [await world.ask(f"blue-{role}", path, *_stream(make(of))) for of in (world.red, NOWHERE)]
    _check(world, path, rule, role, make, foreign=foreign, missing=missing)


def _check(
    world: TwoTenants, path: str, rule: Rule, role: str, make: Request, *, foreign: Answer, missing: Answer
) -> None:
    where = (path, role, foreign, missing)
    if rule.taken and foreign.code not in REFUSED:
        assert foreign.reason == rule.taken, where
    else:
        assert _plain(path, rule, foreign, world.red) == _plain(path, rule, missing, NOWHERE), where
        assert rule.answered or foreign.code is not grpc.StatusCode.OK or not foreign.responses, where
    said = str(make(world.red))
    shown = "\n".join(
        [foreign.message, *map(str, foreign.told), *(str(_response(path, raw)) for raw in foreign.responses)]
    )
    for text in world.red.texts:
        shown = shown.replace(text, "?") if text in said else shown  # what its caller has sent it may read again
    assert not [mark for mark in world.marks if mark in shown], where


def _plain(path: str, rule: Rule, answer: Answer, of: Things) -> list[str]:
    """Return an answer, less what is never the same twice, and with one name for what is asked for."""
    responses = [_response(path, raw) for raw in answer.responses]
    for response, name in product(responses, rule.volatile):
        response.ClearField(name)
    parts = [answer.code.name, answer.message, *map(str, answer.told), *dict.fromkeys(map(str, responses))]
    for text in of.texts:
        parts = [part.replace(text, "?") for part in parts]
    return parts


def _response(path: str, raw: bytes) -> Message:
    response: Message = message_of(METHODS[path].output_type)
    response.ParseFromString(raw)
    return response


def _stream(requests: Any) -> list[Any]:
    return requests if isinstance(requests, list) else [requests]

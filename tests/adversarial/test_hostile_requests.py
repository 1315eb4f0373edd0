"""Every field of every request, filled by an enemy who may call everything: a typed refusal, or an honest answer."""

import re
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from typing import Any

import grpc
import pytest
import pytest_asyncio

from gateway.v1 import mission_pb2
from tests.adversarial.hostile_fields import Hostile, hostile
from tests.adversarial.tenant_rules import RULES
from tests.depth import times
from tests.rpc_methods import METHODS, OURS, Answer, message_of
from tests.tenant_world import EVERYTHING, TwoTenants, two_tenants

pytestmark = pytest.mark.asyncio(loop_scope="module")  # the gateway's

# What may not be an answer: a bug, a fault that a client has brought about, silence.
WRONG = {
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DATA_LOSS,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
}
LEAKS = re.compile(
    r"Traceback|File \"|\.py\b|/(?:tmp|home|root|usr|var|proc|work)/|site-packages|0x[0-9a-f]{6,}|sqlite|grpc_core"
    r"|\b[A-Z][A-Za-z]+(?:Error|Exception)\b|object at|<class |NoneType|site_tenants",
)

MISSION = mission_pb2.Mission(
    version="1.0",
    name="m",
    config=mission_pb2.MissionConfig(supervision=mission_pb2.Supervision(max_restarts=1)),
    steps=[
        mission_pb2.MissionStep(
            id="a",
            name="a",
            step_type="transform",
            foreach=mission_pb2.ForEach(items=b"[1]"),
            retry=mission_pb2.RetryPolicy(max_attempts=1),
        )
    ],
)
# `make fuzz` sends all; here every so-manieth, which for each field is another sort of value than for the next.
STRIDE = times(3, 1)
STRIDES = dict.fromkeys(  # each starts a process
    (f"{OURS}PolicyService/Evaluate", f"{OURS}PolicyService/ReplayDecisions", f"{OURS}AuditService/ReplayMission"),
    times(31, 1),
)
# Where the document that the rules have would leave the fields of the message empty.
BASES = {
    f"{OURS}MissionService/SubmitMission": mission_pb2.SubmitMissionRequest(request_id="r", mission=MISSION),
    f"{OURS}MissionService/PlanMission": mission_pb2.PlanMissionRequest(mission=MISSION),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TwoTenants]:
    """One gateway for the module; the enemy runs it."""
    async with two_tenants(tmp_path_factory.mktemp("hostile"), "default") as running:
        yield running


@pytest.mark.parametrize("path", [path for path in METHODS if path.startswith(OURS)])
async def test_whatever_is_sent_the_refusal_is_typed_and_leaks_nothing(world: TwoTenants, path: str) -> None:
    """Field by field, and as bytes that are no message; a stream of requests has the spoilt one at each place."""
    for requests, spoilt in islice(_requests(world, path), 0, None, STRIDES.get(path, STRIDE)):
        answer = await world.ask(f"default-{EVERYTHING}", path, *requests)
        where = (path, spoilt.field, str(spoilt.value)[:60], answer.code, answer.message[:300])
        assert answer.code not in WRONG, where
        if answer.code is not grpc.StatusCode.OK:
            assert answer.reason, where
            assert not LEAKS.search(_said(answer, spoilt)), where
            assert len(answer.message.encode()) <= 512, where


def _requests(world: TwoTenants, path: str) -> Iterator[tuple[list[Any], Hostile]]:
    """Yield requests with one spoilt field each, beside honest ones about what is there and is the enemy's own."""
    made = BASES[path] if path in BASES else RULES[path].requests[0](world.red)
    bases = made if isinstance(made, list) else [made]
    assert bases[0].DESCRIPTOR is message_of(METHODS[path].input_type).DESCRIPTOR
    for at, base in enumerate(bases):
        for spoilt in hostile(base):
            yield [*bases[:at], spoilt.raw, *bases[at + 1 :]], spoilt


def _said(answer: Answer, spoilt: Hostile) -> str:
    """Return the texts of a refusal, less what its caller has sent."""
    text = "\n".join([answer.message, *map(str, answer.told)])
    return text.replace(str(spoilt.value), "") if str(spoilt.value) else text

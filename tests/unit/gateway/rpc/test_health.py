"""grpc.health.v1 by component: what does not serve where a part is dead."""

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from engine.errors import EngineError, FaultError
from gateway.errors import HOST_RULE, PolicyDeniedError, Reason
from gateway.health import Component, ComponentHealth
from gateway.v1 import audit_pb2
from tests.bundle_worlds import START
from tests.fakes import FakeGate
from tests.rpc_server import AS_ANN, Served, serving

SERVICES = ("Mission", "Hook", "Policy", "Audit", "Privacy", "Statistics")
NAMES = ("", *(f"gateway.v1.{name}Service" for name in SERVICES), *Component)


async def dead_in(served: Served) -> set[str]:
    """Return the names that do not serve."""
    stub = health_pb2_grpc.HealthStub(served.channel)
    said = {name: await stub.Check(health_pb2.HealthCheckRequest(service=name)) for name in NAMES}
    return {name for name, answer in said.items() if answer.status != health_pb2.HealthCheckResponse.SERVING}


def states(*dead: Component) -> list[ComponentHealth]:
    return [ComponentHealth(component=c, serving=c not in dead, since=START, code="x" * (c in dead)) for c in Component]


@pytest.mark.parametrize(
    ("component", "dead"),
    [
        (Component.AUDIT, {"", "audit", *(f"gateway.v1.{name}Service" for name in SERVICES)}),
        (Component.POLICY, {"", "policy", *(f"gateway.v1.{name}Service" for name in SERVICES)}),
        (Component.STORE, {"", "store", *(f"gateway.v1.{name}Service" for name in ("Mission", "Hook", "Privacy"))}),
        (Component.SANDBOX, {"", "sandbox", *(f"gateway.v1.{name}Service" for name in ("Mission", "Hook"))}),
    ],
)
async def test_what_needs_a_dead_part_does_not_serve_until_it_is_back(component: Component, dead: set[str]) -> None:
    """Every call needs log and policy; what runs and keeps missions, all four. Nobody needs a token to ask."""
    async with serving() as served:
        assert await dead_in(served) == set()
        await served.server.health.tell(states(component))
        assert await dead_in(served) == dead
        await served.server.health.tell(states())
        assert await dead_in(served) == set()


async def test_a_gateway_that_stops_serves_nothing_whatever_is_told() -> None:
    """A late look at a part that is well does not bring balancers back."""
    async with serving() as served:
        await served.server.not_serving()
        await served.server.health.tell(states())
        assert await dead_in(served) == set(NAMES)


async def test_a_list_is_what_each_of_its_names_says() -> None:
    """Everything that `Check` knows, in one answer."""
    async with serving() as served:
        await served.server.health.tell(states(Component.SANDBOX))
        stub = health_pb2_grpc.HealthStub(served.channel)
        listed = (await stub.List(health_pb2.HealthListRequest())).statuses
        assert set(listed) == set(NAMES)
        serving_status = health_pb2.HealthCheckResponse.SERVING
        assert {name for name, each in listed.items() if each.status != serving_status} == await dead_in(served)


async def test_a_name_that_is_none_is_not_found() -> None:
    """So that a probe with a typing error does not look fine."""
    async with serving() as served:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health_pb2_grpc.HealthStub(served.channel).Check(health_pb2.HealthCheckRequest(service="audits"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def saying(error: EngineError) -> FakeGate:
    def verdict(*_: object) -> None:
        raise error

    return FakeGate(verdict)


UNDECIDED = (
    FaultError("the log is dead", code="audit.unavailable"),
    *(PolicyDeniedError([Reason(f"policy.{what}", "", HOST_RULE)]) for what in ("unavailable", "crashed", "timeout")),
    PolicyDeniedError([Reason("policy.unrecorded", "", HOST_RULE)]),
)
DECIDED = (
    PolicyDeniedError([Reason("rpc.denied", "closed by the site", "data.gateway.rpc.decision")]),
    PolicyDeniedError([Reason("policy.unavailable", "a rule's own word", "data.gateway.rpc.decision")]),
    PolicyDeniedError([Reason("policy.undefined", "", HOST_RULE)]),
    PolicyDeniedError([]),
)


@pytest.mark.parametrize("error", UNDECIDED, ids=lambda error: error.code)
async def test_health_is_answered_where_nothing_can_be_decided(error: EngineError) -> None:
    """That is what it is asked about; no other call is."""
    async with serving(gate=saying(error)) as served:
        await served.server.health.tell(states(Component.POLICY))
        assert "policy" in await dead_in(served)
        with pytest.raises(grpc.aio.AioRpcError):
            await served.log.GetCheckpoint(audit_pb2.GetCheckpointRequest(), metadata=AS_ANN)


@pytest.mark.parametrize("error", DECIDED, ids=lambda error: error.code)
async def test_a_rule_that_closes_health_is_obeyed(error: EngineError) -> None:
    """Whatever codes it uses; and so is a bundle that has no rule at all."""
    async with serving(gate=saying(error)) as served:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await dead_in(served)
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED

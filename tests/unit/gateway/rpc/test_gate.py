"""The decision on each call, and its record."""

from dataclasses import dataclass, field

import orjson
import pytest

from engine.audit.errors import AuditUnavailableError
from gateway.errors import PolicyDeniedError, Reason
from gateway.identity import ANONYMOUS, Principal, actor
from gateway.policy import document
from gateway.policy.decision import Decision
from gateway.policy.document import time_document
from gateway.rpc.gate import PolicyGate
from tests.subjects import known, own
from tests.worlds import StandingClock

ANN = known(Principal(subject="ann", tenant="default", roles=("submitter",)))
MISSIONS, AUDIT = "gateway.v1.MissionService", "gateway.v1.AuditService"


@dataclass
class Policy:
    """Answers with one decision."""

    decision: Decision
    asked: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    async def decide(self, entrypoint: str, document: bytes) -> Decision:
        self.asked.append((entrypoint, orjson.loads(document)))
        return self.decision


@dataclass
class Log:
    """Remembers events, and which of them were waited for."""

    dead: bool = False
    events: list[dict[str, object]] = field(default_factory=list)
    durable_to: int = -1

    def append(self, event_type: str, **fields: object) -> int:
        if self.dead:
            raise AuditUnavailableError("disk is gone")
        self.events.append({"type": str(event_type), **fields})
        return len(self.events) - 1

    async def durable(self, seq: int) -> None:
        self.durable_to = max(self.durable_to, seq)


YES = Decision(allow=True, bundle="sha256:b")
NO = Decision(allow=False, bundle="sha256:b", reasons=(Reason("rpc.method_not_granted", "no role", "rule"),))


async def test_policy_hears_who_what_and_about_what() -> None:
    """The rpc document, version 1; a yes to a mission's method is no event."""
    policy, log = Policy(YES), Log()
    clock = StandingClock()
    await PolicyGate(policy, log, clock).authorize(ANN, MISSIONS, "GetMission", {"mission_id": "m"})
    assert policy.asked == [
        (
            "rpc",
            {
                "version": 1,
                "principal": ANN.document(),
                "rpc": {"service": MISSIONS, "method": "GetMission"},
                "resource": {"mission_id": "m"},
                "time": time_document(clock.now()),
            },
        )
    ]
    assert log.events == []


async def test_a_no_is_durable_before_it_is_told() -> None:
    """With actor, target, reasons, bundle, and what the call was about."""
    log = Log()
    with pytest.raises(PolicyDeniedError) as caught:
        await PolicyGate(Policy(NO), log, StandingClock()).authorize(ANN, MISSIONS, "GetMission", {"mission_id": "m"})
    assert [r.code for r in caught.value.reasons] == ["rpc.method_not_granted"]
    (event,) = log.events
    assert (event["type"], event["actor"], event["target"]) == ("rpc.denied", actor(ANN), f"{MISSIONS}/GetMission")
    assert event["details"] == {
        "reasons": [{"code": "rpc.method_not_granted", "message": own(ANN).of("no role"), "rule": "rule"}],
        "bundle": "sha256:b",
        "document": own(ANN).of(
            document.rpc_document(
                ANN, service=MISSIONS, method="GetMission", resource={"mission_id": "m"}, now=StandingClock().now()
            )
        ),
        "mission_id": own(ANN).of("m"),
        "tenant": "default",
    }
    assert log.durable_to == 0


async def test_strangers_cannot_fill_the_log() -> None:
    """A no to an anonymous caller is told, and not recorded."""
    log = Log()
    with pytest.raises(PolicyDeniedError):
        await PolicyGate(Policy(NO), log).authorize(ANONYMOUS, MISSIONS, "GetMission", {})
    assert log.events == []


@pytest.mark.parametrize("method", ["GetCheckpoint", "ReadEvents", "QueryEvents", "ProveInclusion", "GetVerifierKeys"])
async def test_reading_the_log_is_an_event_of_it(method: str) -> None:
    """By whom, of which tenant, and what; durable before the first byte is read."""
    log = Log()
    await PolicyGate(Policy(YES), log).authorize(ANN, AUDIT, method, {}, {"first": 3, "end": 7})
    (event,) = log.events
    assert (event["type"], event["actor"], event["target"]) == ("audit.read", actor(ANN), f"{AUDIT}/{method}")
    assert event["details"] == {"tenant": "default", "first": 3, "end": 7}
    assert log.durable_to == 0


async def test_what_cannot_be_recorded_does_not_happen() -> None:
    """Without a log there is no reading of it."""
    with pytest.raises(AuditUnavailableError):
        await PolicyGate(Policy(YES), Log(dead=True)).authorize(ANN, AUDIT, "ReadEvents", {})

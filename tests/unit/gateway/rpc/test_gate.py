"""The decision on each call, and its record."""

from dataclasses import dataclass, field

import orjson
import pytest

from engine.audit.errors import AuditUnavailableError
from gateway.authn.refusals import Refusals
from gateway.errors import OverloadedError, PolicyDeniedError, Reason
from gateway.identity import Principal, actor
from gateway.policy import document
from gateway.policy.decision import Decision
from gateway.policy.document import time_document
from gateway.rpc.accounts import Accounts
from gateway.rpc.gate import PolicyGate
from tests.subjects import KNOWN_ANONYMOUS, known, own
from tests.worlds import StandingClock

ANN = known(Principal(subject="ann", tenant="default", roles=("submitter",)))
BOB = known(Principal(subject="bob", tenant="other"))
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
        await PolicyGate(Policy(NO), log).authorize(KNOWN_ANONYMOUS, MISSIONS, "GetMission", {})
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


def accounts_of(log: Log, per_minute: int) -> Accounts:
    return Accounts(log, StandingClock(), Refusals(), events_per_minute=per_minute)  # type: ignore[arg-type]


def counted(log: Log) -> list[tuple[object, dict[str, object]]]:
    """Return what `rpc.called` says, without its times."""
    told = [event for event in log.events if event["type"] == "rpc.called"]
    return [
        (e["target"], {k: v for k, v in e["details"].items() if k not in {"since", "until", "tenant"}})  # type: ignore[attr-defined]
        for e in told
    ]


async def test_nobody_fills_the_log_with_what_they_may_not_do() -> None:
    """Denials beyond the quota are refused in the same words, and counted in one event; strangers' all are."""
    log = Log()
    accounts = accounts_of(log, 3)
    gate = PolicyGate(Policy(NO), log, StandingClock(), accounts)
    for who in [ANN] * 100 + [KNOWN_ANONYMOUS] * 100:
        with pytest.raises(PolicyDeniedError, match="no role"):
            await gate.authorize(who, MISSIONS, "GetMission", {})
    assert [event["type"] for event in log.events] == ["rpc.denied"] * 3
    accounts.flush()
    target = f"{MISSIONS}/GetMission"
    assert counted(log) == [(target, {"denied": 97}), (target, {"denied": 100})]


async def test_a_read_of_the_log_that_cannot_be_recorded_any_more_is_refused() -> None:
    """Who has caused their events reads no further in this minute; that is counted, and others go on."""
    log = Log()
    accounts = accounts_of(log, 2)
    gate = PolicyGate(Policy(YES), log, StandingClock(), accounts)
    for _ in range(2):
        await gate.authorize(ANN, AUDIT, "QueryEvents", {})
    with pytest.raises(OverloadedError) as caught:
        await gate.authorize(ANN, AUDIT, "QueryEvents", {})
    assert caught.value.code == "rpc.event_quota"
    await gate.authorize(ANN, MISSIONS, "GetMission", {})
    await gate.authorize(BOB, AUDIT, "QueryEvents", {})
    assert [event["actor"] for event in log.events] == [actor(ANN), actor(ANN), actor(BOB)]
    accounts.flush()
    assert counted(log) == [(f"{AUDIT}/QueryEvents", {"over_quota": 1}), (f"{MISSIONS}/GetMission", {"allowed": 1})]


async def test_missions_that_are_admitted_take_nothing_and_refused_ones_do() -> None:
    """A busy client is not held up; one whose missions are refused, each an event, is."""
    log = Log()
    accounts = accounts_of(log, 2)
    gate = PolicyGate(Policy(YES), log, StandingClock(), accounts)
    for _ in range(10):
        await gate.authorize(ANN, MISSIONS, "SubmitMission", {})
    for _ in range(2):
        gate.failed(ANN, MISSIONS, "SubmitMission", PolicyDeniedError([Reason("policy.denied", "no", "rule")]))
    with pytest.raises(OverloadedError):
        await gate.authorize(ANN, MISSIONS, "SubmitMission", {})
    accounts.flush()
    told = {"allowed": 10, "over_quota": 1, "failed": {"policy.denied": 2}}
    assert counted(log) == [(f"{MISSIONS}/SubmitMission", told)]


async def test_what_changes_something_takes_of_the_quota() -> None:
    """Each is an event, whether it succeeds or not; a method that nobody has thought of here counts as one."""
    log = Log()
    gate = PolicyGate(Policy(YES), log, StandingClock(), accounts_of(log, 2))
    for method in ("PauseMission", "SomethingNew"):
        await gate.authorize(ANN, MISSIONS, method, {})
    with pytest.raises(OverloadedError):
        await gate.authorize(ANN, MISSIONS, "ResumeMission", {})
    for method in ("GetMission", "ListMissions", "WatchMission", "CheckDraft"):
        await gate.authorize(ANN, MISSIONS, method, {})
    await gate.authorize(ANN, "grpc.health.v1.Health", "Check", {})

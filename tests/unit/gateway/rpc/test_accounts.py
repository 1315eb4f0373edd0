"""What the log is told of calls that have no event of their own."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from engine.audit.errors import AuditUnavailableError
from engine.clock import rfc3339
from gateway.authn.refusals import Check, Refusals
from gateway.identity import Principal, actor
from gateway.limits.event_quota import EventQuota
from gateway.rpc.accounts import CODES_MAX, Accounts
from tests.bundle_worlds import ManualClock
from tests.subjects import KNOWN_ANONYMOUS, known

ANN = known(Principal(subject="ann", tenant="red"))
BOB = known(Principal(subject="bob", tenant="blue"))
GET, LIST = "gateway.v1.MissionService/GetMission", "gateway.v1.MissionService/ListMissions"


@dataclass
class Log:
    """Remembers events, while it takes any."""

    dead: bool = False
    asked: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)

    def append(self, event_type: str, **fields: Any) -> int:
        self.asked += 1
        if self.dead:
            raise AuditUnavailableError("disk is gone")
        self.events.append({"type": str(event_type), **fields})
        return len(self.events)


@dataclass
class World:
    log: Log = field(default_factory=Log)
    clock: ManualClock = field(default_factory=ManualClock)
    refusals: Refusals = field(default_factory=Refusals)

    def __post_init__(self) -> None:
        self.accounts = Accounts(self.log, self.clock, self.refusals)  # type: ignore[arg-type]


def test_calls_become_one_event_of_each_principal_and_method() -> None:
    """With how many there were of each outcome, and since when; afterwards there is nothing to tell."""
    world = World()
    since = rfc3339(world.clock.now())
    for _ in range(1_000):
        world.accounts.allowed(ANN, GET)
    world.accounts.failed(ANN, GET, "not_found")
    world.accounts.denied(ANN, GET)
    world.accounts.over_quota(ANN, LIST)
    world.accounts.allowed(BOB, GET)
    world.accounts.denied(KNOWN_ANONYMOUS, GET)
    world.clock.pass_(60)
    world.accounts.flush()
    world.accounts.flush()
    span = {"since": since, "until": rfc3339(world.clock.now())}
    told = {(e["actor"], e["target"]): (e["type"], e["details"]) for e in world.log.events}
    assert told == {
        (actor(ANN), GET): (
            "rpc.called",
            {"tenant": "red", **span, "allowed": 1_000, "denied": 1, "failed": {"not_found": 1}},
        ),
        (actor(ANN), LIST): ("rpc.called", {"tenant": "red", **span, "over_quota": 1}),
        (actor(BOB), GET): ("rpc.called", {"tenant": "blue", **span, "allowed": 1}),
        ("anonymous", GET): ("rpc.called", {"tenant": "default", **span, "denied": 1}),
    }
    assert len(world.log.events) == 4


def test_strangers_are_one_event_whoever_they_are() -> None:
    """By the check at which they failed; the totals go on, for whoever watches numbers."""
    world = World()
    for check in (Check.JWT_EXPIRED, Check.MISSING, Check.MISSING):
        world.refusals.count(check)
    world.accounts.flush()
    world.refusals.count(Check.MISSING)
    world.accounts.flush()
    assert [(e["type"], e["actor"], e["details"]["refused"]) for e in world.log.events] == [
        ("rpc.unauthenticated", "anonymous", {"jwt_expired": 1, "missing": 2}),
        ("rpc.unauthenticated", "anonymous", {"missing": 1}),
    ]
    assert world.refusals.totals == {"jwt_expired": 1, "missing": 3}
    assert {type(name) for e in world.log.events for name in e["details"]["refused"]} == {str}


def test_what_the_log_does_not_take_waits() -> None:
    """Nothing is lost in an outage: not what was counted before, nor in it."""
    world = World()
    world.accounts.allowed(ANN, GET)
    world.refusals.count(Check.MISSING)
    world.log.dead = True
    world.accounts.flush()
    world.accounts.allowed(ANN, GET)
    world.accounts._tell_refusals()
    world.log.dead = False
    world.accounts.flush()
    assert [e["details"].get("allowed") or e["details"]["refused"] for e in world.log.events] == [2, {"missing": 1}]


def test_who_is_erased_is_told_of_before() -> None:
    """Their counts alone, at once; the others' wait for their minute."""
    world = World()
    world.accounts.allowed(ANN, GET)
    world.accounts.allowed(BOB, GET)
    world.accounts.settle(actor(ANN))
    assert [e["actor"] for e in world.log.events] == [actor(ANN)]
    world.accounts.settle(actor(ANN))
    world.accounts.flush()
    assert [e["actor"] for e in world.log.events] == [actor(ANN), actor(BOB)]


def test_an_event_stays_small() -> None:
    """Whatever codes there are, the number of those that stand in one event has a limit."""
    world = World()
    for n in range(100):
        world.accounts.failed(ANN, GET, f"code.{n}")
    world.accounts.flush()
    failed = world.log.events[0]["details"]["failed"]
    assert len(failed) == CODES_MAX + 1
    assert failed["others"] == 100 - CODES_MAX


def test_more_principals_than_there_is_room_for_are_told_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory has a limit; what was counted is told, not dropped."""
    monkeypatch.setattr("gateway.rpc.accounts.ENTRIES_MAX", 3)
    world = World()
    for n in range(7):
        world.accounts.allowed(known(Principal(subject=f"p{n}", tenant="red")), GET)
    world.accounts.flush()
    assert len({e["actor"] for e in world.log.events}) == 7


def test_a_log_that_takes_nothing_lets_no_principals_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes once there is no room is counted with all others, and the log is not asked for each of them."""
    monkeypatch.setattr("gateway.rpc.accounts.ENTRIES_MAX", 3)
    world = World(log=Log(dead=True))
    for n in range(50):
        world.accounts.allowed(known(Principal(subject=f"p{n}", tenant="red")), GET)
    assert world.log.asked <= 3
    world.log.dead = False
    world.accounts.flush()
    assert [event["details"]["allowed"] for event in world.log.events] == [1, 1, 1, 47]
    assert {name: world.log.events[-1][name] for name in ("actor", "target")} == {"actor": "others", "target": "others"}
    world.accounts.allowed(ANN, GET)
    world.accounts.flush()
    assert world.log.events[-1]["target"] == GET


def test_a_quota_fills_again_with_time() -> None:
    """So many at once, and then as many a minute; each has their own."""
    clock = ManualClock()
    quota = EventQuota(clock, 60)
    assert [quota.take("ann") for _ in range(61)] == [True] * 60 + [False]
    assert quota.has("bob")
    clock.pass_(0.9)
    assert not quota.take("ann")
    clock.pass_(0.2)
    assert [quota.take("ann"), quota.take("ann")] == [True, False]
    clock.pass_(3_600)
    assert [quota.take("ann") for _ in range(61)] == [True] * 60 + [False]
    quota.adopt(1)
    clock.pass_(60)
    assert [quota.take("ann"), quota.take("ann")] == [True, False]


def test_quotas_take_bounded_memory_and_fail_closed() -> None:
    """Who has rested is forgotten for somebody new; where nobody has, somebody new gets none."""
    clock = ManualClock()
    quota = EventQuota(clock, 60, principals_max=2)
    assert [quota.take(who) for who in ("a", "b", "c")] == [True, True, False]
    clock.pass_(1)
    assert [quota.take(who) for who in ("c", "a")] == [True, True]
    assert [quota.has("c"), quota.has("b")] == [True, False]

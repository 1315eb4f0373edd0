"""What calls are held to, on a clock of the test's own."""

from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.errors import LimitedError
from gateway.identity import ANONYMOUS, Principal
from gateway.limits.amounts import CallSettings, Rate
from gateway.limits.calls import STRANGERS_OPEN_MAX, CallLimits
from gateway.limits.kinds import CallKind
from gateway.limits.shedding import Shedder
from gateway.limits_config import LimitsConfig

ANN = Principal(subject="ann", tenant="acme")
AMY = Principal(subject="amy", tenant="acme")
BOB = Principal(subject="bob", tenant="other")
PEER = "ipv4:10.0.0.1:5000"


class Hand:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def now(self) -> datetime:
        return datetime(2026, 1, 31, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.seconds


def limits(clock: Hand | None = None, **tables: Any) -> CallLimits:
    settings = settings_of(**tables)
    return CallLimits(settings, Shedder(settings.shedding), clock or Hand(), lambda: 0.0)


def settings_of(**tables: Any) -> CallSettings:
    return LimitsConfig.model_validate(tables).call_settings()


def call(held: CallLimits, caller: Principal = ANN, kind: CallKind = CallKind.READ, peer: str = PEER) -> None:
    with held.enter(caller, peer, kind, stream=False):
        pass


def refusal(held: CallLimits, caller: Principal = ANN, kind: CallKind = CallKind.READ, **more: Any) -> LimitedError:
    with pytest.raises(LimitedError) as caught:
        held.enter(caller, more.get("peer", PEER), kind, stream=more.get("stream", False))
    return caught.value


def test_a_principal_that_is_too_fast_hears_which_limit_its_value_and_when() -> None:
    """And then that moment is the one from which on it may call again."""
    clock = Hand()
    held = limits(clock, principal={"reads_per_second": 2.0, "reads_burst": 3})
    for _ in range(3):
        call(held)
    error = refusal(held)
    assert (error.code, error.limit, error.value) == ("limits.rate", "principal.reads_per_second", 2.0)
    assert error.retry_seconds == pytest.approx(0.5)
    assert "principal.reads_per_second is 2" in error.message
    clock.seconds += error.retry_seconds
    call(held)
    assert refusal(held).retry_seconds == pytest.approx(0.5)


def test_each_kind_has_a_rate_of_its_own() -> None:
    """Who has used up its submissions may still cancel, and look."""
    held = limits(principal={"mutations_per_second": 1.0, "mutations_burst": 1})
    call(held, kind=CallKind.MUTATION)
    assert refusal(held, kind=CallKind.MUTATION).limit == "principal.mutations_per_second"
    for kind in (CallKind.READ, CallKind.CONTROL, CallKind.HEALTH):
        call(held, kind=kind)


def test_health_has_no_rate() -> None:
    """A balancer that has a credential asks as often as it wants."""
    one = {"reads_burst": 1, "mutations_burst": 1, "controls_burst": 1}
    held = limits(principal=one, tenant=one)
    for _ in range(10_000):
        call(held, kind=CallKind.HEALTH)
    assert held.document()["calls_open"] == 0


def test_principals_share_their_tenants_rate_and_no_other() -> None:
    """What one tenant uses takes nothing from another, and a refusal takes nothing from anybody."""
    held = limits(tenant={"reads_per_second": 1.0, "reads_burst": 2})
    call(held, ANN)
    call(held, AMY)
    for _ in range(5):
        assert refusal(held, ANN).limit == "tenant.reads_per_second"
    call(held, BOB)
    call(held, BOB)
    assert held.refused == {"tenant.reads_per_second": 5}


def test_a_tenant_that_is_named_has_its_own_limits() -> None:
    """More or less than the others, key by key; and it is told its own name, which nobody else is."""
    held = limits(
        principal={"reads_burst": 2},
        tenants={"acme": {"streams_open_max": 1, "principal": {"reads_per_second": 0.5, "reads_burst": 1}}},
    )
    call(held, ANN)
    error = refusal(held, ANN)
    assert (error.limit, error.value) == ("tenants.acme.principal.reads_per_second", 0.5)
    call(held, BOB)
    call(held, BOB)
    with held.enter(AMY, PEER, CallKind.READ, stream=True):
        assert refusal(held, AMY, kind=CallKind.CONTROL, stream=True).limit == "tenants.acme.streams_open_max"
    assert "acme" not in str(held.document())


@pytest.mark.parametrize(("stream", "name"), [(True, "streams_open_max"), (False, "calls_open_max")])
def test_what_is_open_at_once_is_bounded_for_each(stream: bool, name: str) -> None:
    """By principal and by tenant; the end of one lets the next in, however it ends."""
    held = limits(principal={name: 2}, tenant={name: 3})
    with ExitStack() as opened:
        for who in (ANN, ANN, AMY):
            opened.enter_context(held.enter(who, PEER, CallKind.READ, stream=stream))
        assert refusal(held, ANN, stream=stream).limit == f"principal.{name}"
        error = refusal(held, AMY, stream=stream)
        assert (error.code, error.limit, error.value) == ("limits.open", f"tenant.{name}", 3)
        with pytest.raises(RuntimeError), held.enter(BOB, PEER, CallKind.READ, stream=stream):
            raise RuntimeError
    assert (held.open.total, len(held._of_principals), len(held._of_tenants)) == (0, 0, 0)


def test_control_calls_have_places_of_their_own() -> None:
    """Submissions that hang do not keep their owner from cancelling."""
    held = limits(principal={"calls_open_max": 1})
    with held.enter(ANN, PEER, CallKind.MUTATION, stream=False):
        assert refusal(held, ANN).limit == "principal.calls_open_max"
        with held.enter(ANN, PEER, CallKind.CONTROL, stream=False):
            assert refusal(held, ANN, kind=CallKind.CONTROL).limit == "principal.calls_open_max"


def test_all_streams_together_are_bounded() -> None:
    """Whoever they are of: a hundred principals with a few each are as many."""
    held = limits(streams_open_max=2)
    with held.enter(ANN, PEER, CallKind.READ, stream=True), held.enter(BOB, PEER, CallKind.READ, stream=True):
        error = refusal(held, AMY, stream=True)
        assert (error.code, error.limit) == ("limits.overloaded", "streams_open_max")
        call(held, AMY)


def test_strangers_are_counted_by_address() -> None:
    """One address cannot take from another; a customer's IPv6 network is one address."""
    held = limits(strangers={"calls_per_second": 1.0, "calls_burst": 2})
    for port in (1, 2):
        held.stranger(f"ipv4:10.0.0.1:{port}")
    with pytest.raises(LimitedError) as caught:
        held.stranger("ipv4:10.0.0.1:3")
    assert caught.value.limit == "strangers.calls_per_second"
    held.stranger("ipv4:10.0.0.2:3")
    held.stranger("ipv6:%5B2001:db8::1%5D:1")
    held.stranger("ipv6:%5B2001:db8::2%5D:1")
    with pytest.raises(LimitedError):
        held.stranger("ipv6:%5B2001:db8::3%5D:1")
    held.stranger("ipv6:%5B2001:db8:0:1::3%5D:1")


def test_a_stranger_does_not_lock_out_who_comes_from_the_same_address() -> None:
    """A proxy has one address: what is refused behind it must not refuse who has a credential."""
    held = limits(strangers={"calls_per_second": 1.0, "calls_burst": 1})
    held.stranger(PEER)
    with pytest.raises(LimitedError):
        held.stranger(PEER)
    call(held, ANN, peer=PEER)


def test_anonymous_callers_are_strangers() -> None:
    """Those that health has everywhere, and loopback where it is open to all."""
    held = limits(strangers={"calls_per_second": 1.0, "calls_burst": 1, "open_max": 1})
    with held.enter(ANONYMOUS, PEER, CallKind.HEALTH, stream=True):
        assert refusal(held, ANONYMOUS, kind=CallKind.HEALTH).limit == "strangers.open_max"
    assert refusal(held, ANONYMOUS, kind=CallKind.HEALTH).limit == "strangers.calls_per_second"
    assert held._of_strangers.total == 0


def test_strangers_together_leave_room_for_everybody_else() -> None:
    """However many addresses they have."""
    held = limits()
    with ExitStack() as opened:
        for n in range(STRANGERS_OPEN_MAX):
            peer = f"ipv4:10.{n // 256}.{n % 256}.1:1"
            opened.enter_context(held.enter(ANONYMOUS, peer, CallKind.HEALTH, stream=True))
        assert refusal(held, ANONYMOUS, kind=CallKind.HEALTH, peer="ipv4:11.0.0.1:1").code == "limits.open"
        with held.enter(ANN, PEER, CallKind.READ, stream=True):
            assert held.document()["streams_open"] == STRANGERS_OPEN_MAX + 1


def test_new_limits_hold_from_now_on_and_what_was_used_stays_used() -> None:
    """A reload neither ends what is under way nor gives anybody everything anew."""
    clock = Hand()
    held = limits(clock, principal={"reads_per_second": 1.0, "reads_burst": 4})
    for _ in range(4):
        call(held)
    settings = settings_of()
    faster = replace(settings.allowances.principal, reads=Rate(per_second=10.0, burst=4))
    held.adopt(replace(settings, allowances=replace(settings.allowances, principal=faster)))
    assert refusal(held).retry_seconds == pytest.approx(0.1)
    clock.seconds += 0.1
    call(held)


def test_who_is_turned_away_together_does_not_come_back_together() -> None:
    """The time to wait has some chance in it."""
    settings = settings_of(shedding={"calls_open_max": 4, "retry_seconds": 2.0})
    chances = iter([0.0, 0.5, 0.999])
    held = CallLimits(settings, Shedder(settings.shedding), Hand(), lambda: next(chances))
    with ExitStack() as opened:
        for _ in range(4):
            opened.enter_context(held.enter(ANN, PEER, CallKind.CONTROL, stream=False))
        waits = [refusal(held).retry_seconds for _ in range(3)]
    assert waits == pytest.approx([2.0, 4.0, 5.996])


@pytest.mark.parametrize(
    ("kind", "stream", "counted"),
    [
        (CallKind.READ, False, True),  # till its end
        (CallKind.READ, True, False),  # a watch may be open for days
        (CallKind.MUTATION, False, True),
        (CallKind.MUTATION, True, False),
    ],
)
def test_what_shedding_counts_of_a_call_that_has_been_decided(kind: CallKind, *, stream: bool, counted: bool) -> None:
    """Each is given back once, whoever does it first: what is left over would be a place that nobody has."""
    settings = settings_of(shedding={"calls_open_max": 4})
    shedder = Shedder(settings.shedding)
    held = CallLimits(settings, shedder, Hand(), lambda: 0.0)
    entered = [held.enter(ANN, PEER, kind, stream=stream) for _ in range(3)]
    most = 3 if kind is CallKind.MUTATION else 4
    assert (shedder.refusal(kind, "acme") is None) == (len(entered) < most)
    for each in entered:
        each.begun()
        each.begun()
    another = [] if counted else [held.enter(BOB, PEER, kind, stream=stream) for _ in range(3)]
    for each in (*entered, *another):
        each.leave()
        each.leave()
    for _ in range(most):
        assert shedder.refusal(kind, "acme") is None
        shedder.begin(kind, "acme")
    assert shedder.refusal(kind, "acme") is not None


class Listening(Shedder):
    """Counts what it is told of refusals."""

    def __init__(self, settings: CallSettings) -> None:
        super().__init__(settings.shedding)
        self.told = 0

    def turned_away(self) -> None:
        self.told += 1


def test_what_is_refused_for_other_reasons_is_told_to_shedding() -> None:
    """For a rate, and because nobody knows who it is; not because there is too much."""
    settings = settings_of(principal={"reads_per_second": 1.0, "reads_burst": 1}, shedding={"calls_open_max": 4})
    shedder = Listening(settings)
    held = CallLimits(settings, shedder, Hand(), lambda: 0.0)
    call(held)
    assert refusal(held).code == "limits.rate"
    held.stranger(PEER)
    assert shedder.told == 2
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(held.enter(BOB, PEER, CallKind.MUTATION, stream=False))
        assert refusal(held, BOB, CallKind.MUTATION).code == "limits.overloaded"
    assert shedder.told == 2, "a bound is no reason to widen it"


def test_streams_of_health_take_no_place_from_calls() -> None:
    """Balancers watch for days, and nobody turns them away."""
    held = limits(shedding={"calls_open_max": 4})
    watches = [held.enter(ANN, PEER, CallKind.HEALTH, stream=True) for _ in range(10)]
    for watch in watches:
        watch.begun()
    call(held, kind=CallKind.MUTATION)
    for watch in watches:
        watch.leave()
    assert held.open.total == 0

"""Laws of shared places, over every order of taking, giving back, closing and turning the loop."""

from collections import deque
from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from engine.slots import SharedSlots, SlotMember

CAPS = st.sampled_from([1, 2, 4])  # 4 is no bound: there are never more places


class Someone:
    """A member with a model of what it was promised."""

    def __init__(self, world: "SlotsMachine", tenant: str, owner: str, priority: int) -> None:
        self.world = world
        self.tenant = tenant
        self.owner = owner
        self.priority = priority
        self.held = 0
        self.waits = False  # refused, and not woken since
        self.owed = False  # woken, and has not taken
        self.closed = False
        self.inside = False
        self.passed_over = 0  # services of other tenants while this one waited with nothing in its tenant's hands
        self.member: SlotMember = world.slots.member(tenant, priority, self.wake, owner=owner)

    def wake(self) -> None:
        assert not self.inside, "woken from inside take()"
        assert not self.closed
        assert self.waits, "woken twice for one wait, or for none"
        self.waits, self.owed = False, True
        self.world.on_service(self)

    def take(self) -> None:
        self.inside = True
        may = self.world.may_have(self)
        got = self.member.take()
        self.inside = False
        if self.owed:
            assert got, "woken, and then refused"
            self.owed = False
        elif got:
            assert may, "more than the tenant or the owner may hold"
            assert not self.waits, "a place without the wake that was promised"
            self.world.on_service(self)
        if got:
            self.held += 1
        elif not self.waits:
            self.waits = True
            self.passed_over = 0


class SlotsMachine(RuleBasedStateMachine):
    people = Bundle("people")

    @initialize(limit=st.integers(1, 4), cap=CAPS, owner_cap=CAPS)
    def begin(self, limit: int, cap: int, owner_cap: int) -> None:
        self.later: deque[Callable[[], None]] = deque()
        self.caps = cap, owner_cap
        self.slots = SharedSlots(limit, call_soon=self.later.append, caps=lambda _tenant: self.caps)
        self.everyone: list[Someone] = []

    @rule(target=people, tenant=st.sampled_from("abc"), owner=st.sampled_from("xy"), priority=st.integers(0, 9))
    def join(self, tenant: str, owner: str, priority: int) -> object:
        if len(self.everyone) >= 12:
            return multiple()
        someone = Someone(self, tenant, owner, priority)
        self.everyone.append(someone)
        return someone

    @rule(someone=people)
    def take(self, someone: Someone) -> None:
        if not someone.closed:
            someone.take()

    @rule(someone=people)
    def give_back(self, someone: Someone) -> None:
        if someone.held and not someone.closed:
            someone.held -= 1
            someone.member.give_back()

    @rule(someone=consumes(people))
    def close(self, someone: Someone) -> None:
        someone.closed = True
        someone.held, someone.waits, someone.owed = 0, False, False
        someone.member.close()
        self.everyone.remove(someone)

    @rule(cap=CAPS, owner_cap=CAPS)
    def adopt(self, cap: int, owner_cap: int) -> None:
        self.caps = cap, owner_cap
        self.slots.adopt(lambda _tenant: self.caps)

    @rule()
    def turn(self) -> None:
        while self.later:
            self.later.popleft()()

    def on_service(self, served: Someone) -> None:
        """No tenant starves: one that holds nothing sees each other tenant served only a bounded number of times."""
        for each in self.everyone:
            tenant_has = any(o.held or o.owed for o in self.everyone if o.tenant == each.tenant)
            if each.waits and not tenant_has and each.tenant != served.tenant:
                each.passed_over += 1
                # Those granted before it waited, told late, and one round of the others.
                assert each.passed_over <= self.slots.limit + 3
            elif each.tenant == served.tenant:
                each.passed_over = 0

    @invariant()
    def the_limit_holds(self) -> None:
        if hasattr(self, "slots"):
            taken = sum(each.held + each.owed for each in self.everyone)
            assert taken <= self.slots.held <= self.slots.limit
            assert self.slots.held - taken <= len(self.later)  # granted, and on their way

    def may_have(self, someone: Someone) -> bool:
        """Return whether somebody's tenant and owner are below what they may hold."""
        of_tenant = [each for each in self.everyone if each.tenant == someone.tenant]
        of_owner = [each for each in of_tenant if each.owner == someone.owner]
        held = tuple(sum(each.held + each.owed for each in them) for them in (of_tenant, of_owner))
        return held[0] < self.caps[0] and held[1] < self.caps[1]

    @invariant()
    def nobody_waits_while_a_place_is_free_that_they_may_have(self) -> None:
        if hasattr(self, "slots") and not self.later and self.slots.held < self.slots.limit:
            assert not any(each.waits and self.may_have(each) for each in self.everyone)

    def teardown(self) -> None:
        """Whatever happened: when all give back what they get, all that wait are served, and all places are free."""
        if not hasattr(self, "slots"):
            return
        self.turn()
        while busy := [each for each in self.everyone if each.held or each.owed]:
            for each in busy:
                if each.owed:
                    each.take()
                while each.held:
                    self.give_back(each)
            self.turn()
        assert not any(each.waits for each in self.everyone)
        assert self.slots.held == 0


SlotsMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
test_slots = SlotsMachine.TestCase

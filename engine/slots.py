"""Places that many runs share, fairly between tenants: how much of one process runs at a time."""

import asyncio
from collections.abc import Callable
from enum import Enum, auto
from typing import Final, TypeAlias

from engine.errors import FaultError
from engine.ranking import Ranking

MEMBERS_MAX: Final = 100_000


class _Wait(Enum):
    """None → Queued → Granted → Woken → None; `close` ends it from anywhere."""

    NONE = auto()
    QUEUED = auto()  # no place is free
    GRANTED = auto()  # a place is kept for the member, which does not know yet
    WOKEN = auto()  # it knows: its next `take` succeeds


Caps: TypeAlias = Callable[[str], tuple[int, int]]
"""By tenant: how many places all of its members may hold at once, and those of one owner."""


class _Owner:
    """What one owner within a tenant holds, and its members that wait although the tenant's turn has come."""

    __slots__ = ("cap", "held", "members", "parked")

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self.held = 0
        self.members = 0
        self.parked: Ranking[SlotMember] = Ranking()


class _Tenant:
    """What fairness counts. It lives as long as one of its members."""

    __slots__ = ("cap", "held", "members", "owners", "queue", "served")

    def __init__(self, served: int, cap: int) -> None:
        self.cap = cap
        self.owners: dict[str, _Owner] = {}
        self.held = 0  # places of all members, granted ones included
        self.members = 0
        # As if just served: a tenant that leaves and returns must not overtake one that has waited meanwhile.
        self.served = served
        self.queue: Ranking[SlotMember] = Ranking()


class SharedSlots:
    """At most `limit` places, all on one event loop, where nobody waits while a place is free that it may have.

    A place that is freed goes to the tenant, of those that wait, that holds the fewest; of equals to the one that was
    served longest ago; within it to the highest priority; of equals to who waited first. So each tenant that holds
    none is served after at most as many others as there are tenants. Tenants, and owners within them, may be held to
    fewer places than there are.
    """

    def __init__(
        self,
        limit: int,
        *,
        members_max: int = MEMBERS_MAX,
        call_soon: Callable[[Callable[[], None]], object] | None = None,
        caps: Caps | None = None,
    ) -> None:
        """Prepare the places.

        Args:
            limit: how many there are.
            members_max: how many members there may be at a time.
            caps: how many of them a tenant may hold, and an owner; all of them if left out.
            call_soon: calls a function later, outside of whoever asks; that of the running loop if left out.
        """
        if limit < 1:
            raise ValueError("there must be at least one place")
        self.limit: Final = limit
        self._members_max: Final = members_max
        self._call_soon = call_soon
        self._caps = caps or (lambda _tenant: (limit, limit))
        self._held = 0
        self._members = 0
        self._services = 0
        self._waits = 0
        self._tenants: dict[str, _Tenant] = {}
        self._waiting: Ranking[str] = Ranking()  # tenants

    @property
    def held(self) -> int:
        """How many places are taken or granted."""
        return self._held

    def adopt(self, caps: Caps) -> None:
        """From now on hold tenants and owners to these; places that are held beyond them are held until given back."""
        self._caps = caps
        for tenant, account in self._tenants.items():
            account.cap, owner_cap = caps(tenant)
            for owner in account.owners.values():
                owner.cap = owner_cap
                self._unpark(account, owner)
            self._rank(tenant, account)
        self._grant()

    def member(self, tenant: str, priority: int, wake: Callable[[], None], *, owner: str = "") -> "SlotMember":
        """Return a member that asks for `tenant`; it counts until it is closed.

        Args:
            tenant: who is served.
            priority: higher first, within the tenant.
            wake: is told, on the loop, that a place is there.
            owner: who within the tenant it is for.

        Raises:
            FaultError: `slots.too_many`, there are `members_max` members.
        """
        if self._members >= self._members_max:
            raise FaultError("too many executions ask for places", code="slots.too_many")
        self._members += 1
        cap, owner_cap = self._caps(tenant)
        if (account := self._tenants.get(tenant)) is None:
            account = self._tenants[tenant] = _Tenant(self._services, cap)
        if (own := account.owners.get(owner)) is None:
            own = account.owners[owner] = _Owner(owner_cap)
        account.members += 1
        own.members += 1
        return SlotMember(self, tenant, account, owner, priority, wake)

    def _take(self, account: _Tenant, owner: _Owner) -> bool:
        if self._held >= self.limit or account.held >= account.cap or owner.held >= owner.cap:
            return False
        self._serve(account, owner)
        return True

    def _enqueue(self, member: "SlotMember") -> None:
        self._waits += 1
        member.turn = self._waits
        account, owner = member.account, member.owner
        (owner.parked if owner.held >= owner.cap else account.queue).put(member, -member.priority, member.turn)
        self._rank(member.tenant, account)

    def _release(self, tenant: str, account: _Tenant, owner: _Owner, count: int) -> None:
        """Free places of `tenant`, and grant them to those that wait."""
        self._held -= count
        account.held -= count
        owner.held -= count
        self._unpark(account, owner)
        self._rank(tenant, account)
        self._grant()

    def _grant(self) -> None:
        """Give free places to those that wait and may have them."""
        while self._held < self.limit and self._waiting:
            chosen = self._waiting.pop()
            served = self._tenants[chosen]
            member = served.queue.pop()
            if member.owner.held >= member.owner.cap:  # it has been served since this one began to wait
                member.owner.parked.put(member, -member.priority, member.turn)
                self._rank(chosen, served)
                continue
            self._serve(served, member.owner)
            self._rank(chosen, served)
            member.wait = _Wait.GRANTED
            (self._call_soon or asyncio.get_running_loop().call_soon)(member.tell)

    def _unpark(self, account: _Tenant, owner: _Owner) -> None:
        """Let as many of an owner's members wait for their tenant's turn as it may have places."""
        for _ in range(min(owner.cap - owner.held, len(owner.parked))):
            member = owner.parked.pop()
            account.queue.put(member, -member.priority, member.turn)

    def _serve(self, account: _Tenant, owner: _Owner) -> None:
        self._services += 1
        self._held += 1
        account.served = self._services
        account.held += 1
        owner.held += 1

    def _rank(self, tenant: str, account: _Tenant) -> None:
        """Put a tenant where it belongs among those that wait; nowhere, if none of its members may have a place."""
        if account.queue and account.held < account.cap:
            self._waiting.put(tenant, account.held, account.served)
        else:
            self._waiting.discard(tenant)

    def _leave(self, member: "SlotMember", count: int) -> None:
        tenant, account, owner = member.tenant, member.account, member.owner
        account.queue.discard(member)
        owner.parked.discard(member)
        self._members -= 1
        account.members -= 1
        owner.members -= 1
        self._release(tenant, account, owner, count)
        if owner.members == 0:
            del account.owners[member.owner_name]
        if account.members == 0:
            del self._tenants[tenant]


class SlotMember:
    """One run's way to the places; `SharedSlots.member` makes it. Source of the interface: `engine.ports`."""

    __slots__ = (
        "_closed",
        "_held",
        "_slots",
        "_wake",
        "account",
        "owner",
        "owner_name",
        "priority",
        "tenant",
        "turn",
        "wait",
    )

    def __init__(
        self,
        slots: SharedSlots,
        tenant: str,
        account: _Tenant,
        owner_name: str,
        priority: int,
        wake: Callable[[], None],
    ) -> None:
        self._slots = slots
        self._wake = wake
        self._held = 0
        self._closed = False
        self.tenant = tenant
        self.account = account
        self.owner_name = owner_name
        self.owner = account.owners[owner_name]
        self.turn = 0  # when it began to wait, as a count
        self.priority = priority
        self.wait = _Wait.NONE

    @property
    def held(self) -> int:
        """How many places this member has taken."""
        return self._held

    def take(self) -> bool:
        """Take a place; False: there is none, and the member waits until `wake` is called.

        That happens once for each wait, later, however often a waiting member asks; the next `take` then succeeds. A
        member that no longer wants the place takes it and gives it back.

        Raises:
            FaultError: `slots.closed`.
        """
        if self._closed:
            raise FaultError("the member is closed", code="slots.closed")
        if self.wait is _Wait.WOKEN:
            self.wait = _Wait.NONE
        elif self.wait is not _Wait.NONE:
            return False
        elif not self._slots._take(self.account, self.owner):  # noqa: SLF001 - the two classes are one
            self.wait = _Wait.QUEUED
            self._slots._enqueue(self)  # noqa: SLF001
            return False
        self._held += 1
        return True

    def give_back(self) -> None:
        """Free a place. After `close`, which has freed it already, this does nothing.

        Raises:
            FaultError: `slots.not_held`, the member has none.
        """
        if self._closed:
            return
        if self._held == 0:
            raise FaultError("the member holds no place", code="slots.not_held")
        self._held -= 1
        self._slots._release(self.tenant, self.account, self.owner, 1)  # noqa: SLF001

    def close(self) -> None:
        """Free what is held or granted, wait no longer, and be woken no more."""
        if self._closed:
            return
        self._closed = True
        granted = self.wait in {_Wait.GRANTED, _Wait.WOKEN}
        count, self._held, self.wait = self._held + granted, 0, _Wait.NONE
        self._slots._leave(self, count)  # noqa: SLF001

    def tell(self) -> None:
        """Wake the member whose place is granted; the loop calls this."""
        if self.wait is _Wait.GRANTED:
            self.wait = _Wait.WOKEN
            self._wake()
